"""Variants of a network in one picture: a row for each on common scales, and all energies beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from featvis.errors import FeatvisError
from featvis.measure.change import Change
from featvis.measure.estimates import Estimate
from featvis.measure.finding import energy_at
from featvis.plots.gradients import energy_spectrum
from featvis.plots.page import MARGIN, Energy, Page, Window, fit_lines, style, text_width
from featvis.plots.palette import EDGE, FAINT, LINES, RULE
from featvis.plots.panels import BARS, binned, energy_scale, reach_of, zoom_window
from featvis.plots.rows import Layout, Meaning, Row, draw_photograph, draw_rows

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Each marker serves once through the colours."""


ENDLESS = 1e6
"""A width in pixels that no name reaches."""


@dataclass(frozen=True)
class ComparedView:
    """What was measured of one variant over all pictures.

    energies, controls, differences (to the first variant): period in pixels to (value, its standard error or None). profile: (P, P) for
    the total stride P, mean 1.
    """

    title: str
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    profile: np.ndarray
    differences: Mapping[int, Energy]


class Sketches:
    """What is drawn of the gradients themselves: those of the first picture, and the mean spectrum of all; batch by batch."""

    def __init__(self) -> None:
        self.picture: np.ndarray | None = None
        self.gradients: dict[str, np.ndarray] = {}
        self.border = (0, 0)
        self._power: dict[str, np.ndarray] = {}

    def add(self, name: str, picture: np.ndarray, gradients: np.ndarray, border: tuple[int, int]) -> None:
        """Add a batch of a variant.

        picture: the first of the batch, (H, W, 3) or (H, W) in [0, 1]. gradients: (B, C, H, W), none of them zero inside the border.
        border: rows and columns left out on each side, whole periods.
        """
        if self.picture is None:
            self.picture, self.border = picture, border
        self.gradients.setdefault(name, gradients[0])
        inside = self._inside(gradients.shape[-2:])
        for gradient in gradients:
            power = energy_spectrum((gradient[:, inside[0], inside[1]].astype(np.float64) ** 2).sum(0))
            self._power[name] = self._power[name] + power if name in self._power else power

    def _inside(self, shape: tuple[int, ...]) -> Window:
        (top, left), (height, width) = self.border, shape
        return slice(top, height - top), slice(left, width - left)

    def inside(self) -> Window:
        """The measured part of the first picture."""
        assert self.picture is not None
        return self._inside(self.picture.shape[:2])

    def spectrum(self, name: str) -> np.ndarray:
        """The mean spectrum of a variant's energy maps, as `spectrum_panel` takes it."""
        return binned(self._power[name] / self._power[name].mean())


def headline(view: ComparedView, first: ComparedView, period: int | None) -> str:
    """The energy of a period, and how much less or more it is than the first variant's, where the paired error allows."""
    if period is None or period not in view.energies or view is first:
        return energy_at(view.energies, period)
    difference = Estimate(*view.differences.get(period, (0.0, None)))
    before = Change(first.title, Estimate(*first.energies[period]))
    change = Change(view.title, Estimate(*view.energies[period]), difference).beside(before)
    return ": ".join(filter(None, (energy_at(view.energies, period), change)))


def short_name(text: str, width: float, size: float) -> str:
    """A bold name in one line of at most `width` pixels, cut after any letter where it is longer; what the font lacks becomes �."""
    line = " ".join(fit_lines(text, ENDLESS, size, "bold"))
    letters = len(line)
    while letters > 0 and text_width(line[:letters] + "…" * (letters < len(line)), size, "bold") > width:
        letters -= 1
    return line[:letters] + "…" * (letters < len(line))


def _check(views: Sequence[ComparedView]) -> None:
    if not views:
        raise FeatvisError("a comparison shows at least one variant; got none")
    for view in views:
        pairs = [*view.energies.values(), *view.controls.values(), *view.differences.values()]
        numbers = np.array([number for pair in pairs for number in pair if number is not None])
        if not np.isfinite(numbers).all():
            raise FeatvisError(f"the variant {view.title!r} holds NaN or infinity; a figure needs finite numbers")


def energies_figure(views: Sequence[ComparedView], period: int | None, title: str) -> Figure:
    """The energies of all variants beside each other, by period, with their errors; controls to the right.

    period: what the legend speaks of. Raises FeatvisError without views and for numbers that are not finite.
    """
    _check(views)
    with style():
        return _draw_energies(views, period, title)


def _draw_energies(views: Sequence[ComparedView], period: int | None, title: str) -> Figure:
    periods = sorted({its for view in views for its in view.energies})
    controls = sorted({its for view in views for its in view.controls})
    group = max(90, 18 * len(views) + 24)
    plot_width = max(360, group * max(1, len(periods) + len(controls)))
    said = [headline(view, views[0], period) for view in views]
    names_width = min(640, max(text_width(text, 10) for text in (*said, *(view.title for view in views))) + 40)
    legend_left = MARGIN + 64 + plot_width + 36
    width = int(legend_left + names_width + MARGIN)
    title_lines = fit_lines(title, width - 2 * MARGIN, 17, "bold", most=3)
    top = MARGIN + 40 * len(title_lines) + 44
    height = max(420, 52 * len(views))
    page = Page(width, top + height + 74)
    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    explanation = (
        "Checkerboard energy E of the gradient, by period; 0 = even. Controls, periods that no stride makes, must sit at 0. "
        "Bars: two errors."
    )
    page.text(MARGIN, top - 44, fit_lines(explanation, width - 2 * MARGIN, 10, most=1), 10, color=FAINT)

    axes = page.axes(MARGIN + 64, top, plot_width, height)
    for index, view in enumerate(views):
        place = (index + 1) / (len(views) + 1) - 0.5
        marker, colour = _mark(index)
        for position, (its, values) in enumerate(
            [*((its, view.energies) for its in periods), *((its, view.controls) for its in controls)]
        ):
            if its in values:
                value, error = values[its]
                axes.errorbar(
                    position + place,
                    value,
                    BARS * (error or 0),
                    fmt=marker,
                    color=colour,
                    capsize=3,
                    markersize=6,
                    linewidth=1.2,
                )
    energy_scale(axes, reach_of(pair for view in views for pair in [*view.energies.values(), *view.controls.values()]))
    count = len(periods) + len(controls)
    for edge in range(1, count):
        axes.axvline(edge - 0.5, color=EDGE if edge == len(periods) else RULE, linewidth=0.8, zorder=0)
    labels = [*(f"{its}" for its in periods), *(f"{its}\ncontrol" for its in controls)]
    axes.set_xticks(range(count), labels)
    axes.set_xlim(-0.5, max(count, 1) - 0.5)
    axes.set_xlabel("period, pixels")
    _names(page, legend_left, top, views, said, names_width)
    return page.finished()


def _mark(index: int) -> tuple[str, str]:
    return MARKERS[index // len(LINES) % len(MARKERS)], LINES[index % len(LINES)]


def _names(page: Page, x: float, y: float, views: Sequence[ComparedView], said: Sequence[str], width: float) -> None:
    """A legend whose lines cannot meet: each variant's name, and below it what its energy says."""
    for index, (view, words) in enumerate(zip(views, said, strict=True)):
        marker, colour = _mark(index)
        top = y + 52 * index
        place = (x + 8) / page.width, 1 - (top + 9) / page.height
        dot = Line2D([place[0]], [place[1]], marker=marker, color=colour, markersize=7, linestyle="none")
        page.figure.add_artist(dot)
        page.text(x + 26, top, short_name(view.title, width - 30, 10), 10, weight="bold")
        page.text(x + 26, top + 21, fit_lines(words, width - 30, 10, most=1), 10, color=FAINT)


def comparison_figure(
    sketches: Sketches, views: Sequence[ComparedView], period: int | None, title: str, caption: str = ""
) -> Figure:
    """The first picture and, a row for each variant, its gradient there, a zoom, and mean tile, spectrum and energies of all pictures.

    sketches: of all views, by title. period: the one that zoom, tiles and spectra show, a divisor of the total stride. Each kind of panel
    has one scale for all rows; gradients are drawn relative to their own root mean square. Raises FeatvisError without views, for
    numbers that are not finite, and for a view without a sketch.
    """
    _check(views)
    missing = [view.title for view in views if view.title not in sketches.gradients]
    if sketches.picture is None or missing:
        raise FeatvisError(f"there is no gradient of the variant {(missing or [views[0].title])[0]!r} to draw")
    with style():
        return _draw_comparison(sketches, sketches.picture, views, period, title, caption)


def _draw_comparison(
    sketches: Sketches,
    picture: np.ndarray,
    views: Sequence[ComparedView],
    telling: int | None,
    title: str,
    caption: str,
) -> Figure:
    period = telling or 1
    rows = [_row(sketches, view, period) for view in views]
    zoom = zoom_window(rows[0].energy, rows[0].inside, (period, period))
    layout = Layout.of(picture)
    text_left, text_room = layout.text_left, layout.width - layout.text_left - MARGIN
    title_lines = fit_lines(title, layout.width - 2 * MARGIN, 17, "bold", most=2)
    caption_lines = fit_lines(caption, text_room, 10.5, most=3)
    photograph = MARGIN + 40 * len(title_lines)
    list_top = photograph + 26 * len(caption_lines) + 10 * bool(caption_lines)
    top = max(photograph + layout.photo_height, list_top + 26 * len(views)) + 34
    page = Page(layout.width, top + layout.row_height * len(views))

    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    draw_photograph(page, photograph, picture, zoom)
    page.text(text_left, photograph, caption_lines, 10.5, color=FAINT)
    names = [short_name(view.title, 0.4 * text_room, 12) for view in views]
    said_left = text_left + max(text_width(name, 12, "bold") for name in names) + 24
    said = [headline(view, views[0], telling) for view in views]
    for index, (name, words) in enumerate(zip(names, said, strict=True)):
        page.text(text_left, list_top + 26 * index, name, 12, weight="bold")
        page.text(said_left, list_top + 26 * index, fit_lines(words, page.width - said_left - MARGIN, 12, most=1), 12)
    first, second = layout.columns[:2]
    for index, view in enumerate(views):
        y = top + layout.row_height * index
        page.text(first, y, short_name(view.title, second - first - 40, 13), 13, weight="bold")
        page.text(second, y + 3, fit_lines(said[index], page.width - second - MARGIN, 11, most=1), 11)
    meaning = Meaning(
        "At the picture above: red raises the score, blue lowers it.",
        "Squared, where the first is strongest.",
        "All pictures. ",
    )
    draw_rows(page, layout, top, rows, zoom, meaning)
    return page.finished()


def _row(sketches: Sketches, view: ComparedView, period: int) -> Row:
    """A variant ready to be drawn: its gradient at the first picture relative to its own strength, the rest of all pictures."""
    inside, gradient = sketches.inside(), sketches.gradients[view.title]
    signed, energy = gradient.sum(0), (gradient**2).sum(0)
    return Row(
        signed / (math.sqrt((signed[inside] ** 2).mean()) or 1.0),
        energy / energy[inside].mean(),
        _folded(np.asarray(view.profile, dtype=np.float64), period),
        sketches.spectrum(view.title),
        view.energies,
        view.controls,
        inside,
    )


def _folded(profile: np.ndarray, period: int) -> np.ndarray:
    """The profile of a shorter period, (period, period), which divides that of (P, P)."""
    repeats = len(profile) // period
    return profile.reshape(repeats, period, repeats, period).mean((0, 2))
