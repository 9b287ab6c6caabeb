"""A gradient and its checkerboard in one picture that explains itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from featvis.errors import FeatvisError
from featvis.measure.change import Change
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding, Period, energy_at, named, telling_period
from featvis.plots.page import MARGIN, Energy, Page, Window, fit_lines, style, text_width
from featvis.plots.palette import FAINT
from featvis.plots.panels import Pair, binned, mean_tile, zoom_window
from featvis.plots.rows import Layout, Meaning, Row, draw_photograph, draw_rows

FLOOR = 1e-3
"""Added to an energy relative to its mean before its logarithm is taken."""

SCALE_NOTE = (
    "E is the squared unevenness of the gradient's energy over the pixel phases. 0: even. 0.23: one 3 × 3 convolution "
    "of stride 2 with random weights. 3: one pixel of each 2 × 2 carries all."
)


@dataclass(frozen=True)
class GradientView:
    """One gradient of a picture and what was measured about its kind.

    title: such as "raw" or "equalised". gradient: (C, H, W), signed. profile: (P, P), mean 1. energies and controls:
    period in pixels to (E, its standard error or None). border: rows and columns left out of the measure on each side. finding: what
    these come to; the first view's names the period that the figure speaks of. spoken: E of that one, where it differs by axis.
    """

    title: str
    gradient: np.ndarray
    profile: np.ndarray
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    total_stride: int
    border: tuple[int, int] = (0, 0)
    finding: Finding | None = None
    spoken: Energy | None = None


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
    """A photograph and, a row for each view, its gradient, a zoom, the mean tile, the spectrum of its energy and the energies.

    picture: (H, W, 3) or (H, W) in [0, 1]. Each kind of panel has one scale for all rows; gradients are drawn relative to
    their own root mean square, energies to their own mean. Raises FeatvisError where shapes do not fit or a value is
    not finite.
    """
    picture = np.asarray(picture, dtype=np.float64)
    _check(picture, views)
    with style():
        return _draw_gradients(picture, views, title, caption)


def energy_spectrum(energy: np.ndarray) -> np.ndarray:
    """Spectral power of an energy map, relative to the mean of all frequencies: a grid is a point, objects are near the middle.

    energy: (H, W), 0 or more, not all 0. Of its logarithm, as a few strong places would drown the grid in all others; under a Hann window.
    Returns (H, W) as `spectrum` does; zeros for a map of one value.
    """
    logarithm = np.log(np.asarray(energy, dtype=np.float64) / np.mean(energy) + FLOOR)
    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in logarithm.shape))
    deviations = logarithm - (logarithm * window).sum() / window.sum()
    power = np.abs(np.fft.fft2(deviations * window)) ** 2
    return np.fft.fftshift(power / (power.mean() or 1.0))


def _row(view: GradientView, period: Pair) -> Row:
    """A view ready to be drawn: relative to its own strength, and of the measured part only for tile and spectrum."""
    gradient = np.asarray(view.gradient, dtype=np.float64)
    (top, left), (height, width) = view.border, gradient.shape[1:]
    inside: Window = (slice(top, height - top), slice(left, width - left))
    signed, energy = gradient.sum(0), (gradient**2).sum(0)
    if not energy[inside].any():
        raise FeatvisError(f"the gradient of the view {view.title!r} is zero in all of its measured part")
    energy = energy / energy[inside].mean()
    return Row(
        signed / (math.sqrt((signed[inside] ** 2).mean()) or 1.0),
        energy,
        mean_tile(energy, inside, period),
        binned(energy_spectrum(energy[inside])),
        view.energies,
        view.controls,
        inside,
    )


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


def _draw_gradients(picture: np.ndarray, views: Sequence[GradientView], title: str, caption: str) -> Figure:
    telling = _spoken(views[0])
    period = _pair(views[0], telling)
    rows = [_row(view, period) for view in views]
    zoom = zoom_window(rows[0].energy, rows[0].inside, period)
    layout = Layout.of(picture)
    text_room = layout.width - layout.text_left - MARGIN
    title_lines = fit_lines(title, layout.width - 2 * MARGIN, 17, "bold", most=3)
    caption_lines = fit_lines(caption, text_room, 10.5, most=4)
    photograph = MARGIN + 40 * len(title_lines)
    numbers = photograph + 24 * len(caption_lines) + 16 * bool(caption_lines)
    scale_lines = fit_lines(SCALE_NOTE, text_room, 9, most=3)
    top = max(photograph + layout.photo_height, numbers + 122 + 20 * len(scale_lines)) + 28
    page = Page(layout.width, top + layout.row_height * len(views))

    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    draw_photograph(page, photograph, picture, zoom)
    page.text(layout.text_left, photograph, caption_lines, 10.5, color=FAINT)
    _headlines(page, layout.text_left, numbers, views)
    page.text(layout.text_left, top - 28 - 20 * len(scale_lines), scale_lines, 9, color=FAINT)
    first, second = layout.columns[:2]
    for index, view in enumerate(views):
        y = top + layout.row_height * index
        page.text(first, y, fit_lines(view.title, second - first - 70, 13, "bold", most=1), 13, weight="bold")
        said = ": ".join(
            text for text in (_headline(view, telling), _verdict(view, views[0] if index else None, telling)) if text
        )
        page.text(second, y + 3, fit_lines(said, page.width - second - MARGIN, 11, most=1), 11)
    meaning = Meaning(
        "What each pixel does to the score: red raises it, blue lowers it.", "Squared, where it is strongest."
    )
    draw_rows(page, layout, top, rows, zoom, meaning)
    return page.finished()


def _pair(view: GradientView, telling: Period | None) -> Pair:
    """The period that tile, zoom and spectrum show: that of the finding, by axis, where the picture holds it twice."""
    pair = telling if isinstance(telling, tuple) else (telling or 1,) * 2
    height, width = np.shape(view.gradient)[1:]
    return (pair[0], pair[1]) if 2 * pair[0] <= height and 2 * pair[1] <= width else (1, 1)


def _headlines(page: Page, x: int, y: float, views: Sequence[GradientView]) -> None:
    """The energy of each view, large, side by side."""
    step = (page.width - x - MARGIN) / max(3, len(views))
    period = _spoken(views[0])
    lines = [_headline(view, period) for view in views]
    widest = max(text_width(line, 19, "bold") for line in lines)
    size = max(7.0, min(19.0, 19 * (step - 24) / widest))
    for index, (view, line) in enumerate(zip(views, lines, strict=True)):
        left = x + step * index
        page.text(left, y, fit_lines(view.title, step - 24, 11, most=1), 11, color=FAINT)
        page.text(left, y + 28, line, size, weight="bold")
        verdict = _verdict(view, views[0] if index else None, period)
        page.text(left, y + 70, fit_lines(verdict, step - 24, 10.5, most=2), 10.5)


def _spoken(view: GradientView) -> Period | None:
    """The period that a figure speaks of: that of the finding, where its energy is known."""
    spoken = None if view.finding is None else view.finding.spoken
    return spoken if spoken is not None and _energy(view, spoken) else telling_period(view.energies)


def _energy(view: GradientView, period: Period | None) -> Energy | None:
    return view.spoken if isinstance(period, tuple) else view.energies.get(period or 0)


def _headline(view: GradientView, period: Period | None) -> str:
    its = _its(view, period)
    energy = _energy(view, its)
    return (
        named(its, Estimate(*energy))
        if isinstance(its, tuple) and energy
        else energy_at(view.energies, its if isinstance(its, int) else None)
    )


def _its(view: GradientView, period: Period | None) -> Period | None:
    """The period, or the view's longest where it has no such."""
    return period if period is None or _energy(view, period) else max(view.energies, default=None)


def _verdict(view: GradientView, first: GradientView | None, period: Period | None) -> str:
    """What the energy says in words, alone and beside the first view; nothing where the errors do not allow it."""
    own = _change(view, period)
    return "" if own is None else own.beside(own if first is None else _change(first, period) or own)


def _change(view: GradientView, period: Period | None) -> Change | None:
    energy = _energy(view, _its(view, period))
    return None if energy is None else Change(view.title, Estimate(*energy))
