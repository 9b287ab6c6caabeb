"""The figures: a gradient and its checkerboard in one picture that explains itself, and the overlap behind it.

Everything is laid out in whole pixels at `DPI`, and every map is drawn at a whole number of screen pixels for each of its own: any
other scale would draw a grid of its own, in a figure about grids.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from featvis.errors import FeatvisError
from featvis.files import write_atomically

DPI = 120
"""Screen pixels for an inch, at which every figure is laid out."""

FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""Suffix to metadata: no dates, so that equal figures give equal files."""

SIGNED, SEQUENTIAL = "RdBu_r", "viridis"
INK, FAINT, PERIOD, CONTROL = "#222222", "#666666", "#0072B2", "#D55E00"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.labelsize": 9,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.dpi": DPI,
    "savefig.dpi": "figure",
    "svg.hashsalt": "featvis",
}

Energy = tuple[float, float | None]
"""A measured value and its standard error, None where there is none."""


@dataclass(frozen=True)
class GradientView:
    """One gradient of a picture and what was measured about its kind.

    title: such as "raw" or "equalised". gradient: (C, H, W), signed. profile: (P, P), mean 1. energies, controls: period in pixels
    to (E, its standard error). border: rows and columns left out of the measure on each side.
    """

    title: str
    gradient: np.ndarray
    profile: np.ndarray
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    total_stride: int
    border: tuple[int, int] = (0, 0)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all, in the format that the suffix names.

    Raises FeatvisError for a suffix that is none of `FORMATS` and where the place cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise FeatvisError(f"cannot draw a figure into {path.name!r}: its name must end in {', '.join(FORMATS)}")
    with _style():
        return write_atomically(
            path, lambda temporary: figure.savefig(temporary, format=suffix[1:], metadata=FORMATS[suffix])
        )


def spectrum(gradient: np.ndarray) -> np.ndarray:
    """Spectral power of a gradient, summed over channels, relative to the mean of all frequencies.

    gradient: (C, H, W). Returns (H, W), mean 1, frequency 0 at (H // 2, W // 2), one step = 1 / size cycles per pixel. Raises
    FeatvisError where the gradient is zero.
    """
    power = (np.abs(np.fft.fft2(np.asarray(gradient, dtype=np.float64))) ** 2).sum(axis=0)
    mean = power.mean()
    if not mean > 0:
        raise FeatvisError("a gradient of nothing but zeros has no spectrum; give one with a value")
    return np.fft.fftshift(power / mean)


def gradient_figure(picture: np.ndarray, views: Sequence[GradientView], title: str, caption: str = "") -> Figure:
    """A photograph and, one row for each view, its gradient, a zoom, the phase profile, the spectrum and the energies.

    picture: (H, W, 3) or (H, W) in [0, 1]. Each column has one scale for all rows; gradients are drawn relative to their own root
    mean square, energies to their own mean. Raises FeatvisError where shapes do not fit or a value is not finite.
    """
    picture = np.asarray(picture, dtype=np.float64)
    _check(picture, views)
    with _style():
        return _draw_gradients(picture, views, title, caption)


def overlap_figure(
    counts_1d: np.ndarray, counts_2d: np.ndarray | None, energies: Mapping[int, float], title: str
) -> Figure:
    """How many paths reach each pixel, along one axis and in the plane, and the checkerboard energy that follows.

    counts_1d: (L,), counts_2d: (H, W) or None, both non-negative. energies: period in pixels to E. Raises FeatvisError where the
    shapes do not fit or a value is not finite.
    """
    counts_1d = np.asarray(counts_1d, dtype=np.float64)
    counts_2d = None if counts_2d is None else np.asarray(counts_2d, dtype=np.float64)
    if counts_1d.ndim != 1 or not counts_1d.size or (counts_2d is not None and (counts_2d.ndim != 2 or not counts_2d.size)):
        shape_2d = None if counts_2d is None else counts_2d.shape
        raise FeatvisError(f"overlap counts have the shapes (L,) and (H, W); got {counts_1d.shape} and {shape_2d}")
    values = [counts_1d, np.asarray(list(energies.values()))]
    if not all(np.isfinite(value).all() for value in [*values, *([] if counts_2d is None else [counts_2d])]):
        raise FeatvisError("overlap counts and energies must be finite; got NaN or infinity")
    with _style():
        return _draw_overlap(counts_1d, counts_2d, energies, title)


# The page: whole pixels, from the upper left corner.


class _Page:
    """A white figure addressed in pixels; its text is drawn as it is, never as mathematics."""

    def __init__(self, width: int, height: int) -> None:
        # Multiples of 15 pixels are exact in inches, so that no pixel is lost on the way.
        self.width, self.height = (-(-size // 15) * 15 for size in (width, height))
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        box = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, x: float, y: float, text: str, size: float = 9, **settings: Any) -> None:
        """Text whose first line starts at (x, y)."""
        settings = {"va": "top", "linespacing": 1.3, "parse_math": False} | settings
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=size, **settings)

    def bar(self, image: AxesImage, x: float, y: float, height: float, label: str, **settings: Any) -> None:
        """A colour bar; `settings` go to Figure.colorbar."""
        bar = self.figure.colorbar(image, cax=self.axes(x, y, 12, height), **settings)
        bar.set_label(label, labelpad=4)
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.outline.set_linewidth(0.6)  # type: ignore[operator]


def _style() -> AbstractContextManager[None]:
    """Our settings, whatever the caller's are; theirs are back afterwards."""
    return matplotlib.style.context(STYLE, after_reset=True)


def _text_width(text: str, size: float, weight: str) -> float:
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight=weight)))
    font.set_size(size, DPI)
    font.set_text(text)
    return font.get_width_height()[0] / 64


def _lines(text: str, width: float, size: float, weight: str = "normal", most: int = 6) -> list[str]:
    """The text in lines of at most `width` pixels, at most `most` of them; what the font cannot draw becomes a question mark."""
    known = get_font(findfont(FontProperties(family="DejaVu Sans", weight=weight))).get_charmap()
    drawable = "".join(c if ord(c) in known or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    letters = max(1, int(width / (0.3 * size * DPI / 72)))
    while True:
        lines = textwrap.wrap(drawable, letters, max_lines=most, placeholder=" …" if letters > 2 else "")
        if letters == 1 or all(_text_width(line, size, weight) <= width for line in lines):
            return lines
        letters -= 1
