"""A gradient and its checkerboard in one picture that explains itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm, Normalize, PowerNorm, TwoSlopeNorm
from matplotlib.figure import Figure

from featvis.errors import FeatvisError
from featvis.measure.change import Change
from featvis.measure.estimates import Estimate
from featvis.measure.finding import energy_at, telling_period
from featvis.plots.panels import (
    FAINT,
    MAP_SIDE,
    MARGIN,
    SIDE,
    Energy,
    Page,
    Window,
    binned,
    block_side,
    energy_panel,
    fit_lines,
    gradient_panel,
    lined,
    outline,
    percentile,
    pixel_edges,
    profile_panel,
    spectrum_panel,
    style,
    text_width,
    whole_pixels,
    zoom_panel,
    zoom_window,
)

SCALE_NOTE = (
    "E is the squared unevenness of the gradient's energy over the pixel phases. 0: even. 0.23: one 3 × 3 convolution "
    "of stride 2 with random weights. 3: one pixel of each 2 × 2 carries all."
)


@dataclass(frozen=True)
class GradientView:
    """One gradient of a picture and what was measured about its kind.

    title: such as "raw" or "equalised". gradient: (C, H, W), signed. profile: (P, P), mean 1. energies and controls:
    period in pixels to (E, its standard error or None). border: rows and columns left out of the measure on each side.
    """

    title: str
    gradient: np.ndarray
    profile: np.ndarray
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    total_stride: int
    border: tuple[int, int] = (0, 0)


def spectrum(gradient: np.ndarray) -> np.ndarray:
    """Spectral power of a gradient, summed over channels, relative to the mean of all frequencies.

    gradient: (C, H, W). Returns (H, W), mean 1, frequency 0 at (H // 2, W // 2), a step being 1 / H or 1 / W cycles per
    pixel. Raises FeatvisError where the gradient is zero.
    """
    power = (np.abs(np.fft.fft2(np.asarray(gradient, dtype=np.float64))) ** 2).sum(axis=0)
    mean = power.mean()
    if not mean > 0:
        raise FeatvisError("a gradient of nothing but zeros has no spectrum; give one with a value")
    return np.fft.fftshift(power / mean)


def gradient_figure(picture: np.ndarray, views: Sequence[GradientView], title: str, caption: str = "") -> Figure:
    """A photograph and, a row for each view, its gradient, a zoom, the phase profile, the spectrum and the energies.

    picture: (H, W, 3) or (H, W) in [0, 1]. Each column has one scale for all rows; gradients are drawn relative to
    their own root mean square, energies to their own mean. Raises FeatvisError where shapes do not fit or a value is
    not finite.
    """
    picture = np.asarray(picture, dtype=np.float64)
    _check(picture, views)
    with style():
        return _draw_gradients(picture, [_Shown(view) for view in views], title, caption)


class _Shown:
    """A view ready to be drawn: relative to its own strength, and of the measured part only for the spectrum."""

    def __init__(self, view: GradientView) -> None:
        gradient = np.asarray(view.gradient, dtype=np.float64)
        self.view = view
        self.profile = np.asarray(view.profile, dtype=np.float64)
        (top, left), (height, width) = view.border, gradient.shape[1:]
        self.inside: Window = (slice(top, height - top), slice(left, width - left))
        signed, energy = gradient.sum(0), (gradient**2).sum(0)
        if not energy[self.inside].any():
            raise FeatvisError(f"the gradient of the view {view.title!r} is zero in all of its measured part")
        self.signed = signed / (math.sqrt((signed[self.inside] ** 2).mean()) or 1.0)
        self.energy = energy / energy[self.inside].mean()
        # Whole periods, so that the harmonics of the stride are frequencies of the transform.
        inside = gradient[:, self.inside[0], self.inside[1]]
        rows, columns = (size - size % view.total_stride or size for size in inside.shape[1:])
        self.spectrum = binned(spectrum(inside[:, :rows, :columns]))


def _check(picture: np.ndarray, views: Sequence[GradientView]) -> None:
    if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)) or not picture.size:
        raise FeatvisError(f"a picture has the shape (H, W, 3) or (H, W); got {picture.shape}")
    if not np.isfinite(picture).all():
        raise FeatvisError("a picture's values lie in [0, 1]; got NaN or infinity")
    if not views:
        raise FeatvisError("a gradient figure shows at least one view; got none")
    height, width = picture.shape[:2]
    for view in views:
        name, period = f"the view {view.title!r}", view.total_stride
        if np.ndim(view.gradient) != 3 or np.shape(view.gradient)[1:] != (height, width):
            raise FeatvisError(
                f"the gradient of {name} has the shape {np.shape(view.gradient)}; "
                f"the picture needs (C, {height}, {width})"
            )
        if np.shape(view.profile) != (period, period):
            raise FeatvisError(
                f"the profile of {name} has the shape {np.shape(view.profile)}; "
                f"its total stride needs ({period}, {period})"
            )
        if 2 * view.border[0] >= height or 2 * view.border[1] >= width or min(view.border) < 0:
            raise FeatvisError(f"the border {view.border} of {name} leaves nothing of {height} × {width} pixels")
        pairs = [*view.energies.values(), *view.controls.values()]
        numbers = np.array([number for pair in pairs for number in pair if number is not None])
        if not all(np.isfinite(values).all() for values in (view.gradient, view.profile, numbers)):
            raise FeatvisError(f"{name} holds NaN or infinity; a figure needs finite numbers")


def _draw_gradients(picture: np.ndarray, shown: Sequence[_Shown], title: str, caption: str) -> Figure:
    views = [one.view for one in shown]
    telling = telling_period(views[0].energies)
    period = max(view.total_stride for view in views)
    zoom = zoom_window(shown[0].energy, shown[0].inside, period)
    photo, map_width, map_height = whole_pixels(picture, MAP_SIDE)
    maps = [whole_pixels(one.signed, MAP_SIDE)[0] for one in shown]

    # Columns start where their panels do; between them there is room for colour bars and labels.
    columns = [MARGIN]
    for panel, between in ((max(SIDE, map_width), 130), (SIDE, 126), (SIDE, 100), (SIDE, 138)):
        columns.append(columns[-1] + panel + between)
    page_width = columns[-1] + SIDE + MARGIN
    title_lines = fit_lines(title, page_width - 2 * MARGIN, 17, "bold", most=2)
    text_left = columns[0] + max(SIDE, map_width) + 36
    caption_lines = fit_lines(caption, page_width - text_left - MARGIN, 10.5, most=4)
    photograph = MARGIN + 40 * len(title_lines)
    numbers = photograph + 24 * len(caption_lines) + 16 * bool(caption_lines)
    heads = max(photograph + map_height, numbers + 146) + 28
    rows = heads + 118
    row_height = 40 + max(SIDE, map_height) + 68
    page = Page(page_width, rows + row_height * len(views))

    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    edges = pixel_edges(picture.shape)
    axes, _ = page.map(MARGIN, photograph, MAP_SIDE, np.clip(photo, 0, 1), edges, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    outline(axes, zoom)
    page.text(text_left, photograph, caption_lines, 10.5, color=FAINT)
    _headlines(page, text_left, numbers, views)
    page.text(text_left, heads - 28 - 16, fit_lines(SCALE_NOTE, page_width - text_left - MARGIN, 9), 9, color=FAINT)
    dashed = any(any(view.border) for view in views)
    _heads(page, columns, heads, period, block_side(picture.shape, MAP_SIDE), lined(zoom, period), dashed)

    limit = percentile([np.abs(one) for one in maps], 99)
    spread = max([0.1, *(float(np.abs(one.profile - 1).max()) for one in shown)])
    power = [one.spectrum for one in shown]
    low = max(percentile(power, 0.5), 1e-9)
    norms = (
        Normalize(-limit, limit),
        PowerNorm(0.5, 0, percentile([one.energy[zoom] for one in shown], 99.5)),
        TwoSlopeNorm(1, max(0.0, 1 - spread), 1 + spread),
        LogNorm(low, max(percentile(power, 99.9), 2 * low), clip=True),
    )
    pairs = [pair for view in views for pair in [*view.energies.values(), *view.controls.values()]]
    ends = [end for value, error in pairs for end in (value - (error or 0), value + (error or 0))]
    for index, one in enumerate(shown):
        y, view = rows + row_height * index, one.view
        page.text(columns[0], y, fit_lines(view.title, map_width + 60, 13, "bold", most=1), 13, weight="bold")
        said = ": ".join(
            text for text in (_headline(view, telling), _verdict(view, views[0] if index else None, telling)) if text
        )
        page.text(columns[1], y + 3, fit_lines(said, page_width - columns[1] - MARGIN, 11, most=1), 11)
        y += 40
        axes = gradient_panel(page, columns[0], y, MAP_SIDE, maps[index], edges, norms[0])
        if any(view.border):
            outline(axes, one.inside, dashed=True)
        outline(axes, zoom)
        zoom_panel(page, columns[1], y, one.energy, zoom, view.total_stride, norms[1])
        profile_panel(page, columns[2], y, one.profile, norms[2])
        spectrum_panel(page, columns[3], y, one.spectrum, view.total_stride, norms[3])
        axes = page.axes(columns[4], y + 24, SIDE, SIDE - 24)
        energy_panel(axes, view.energies, view.controls, (min([0.0, *ends]), max([0.0, *ends])))
    return page.finished()


def _heads(page: Page, columns: list[int], y: int, period: int, block: int, lines: bool, dashed: bool) -> None:
    gradient = "What each pixel does to the score: red raises it, blue lowers it."
    gradient += f" Means of {block} × {block} pixels." if block > 1 else ""
    gradient += " Square: the zoom." + (" Dashed: the part that is measured." if dashed else "")
    energy = "The squared gradient where it is strongest."
    energy += f" Thin lines: the period of {period} pixels." if lines else ""
    power = "Of the signed gradient."
    power += " Orange ticks: the frequencies that the strides can leave." if period > 1 else ""
    heads = [
        ("Gradient", gradient),
        ("Energy, zoomed in", energy),
        ("Phase profile", "How unevenly the gradient's energy falls on the pixel phases; 1 = even."),
        ("Power spectrum", power),
        ("Checkerboard energy E", "By period; 0 = even. Controls, periods that no stride makes, must sit at 0."),
    ]
    ends = [*columns[1:], page.width]
    for x, end, (head, explanation) in zip(columns, ends, heads, strict=True):
        page.head(x, y, head, explanation, end - x - 28)


def _headlines(page: Page, x: int, y: float, views: Sequence[GradientView]) -> None:
    """The energy of each view, large, side by side."""
    step = (page.width - x - MARGIN) / max(3, len(views))
    period = telling_period(views[0].energies)
    lines = [_headline(view, period) for view in views]
    widest = max(text_width(line, 19, "bold") for line in lines)
    size = max(7.0, min(19.0, 19 * (step - 24) / widest))
    for index, (view, line) in enumerate(zip(views, lines, strict=True)):
        left = x + step * index
        page.text(left, y, fit_lines(view.title, step - 24, 11, most=1), 11, color=FAINT)
        page.text(left, y + 28, line, size, weight="bold")
        verdict = _verdict(view, views[0] if index else None, period)
        page.text(left, y + 70, fit_lines(verdict, step - 24, 10.5, most=2), 10.5)


def _headline(view: GradientView, period: int | None) -> str:
    return energy_at(view.energies, _its(view, period))


def _its(view: GradientView, period: int | None) -> int | None:
    """The period, or the view's longest where it has no such."""
    return period if period is None or period in view.energies else max(view.energies, default=None)


def _verdict(view: GradientView, first: GradientView | None, period: int | None) -> str:
    """What the energy says in words, alone and beside the first view; nothing where the errors do not allow it."""
    own = _change(view, period)
    return "" if own is None else own.beside(own if first is None else _change(first, period) or own)


def _change(view: GradientView, period: int | None) -> Change | None:
    its = _its(view, period)
    return None if its is None else Change(view.title, Estimate(*view.energies[its]))
