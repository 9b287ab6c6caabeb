"""Pictures of generators, how their energy falls on the pixel phases, and the numbers: a row for each way of upsampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.plots.page import MARGIN, PLAIN, Page, block_side, fit_lines, pixel_edges, style, text_width
from featvis.plots.palette import CONTROL, FAINT, PERIOD, RULE, SEQUENTIAL
from featvis.plots.panels import profile_norm, write_cells

PICTURE, ZOOM, GAP = 192, 32, 10
"""The side of a picture in screen pixels, the picture's pixels that are shown up close, and the space between two pictures."""

BARS = 420
"""The width of the panel of numbers."""

CONTRAST = 2.5
"""A picture's grey values reach so many times its root mean square to either side of mid-grey."""


class Value(NamedTuple):
    """A number with its standard error and, where there is one, what theory expects."""

    value: float
    error: float | None
    expected: float | None = None


@dataclass(frozen=True)
class GeneratorView:
    """What one way of upsampling makes.

    title: such as "deconv3". description: a sentence. pictures: (N, C, H, W) with one or three channels, around 0, on any scale.
    profile: (P, P), mean 1, or None. values: names to numbers, the same names for all views.
    """

    title: str
    description: str
    pictures: np.ndarray
    profile: np.ndarray | None
    values: Mapping[str, Value]


def generator_figure(views: Sequence[GeneratorView], title: str, caption: str = "") -> Figure:
    """Pictures, one of them up close, the phase profile and the numbers: a row for each view.

    Each picture is drawn relative to its own root mean square; profiles and numbers have one scale for all rows. Raises FeatvisError
    where shapes or names differ or a value is not finite.
    """
    _check(views)
    with style():
        return _draw(views, title, caption)


def _check(views: Sequence[GeneratorView]) -> None:
    if not views:
        raise FeatvisError("a generator figure shows at least one view; got none")
    first = views[0]
    for view in views:
        shape = np.shape(view.pictures)
        if len(shape) != 4 or shape[1] not in (1, 3) or shape != np.shape(first.pictures):
            raise FeatvisError(
                f"the pictures of {view.title!r} have the shape {shape}; expected (N, 1 or 3, H, W), the same for all"
            )
        if list(view.values) != list(first.values):
            raise FeatvisError(f"the numbers of {view.title!r} have other names than those of {first.title!r}")
        numbers = [number for value in view.values.values() for number in value if number is not None]
        arrays = [view.pictures, numbers, [] if view.profile is None else view.profile]
        if not all(np.isfinite(np.asarray(array, dtype=np.float64)).all() for array in arrays):
            raise FeatvisError(f"{view.title!r} holds NaN or infinity; a figure needs finite numbers")


def _shown(picture: np.ndarray) -> np.ndarray:
    """(C, H, W) around 0 as (H, W, 3) in [0, 1], relative to its own root mean square."""
    picture = np.asarray(picture, dtype=np.float64)
    scale = 2 * CONTRAST * (np.sqrt((picture**2).mean()) or 1.0)
    return np.clip(0.5 + picture / scale, 0, 1).repeat(3 // len(picture), 0).transpose(1, 2, 0)


def _draw(views: Sequence[GeneratorView], title: str, caption: str) -> Figure:
    pictures = [[_shown(picture) for picture in view.pictures] for view in views]
    height, width = pictures[0][0].shape[:2]
    zoom = tuple(slice((side - min(side, ZOOM)) // 2, (side + min(side, ZOOM)) // 2) for side in (height, width))
    profiled = any(view.profile is not None for view in views)

    columns = [MARGIN, MARGIN + len(pictures[0]) * (PICTURE + GAP) + 14]
    columns.append(columns[-1] + PICTURE + 50)
    columns.append(columns[-1] + (PICTURE + 70) * profiled)
    page_width = columns[-1] + BARS + MARGIN
    title_lines = fit_lines(title, page_width - 2 * MARGIN, 17, "bold", most=2)
    caption_lines = fit_lines(caption, page_width - 2 * MARGIN, 10.5, most=4)
    heads = MARGIN + 40 * len(title_lines) + 24 * len(caption_lines) + 16
    rows, row_height = heads + 118, PICTURE + 84
    page = Page(page_width, rows + row_height * len(views))
    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    page.text(MARGIN, MARGIN + 40 * len(title_lines) - 8, caption_lines, 10.5, color=FAINT)

    block = block_side((height, width), PICTURE)
    means = f" Means of {block} × {block} pixels." if block > 1 else ""
    texts = [
        ("Pictures", f"Each from its own network, relative to its own contrast.{means}"),
        (
            "Up close",
            f"The middle {zoom[0].stop - zoom[0].start} × {zoom[1].stop - zoom[1].start} pixels of the first one.",
        ),
        ("Phase profile", "How the energy falls on the pixel phases; 1 = even."),
        ("Numbers", "With standard errors. Orange lines: what theory expects."),
    ]
    ends = [*columns[1:], page.width]
    for x, end, (head, explanation) in zip(columns, ends, texts, strict=True):
        if end > x:
            page.head(x, heads, head, explanation, end - x - 20)

    profiles = [np.asarray(view.profile) for view in views if view.profile is not None]
    norm = profile_norm(profiles)
    for index, (view, shown) in enumerate(zip(views, pictures, strict=True)):
        y = rows + row_height * index
        page.text(columns[0], y, view.title, 13, weight="bold")
        left = columns[0] + text_width(view.title, 13, "bold") + 16
        page.text(left, y + 4, fit_lines(view.description, columns[-1] - left - 10, 10, most=1), 10, color=FAINT)
        y += 34
        for number, picture in enumerate(shown):
            _picture(page, columns[0] + number * (PICTURE + GAP), y, picture)
        _picture(page, columns[1], y, shown[0][zoom])
        if view.profile is not None:
            profile = np.asarray(view.profile, dtype=np.float64)
            axes, image = page.map(
                columns[2], y, PICTURE, profile, pixel_edges(profile.shape), cmap=SEQUENTIAL, norm=norm
            )
            write_cells(axes, image, profile, ".2f", 9)
            axes.set(xticks=range(len(profile)), yticks=range(len(profile)), xlabel=f"column mod {len(profile)}")
        _numbers(page.axes(columns[-1], y, BARS, PICTURE), view.values, views)
    return page.finished()


def _picture(page: Page, x: float, y: float, picture: np.ndarray) -> None:
    axes, _ = page.map(x, y, PICTURE, picture, pixel_edges(picture.shape))
    axes.set(xticks=[], yticks=[])


def _numbers(axes: Axes, values: Mapping[str, Value], views: Sequence[GeneratorView]) -> None:
    """The numbers of one view as dots with error bars, on the scale of all views."""
    everything = [value for view in views for value in view.values.values()]
    ends = [end for value, error, _ in everything for end in (value - (error or 0), value + (error or 0))]
    low, high = min(0.0, *ends), max(0.1, *ends)
    for place, (value, error, expected) in enumerate(values.values()):
        if expected is not None:
            axes.plot([place - 0.32, place + 0.32], [expected, expected], color=CONTROL, linewidth=1.6, zorder=1.8)
        axes.errorbar(place, value, error, fmt="o", color=PERIOD, capsize=4, markersize=5, linewidth=1.2)
        top = max(value + (error or 0), expected or 0)
        number = str(Estimate(value, error)).replace(" ± ", "\n± ")
        axes.annotate(number, (place, top), (0, 5), textcoords="offset points", ha="center", fontsize=8.5)
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1.5)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.2 * (high - low))
    axes.set_xticks(range(len(values)), list(values))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
