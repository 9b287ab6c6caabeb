"""How many paths reach each pixel, and the checkerboard that follows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featvis.errors import FeatvisError
from featvis.plots.page import MAP_SIDE, MARGIN, SIDE, Page, fit_lines, pixel_edges, style
from featvis.plots.palette import SEQUENTIAL
from featvis.plots.panels import bar_panel, energy_panel, longest, write_cells


def overlap_figure(
    counts_1d: np.ndarray, counts_2d: np.ndarray | None, energies: Mapping[int, float], title: str
) -> Figure:
    """How many paths reach each pixel, along one axis and in the plane, and the checkerboard energy that follows.

    counts_1d: (L,), counts_2d: (H, W) or None, both non-negative; of many counts the middle ones are drawn. energies:
    period in pixels to E. Raises FeatvisError where the shapes do not fit or a value is not finite.
    """
    counts = [np.asarray(counts_1d, dtype=np.float64)]
    if counts_2d is not None:
        counts.append(np.asarray(counts_2d, dtype=np.float64))
    if any(one.ndim != axes or not one.size for axes, one in enumerate(counts, start=1)):
        raise FeatvisError(f"overlap counts have the shapes (L,) and (H, W); got {[one.shape for one in counts]}")
    if not all(np.isfinite(one).all() for one in [*counts, np.array([*energies.values()])]):
        raise FeatvisError("overlap counts and energies must be finite; got NaN or infinity")
    with style():
        return _draw_overlap(counts[0], counts[1] if len(counts) > 1 else None, energies, title)


BARS_WIDTH, MOST_BARS, MOST_CELLS = 520, 104, 76
"""The width of all bars in pixels; more bars than this, or cells along an axis, would be too small to see."""


def _middle(size: int, most: int) -> slice:
    first = max(0, size - most) // 2
    return slice(first, first + min(size, most))


def _draw_overlap(
    counts_1d: np.ndarray, counts_2d: np.ndarray | None, energies: Mapping[int, float], title: str
) -> Figure:
    columns = [MARGIN + 44, MARGIN + 44 + BARS_WIDTH + 88]
    if counts_2d is not None:
        columns.append(columns[-1] + MAP_SIDE + 144)
    width = columns[-1] + SIDE + MARGIN
    title_lines = fit_lines(title, width - 2 * MARGIN, 17, "bold", most=3)
    heads = MARGIN + 40 * len(title_lines) + 4
    top = heads + 110
    page = Page(width, top + MAP_SIDE + 62)
    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")

    shown = _middle(len(counts_1d), MOST_BARS)
    text = "How many paths from the output end in each pixel. Even bars would mean no checkerboard."
    text += f" Drawn: the middle {MOST_BARS} of {len(counts_1d)}." if len(counts_1d) > MOST_BARS else ""
    page.head(columns[0], heads, "Overlap along one axis", text, BARS_WIDTH)
    bar_panel(page, columns[0], top, counts_1d[shown], shown.start, BARS_WIDTH, MAP_SIDE)

    if counts_2d is not None:
        window = _middle(counts_2d.shape[0], MOST_CELLS), _middle(counts_2d.shape[1], MOST_CELLS)
        cells = counts_2d[window]
        text = "The same for rows and columns at once."
        text += " Drawn: the middle of {} × {}.".format(*counts_2d.shape) if cells.size < counts_2d.size else ""
        page.head(columns[1], heads, "Overlap in the plane", text, MAP_SIDE + 40)
        axes, image = page.map(
            columns[1],
            top,
            MAP_SIDE,
            cells,
            pixel_edges(cells.shape, window),
            "paths",
            {"ticks": MaxNLocator(6)},
            cmap=SEQUENTIAL,
            norm=Normalize(0, float(cells.max()) or 1.0),
        )
        if MAP_SIDE // max(cells.shape) >= 8 * longest(cells) + 4:
            write_cells(axes, image, cells, "g", 8)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set(xlabel="column, pixels", ylabel="row, pixels")

    page.head(columns[-1], heads, "Checkerboard energy E", "By period; 0 = even.", SIDE + 20)
    axes = page.axes(columns[-1], top, SIDE, MAP_SIDE)
    values = [0.0, *energies.values()]
    energy_panel(axes, {period: (value, None) for period, value in energies.items()}, {}, (min(values), max(values)))
    for index, period in enumerate(sorted(energies)):
        place, number = (index, energies[period]), f"{energies[period]:.3g}"
        axes.annotate(number, place, (0, 8), textcoords="offset points", ha="center", fontsize=9)
    return page.finished()
