"""Upsampling layers as matrices, side by side: which entries share a weight, singular values, and the gain at each frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featvis.errors import FeatvisError
from featvis.plots.page import MAP_SIDE, MARGIN, PLAIN, Page, fit_lines, pixel_edges, style
from featvis.plots.palette import FAINT, INK, LINES, RULE

if TYPE_CHECKING:
    from featvis.predict.linear import LinearView

COLOURS = (*LINES[1:], INK)
"""For the weights, and for the layers; they start again after the last."""

TALLEST, COLUMN, GAP = 416, 240, 44
"""The height of the largest matrix, the least width of a column and the space between two, in screen pixels."""

HEAD = 104
"""The height of a head above the lower panels."""

MARKERS = ("o", "s", "^", "D", "v", "P")


def linear_figure(views: Sequence[LinearView], title: str) -> Figure:
    """The matrix of each layer with its weights as colours, above their singular values and their gains by frequency.

    An entry that adds several weights has the mean of their colours, by their shares; its digits name them. Raises FeatvisError without
    a layer.
    """
    if not views:
        raise FeatvisError("a figure of matrices shows at least one layer; got none")
    with style():
        return _draw(views, title)


def _draw(views: Sequence[LinearView], title: str) -> Figure:
    cells = [max(1, TALLEST // max(view.matrix.shape)) for view in views]
    heights = [view.matrix.shape[0] * cell for view, cell in zip(views, cells, strict=True)]
    widths = [max(COLUMN, view.matrix.shape[1] * cell) for view, cell in zip(views, cells, strict=True)]
    row = sum(widths) + GAP * (len(views) - 1)
    panel = max(MAP_SIDE + 60, (row - 100) // 2)
    width = max(row, 2 * panel + 100) + 2 * MARGIN + 44
    title_lines = fit_lines(title, width - 2 * MARGIN, 17, "bold", most=3)
    heads = MARGIN + 40 * len(title_lines) + 4
    top = heads + 116
    below = top + max(min(height, TALLEST) for height in heights) + 66
    page = Page(width, below + HEAD + MAP_SIDE + 60)
    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    left = MARGIN + 44
    for view, room in zip(views, widths, strict=True):
        page.head(left, heads, view.name, _caption(view), room)
        _matrix_panel(page, left, top, view)
        left += room + GAP
    left = MARGIN + 44
    text = "Of the matrix, borders included. One near 0 belongs to an input pattern that the layer loses."
    page.head(left, below, "Singular values", text, panel)
    _singular_panel(page.axes(left, below + HEAD, panel, MAP_SIDE), views)
    text = "Over its largest. At a multiple of 1 / stride (lines): what a constant leaves there; around it, a smooth input."
    page.head(left + panel + 100, below, "Gain", text, panel)
    _gain_panel(page.axes(left + panel + 100, below + HEAD, panel, MAP_SIDE), views)
    return page.finished()


def _caption(view: LinearView) -> str:
    outputs, inputs = view.matrix.shape
    constant = " ".join(f"{value:.3g}" for value in view.constant)
    weights = "weight" if len(view.weights) == 1 else "weights"
    return f"{outputs} × {inputs}, {len(view.weights)} {weights}. A constant of 1 becomes {constant}"


def _matrix_panel(page: Page, x: int, y: int, view: LinearView) -> None:
    palette = np.array([to_rgb(COLOURS[tap % len(COLOURS)]) for tap in range(len(view.weights))])
    shares = np.abs(view.shares)
    total = shares.sum(0)
    mixed = np.tensordot(shares, palette, (0, 0)) / np.where(total > 0, total, 1)[..., None]
    shown = np.where((total > 0)[..., None], mixed, 1.0)
    axes, _ = page.map(x, y, TALLEST, shown, pixel_edges(view.matrix.shape))
    cell = TALLEST // max(view.matrix.shape)
    for row, column in np.argwhere(total > 0):
        digits = "".join(str(tap + 1) for tap in np.flatnonzero(shares[:, row, column]))
        if len(view.weights) <= 9 and cell >= 7.5 * len(digits) + 3:
            ink = "black" if shown[row, column] @ (0.3, 0.59, 0.11) > 0.5 else "white"
            axes.text(column, row, digits, fontsize=7, color=ink, ha="center", va="center")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set(xlabel="input", ylabel="output")


def _singular_panel(axes: Axes, views: Sequence[LinearView]) -> None:
    for number, view in enumerate(views):
        values = view.singular_values
        axes.plot(np.arange(1, len(values) + 1), values, **_line(number), markersize=4, label=view.name)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.set_xlabel("number, from the largest")
    _finish(axes)


def _gain_panel(axes: Axes, views: Sequence[LinearView]) -> None:
    frequencies = np.linspace(0, 0.5, 513)
    for harmonic in sorted({harmonic for view in views for harmonic in view.harmonics}):
        axes.axvline(float(harmonic), color=FAINT, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    for number, view in enumerate(views):
        gains = view.response(frequencies)
        largest = gains.max() or 1.0
        line = _line(number)
        axes.plot(frequencies, gains / largest, color=line["color"], linestyle=line["linestyle"], label=view.name)
        places = np.array([float(harmonic) for harmonic in view.harmonics])
        marks = view.response(places) / largest
        axes.plot(places, marks, line["marker"], color=line["color"], markersize=7, clip_on=False, zorder=3)
    axes.set(xlim=(0, 0.5), ylim=(0, 1.05), xlabel="cycles per output pixel")
    axes.xaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_major_formatter(PLAIN)
    _finish(axes)


def _line(number: int) -> dict[str, Any]:
    """How a layer is drawn: its colour and its marker differ, and where curves coincide its dashes let the others through."""
    dashes = ("solid", "dashed", "dotted", "dashdot")[number % 4]
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "linestyle": dashes}


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="best")
