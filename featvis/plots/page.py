"""A figure's page, laid out in whole screen pixels, its text and its maps.

Every map is drawn at a whole number of screen pixels for each of its own: any other scale would draw a grid of its own,
in a figure about grids. Nothing here touches pyplot or leaves a setting of matplotlib changed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, NullLocator

from featvis.plots.palette import FAINT, INK

DPI = 120
"""Screen pixels for an inch, at which every figure is laid out."""

MARGIN = 26

MAP_SIDE = 304
"""The largest side of a map of the whole picture; inputs of up to 299 pixels are drawn pixel by pixel."""

SIDE = 256
"""The side of a panel, in screen pixels."""

FONT = "DejaVu Sans"
"""The font that ships with matplotlib: figures look the same on every machine."""

STYLE: dict[str, Any] = {
    "font.family": FONT,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "savefig.dpi": "figure",
    "svg.hashsalt": "featvis",
}

PLAIN = FuncFormatter(lambda value, _: f"{value:g}")

Energy = tuple[float, float | None]
"""A measured value and its standard error, None where there is none."""

Window = tuple[slice, slice]
"""Rows and columns of a picture."""


def style() -> AbstractContextManager[None]:
    """Our settings, whatever the caller's are; theirs are back afterwards."""
    return matplotlib.style.context(STYLE, after_reset=True)


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """The width of one line of text, in screen pixels; size in points. Hinting widens letters by up to 3 %."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] * 1.03 * DPI / 72


def fit_lines(text: str, width: float, size: float, weight: str = "normal", most: int = 6) -> list[str]:
    """The text in at most `most` lines of at most `width` pixels; what the font lacks becomes �."""
    known = get_font(findfont(FontProperties(family=FONT, weight=weight))).get_charmap()
    drawable = "".join(c if ord(c) in known or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    for letters in range(max(1, int(width / (0.3 * size * DPI / 72))), 0, -1):
        lines = textwrap.wrap(drawable, letters, max_lines=most, placeholder="…")
        if all(text_width(line, size, weight) <= width for line in lines):
            break
    return lines


def whole_pixels(values: np.ndarray, side: int) -> tuple[np.ndarray, int, int]:
    """What to draw of (H, W, ...) in a square of `side` screen pixels, and its width and height there.

    Each value becomes a square of whole screen pixels; of more values than pixels, means of square blocks are drawn.
    """
    block = block_side(values.shape, side)
    rows, columns = (max(1, size // block) for size in values.shape[:2])
    values = np.mean([values[row : rows * block : block] for row in range(min(block, len(values)))], axis=0)
    within = range(min(block, values.shape[1]))
    values = np.mean([values[:, column : columns * block : block] for column in within], axis=0)
    scale = max(1, side // max(rows, columns))
    return values, columns * scale, rows * scale


def block_side(shape: tuple[int, ...], side: int) -> int:
    """The side of the blocks that `whole_pixels` averages; 1 where nothing is."""
    return -(-max(shape[:2]) // side)


class Page:
    """A white figure addressed in screen pixels from its upper left corner; text is drawn as it is."""

    def __init__(self, width: int, height: int) -> None:
        # Multiples of 15 pixels are exact in inches, so that no pixel is lost on the way.
        self.width, self.height = (-(-size // 15) * 15 for size in (width, height))
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")

    def finished(self) -> Figure:
        """The figure with all its ticks made, so that settings at the time of drawing no longer matter."""
        self.figure.draw_without_rendering()
        return self.figure

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        box = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, lines: str | Sequence[str], size: float, **settings: Any) -> None:
        """Lines from their upper left corner; where a baseline lies depends on the size alone, not on the letters."""
        for index, line in enumerate([lines] if isinstance(lines, str) else lines):
            baseline = y + (0.8 + 1.35 * index) * size * DPI / 72
            place = x / self.width, 1 - baseline / self.height
            self.figure.text(*place, line, fontsize=size, va="baseline", parse_math=False, **settings)

    def head(self, x: float, y: float, head: str, explanation: str, width: float) -> None:
        """The head of a column and what it shows, in plain words."""
        self.text(x, y, head, 11.5, weight="bold")
        self.text(x, y + 30, fit_lines(explanation, width, 9), 9, color=FAINT)

    def map(
        self,
        x: float,
        y: float,
        side: int,
        values: np.ndarray,
        extent: tuple[float, float, float, float],
        label: str = "",
        bar: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> tuple[Axes, AxesImage]:
        """(H, W) or (H, W, 3) as a map in whole pixels, and beside it the colour bar where it has a label.

        extent: left, right, bottom and top edge in data units. bar and settings go to Figure.colorbar and Axes.imshow.
        """
        drawn, width, height = whole_pixels(values, side)
        axes = self.axes(x, y, width, height)
        axes.tick_params(length=3, width=0.6, pad=3)
        image = axes.imshow(drawn, extent=extent, aspect="auto", interpolation="none", **settings)
        if label:
            colours = self.figure.colorbar(image, cax=self.axes(x + width + 8, y, 12, height), **(bar or {}))
            colours.set_label(label, labelpad=4)
            colours.ax.yaxis.set_minor_locator(NullLocator())
        return axes, image


def pixel_edges(shape: tuple[int, ...], window: Window | None = None) -> tuple[float, float, float, float]:
    """The extent that puts pixel centres on whole numbers, for a whole picture or a window of it."""
    rows, columns = window or (slice(0, shape[0]), slice(0, shape[1]))
    return columns.start - 0.5, columns.stop - 0.5, rows.stop - 0.5, rows.start - 0.5


def outline(axes: Axes, window: Window, dashed: bool = False) -> None:
    """A rectangle around a window, with a white rim that shows on dark pictures."""
    rows, columns = window
    rectangle = Rectangle(
        (columns.start - 0.5, rows.start - 0.5),
        columns.stop - columns.start,
        rows.stop - rows.start,
        fill=False,
        edgecolor="black",
        linewidth=1.2,
        linestyle=(0, (4, 3)) if dashed else "solid",
    )
    rectangle.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
    axes.add_patch(rectangle)
