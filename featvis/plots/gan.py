"""A discriminator's gradients by what it is shown, and a generator's pictures by how evenly they fall on the pixel phases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from featvis.errors import FeatvisError
from featvis.plots.page import MARGIN, PLAIN, SIDE, Energy, Page, fit_lines, pixel_edges, style
from featvis.plots.palette import FAINT, LINES, SIGNED
from featvis.plots.panels import REPEATED, energy_panel, legend_above, profile_norm, reach_of, tile_panel

GAP = 2
"""Pixels between the pictures of a sheet."""


@dataclass(frozen=True)
class SourceView:
    """One picture of a source and the gradient there, and what all of its pictures measured.

    title: such as "generated". picture: (H, W, 1 or 3) in [0, 1]. gradient: (C, H, W), signed. profile: rows of the phase profile, mean 1.
    energies, controls: period in pixels to (E, its standard error or None).
    """

    title: str
    picture: np.ndarray
    gradient: np.ndarray
    profile: Sequence[Sequence[float]]
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]


@dataclass(frozen=True)
class PicturesView:
    """A few pictures of a kind, and what all of them measured once they were high-passed.

    title: such as "trained". pictures: (N, H, W, 1 or 3) in [0, 1]. spectrum: (frequency in cycles per pixel, power relative to its mean).
    """

    title: str
    pictures: np.ndarray
    profile: Sequence[Sequence[float]]
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    spectrum: Sequence[tuple[float, float]]


def discriminator_figure(views: Sequence[SourceView], title: str, caption: str = "") -> Figure:
    """A row for each source: a picture, the gradient there, the phase profile and the energies of all its pictures.

    Profiles and energies share one scale. Raises FeatvisError where there is no view, shapes do not fit or a value is not finite.
    """
    _check(views, title)
    for view in views:
        if view.picture.shape[:2] != view.gradient.shape[1:]:
            raise FeatvisError(f"{view.title}: a picture {view.picture.shape} and a gradient {view.gradient.shape}")
    heads = [
        ("Picture", "One of those that it is shown.", SIDE),
        (
            "Gradient",
            "What each pixel does to the logit: red raises it, blue lowers it. In units of its own rms.",
            SIDE,
        ),
    ]
    with style():
        page, rows, columns = _page(views, heads, title, caption)
        for y, view in zip(rows, views, strict=True):
            axes, _ = page.map(columns[0], y, SIDE, _shown(view.picture), pixel_edges(view.picture.shape))
            axes.set(xticks=[], yticks=[])
            signed = view.gradient.sum(0, dtype=np.float64)
            signed = signed / (math.sqrt(float((signed**2).mean())) or 1.0)
            limit = float(np.percentile(np.abs(signed), 99)) or 1.0
            norm = Normalize(-limit, limit)
            bar = {"extend": "both", "format": PLAIN}
            axes, _ = page.map(
                columns[1],
                y,
                SIDE,
                signed,
                pixel_edges(signed.shape),
                "gradient / its own rms",
                bar,
                cmap=SIGNED,
                norm=norm,
            )
            axes.set(xticks=[], yticks=[])
        _measured(page, rows, columns[2:], views)
        return page.finished()


def pictures_figure(views: Sequence[PicturesView], title: str, caption: str = "") -> Figure:
    """A row for each kind of pictures: a sheet of them, the phase profile and energies of their fine detail; beneath, all radial spectra.

    Raises FeatvisError where there is no view, a shape does not fit or a value is not finite.
    """
    _check(views, title)
    with style():
        page, rows, columns = _page(
            views, [("Pictures", "Some of them, as they are.", SIDE)], title, caption, below=SIDE + 170
        )
        for y, view in zip(rows, views, strict=True):
            drawn = sheet(view.pictures)
            axes, _ = page.map(columns[0], y, SIDE, _shown(drawn), pixel_edges(drawn.shape))
            axes.set(xticks=[], yticks=[])
        _measured(page, rows, columns[1:], views)
        top = page.height - SIDE - 84 + 10
        page.head(
            MARGIN,
            top - 86,
            "Radial power spectrum",
            "Mean power at each distance from frequency 0. The axis ends at the corner, the frequency of a checkerboard.",
            page.width - 2 * MARGIN - 420,
        )
        axes = page.axes(MARGIN + 60, top + 16, page.width - 2 * MARGIN - 80, SIDE - 16)
        for view, colour in zip(views, LINES[1:], strict=False):
            known = [(frequency, power) for frequency, power in view.spectrum if power > 0]
            axes.plot(*zip(*known, strict=True), color=colour, linewidth=1.6, label=view.title)
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        for period in (2, 4, 8):
            axes.axvline(1 / period, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.xaxis.set_major_locator(FixedLocator([0, 0.125, 0.25, 0.5, 0.5**0.5]))
        axes.set_xticklabels(["0", "1/8", "1/4", "1/2", "√½"])
        axes.set(xlim=(0, 0.5**0.5 + 0.01), xlabel="cycles per pixel", ylabel="power / its mean")
        axes.spines[["top", "right"]].set_visible(False)
        legend_above(axes)
        return page.finished()


def sheet(pictures: np.ndarray) -> np.ndarray:
    """Up to 4 x 4 of the pictures (N, H, W, C) on white, as many as nearly fill a panel at whole screen pixels, (rows, columns, C)."""
    count, height, width, channels = pictures.shape
    largest = max(height, width) + GAP
    side = 1
    for tried in range(2, 5):
        length = tried * largest - GAP
        if tried**2 <= count and SIDE // length * length >= SIDE * 7 // 10:
            side = tried
    pictures, count = pictures[: side**2], side**2
    down = -(-count // side)
    paper = np.ones((down * (height + GAP) - GAP, side * (width + GAP) - GAP, channels))
    for number, picture in enumerate(pictures):
        row, column = number // side * (height + GAP), number % side * (width + GAP)
        paper[row : row + height, column : column + width] = picture
    return paper


def _shown(picture: np.ndarray) -> np.ndarray:
    """A picture in three channels, without values outside [0, 1], which a map would refuse."""
    return np.clip(np.broadcast_to(picture, (*picture.shape[:2], 3)).astype(np.float64), 0, 1)


Views = Sequence[SourceView] | Sequence[PicturesView]


def _check(views: Views, title: str) -> None:
    if not views:
        raise FeatvisError(f"the figure {title!r} has nothing to show; give at least one view")
    for view in views:
        arrays = [
            np.asarray(value) for name, value in vars(view).items() if name in ("picture", "pictures", "gradient")
        ]
        numbers = [
            value for pair in (*view.energies.values(), *view.controls.values()) for value in pair if value is not None
        ]
        if not all(np.isfinite(array).all() for array in (*arrays, np.asarray(view.profile), np.array(numbers))):
            raise FeatvisError(f"the view {view.title!r} holds NaN or infinity; a figure needs finite numbers")


def _page(
    views: Views,
    first: Sequence[tuple[str, str, int]],
    title: str,
    caption: str,
    below: int = 0,
) -> tuple[Page, list[int], list[int]]:
    """A page with its title and the heads of its columns; the upper edge of each row and the left one of each column."""
    heads = [
        *first,
        (
            "Mean tile",
            f"The energy of all its pictures by pixel phase, {REPEATED} x {REPEATED} times; white is the mean.",
            SIDE,
        ),
        ("Checkerboard energy E", "By period; 0 = even. Controls must sit at 0.", SIDE),
    ]
    columns = [MARGIN]
    for number in range(len(heads) - 1):
        columns.append(columns[-1] + SIDE + (40 if number == 0 else 144))
    width = columns[-1] + SIDE + MARGIN
    title_lines = fit_lines(title, width - 2 * MARGIN, 17, "bold", most=2)
    caption_lines = fit_lines(caption, width - 2 * MARGIN, 10.5, most=3)
    top = MARGIN + 40 * len(title_lines) + 24 * len(caption_lines) + 8
    start = top + 112
    step = SIDE + 96
    page = Page(width, start + step * len(views) + below)
    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    page.text(MARGIN, MARGIN + 40 * len(title_lines) - 4, caption_lines, 10.5, color=FAINT)
    for x, (head, explanation, room) in zip(columns, heads, strict=True):
        page.head(x, top, head, explanation, room + 10)
    rows = [start + step * number + 30 for number in range(len(views))]
    for number, y in enumerate(rows):
        page.text(MARGIN, y - 30, fit_lines(views[number].title, SIDE, 13, "bold", most=1), 13, weight="bold")
    return page, rows, columns


def _measured(page: Page, rows: Sequence[int], columns: Sequence[int], views: Views) -> None:
    """The mean tile and the energies of each view, on one scale for all."""
    profiles = [np.asarray(view.profile, dtype=np.float64) for view in views]
    norm = profile_norm(profiles)
    reach = reach_of(pair for view in views for pair in (*view.energies.values(), *view.controls.values()))
    for number, (y, profile) in enumerate(zip(rows, profiles, strict=True)):
        view = views[number]
        tile_panel(page, columns[0], y, SIDE, profile, norm, "energy / its mean")
        axes = page.axes(columns[1], y + 24, SIDE, SIDE - 24)
        energy_panel(axes, view.energies, view.controls, reach)
