"""The panels that figures are made of: gradients, zooms, profiles, spectra, energies and counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from featvis.measure.finding import period_words
from featvis.plots.page import PLAIN, SIDE, Energy, Page, Window, pixel_edges
from featvis.plots.palette import CONTROL, FAINT, PERIOD, RULE, SEQUENTIAL, SIGNED

BINS = 85
"""The most frequencies that a spectrum is averaged to along each axis."""

ZOOMED, LARGEST_ZOOM = 24, 32
"""Pixels of a zoom's side, and at most."""

LINED = 16
"""Screen pixels that the lines of a grid must lie apart."""

REPEATED, WRITTEN = 3, 18
"""Times that a mean tile stands beside itself along each axis, and the side of a cell, in screen pixels, that has room for a number."""

MARKED = 80
"""More lines of a period than this are marked along the axes alone."""

FAINTEST = 0.25
"""A mean tile that departs from 1 by less is drawn pale: so much is noise in few pictures."""

WORDS = (0.01, 0.23, 3.0)
"""Ticks of every axis of energies: from where they are weak, one 3 x 3 convolution of stride 2, and one pixel of four alone."""

BARS = 2
"""Standard errors that a bar is long, to each side."""

Pair = tuple[int, int]
"""A period along rows and columns."""


def legend_above(axes: Axes) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        frameon=False,
        fontsize=8.5,
        borderaxespad=0.2,
        borderpad=0,
        handletextpad=0.4,
        columnspacing=1.2,
    )


def write_cells(axes: Axes, image: AxesImage, values: np.ndarray, form: str, size: float) -> None:
    """Each value in its cell, in black or white, whichever can be read."""
    for ((row, column), value), colour in zip(
        np.ndenumerate(values), image.to_rgba(values).reshape(-1, 4), strict=True
    ):
        ink = "black" if colour[:3] @ (0.3, 0.59, 0.11) > 0.5 else "white"
        axes.text(column, row, f"{value:{form}}", fontsize=size, color=ink, ha="center", va="center")


def lined(window: Window, period: Pair) -> bool:
    """Whether the periods in a zoom are far enough apart for lines that do not look like a checkerboard themselves."""
    longest = max(part.stop - part.start for part in window)
    return max(period) > 1 and min(p for p in period if p > 1) * max(1, SIDE // longest) >= LINED


def gradient_panel(
    page: Page,
    x: int,
    y: int,
    side: int,
    gradient: np.ndarray,
    edges: tuple[float, float, float, float],
    norm: Normalize,
) -> Axes:
    """The signed gradient (H, W) of the whole picture, relative to its root mean square."""
    bar = {"extend": "both", "ticks": MaxNLocator(7), "format": PLAIN}
    axes, _ = page.map(x, y, side, gradient, edges, "gradient / its own rms", bar, cmap=SIGNED, norm=norm)
    axes.set(xticks=[], yticks=[])
    return axes


def zoom_window(energy: np.ndarray, inside: Window, period: Pair) -> Window:
    """About ZOOMED pixels of the energy map (H, W), whole periods where they fit, around the block with the most energy inside."""
    blocks = [p * -(-8 // p) for p in period]
    sizes = [p * max(1, ZOOMED // p) if 2 * p <= ZOOMED else min(2 * p, LARGEST_ZOOM) for p in period]
    corners = []
    for part, block, p in zip(inside, blocks, period, strict=True):
        first = -(-part.start // p) * p
        corners.append(range(first, max(first, part.stop - block) + 1, block))
    best = max(
        ((row, column) for row in corners[0] for column in corners[1]),
        key=lambda corner: float(energy[corner[0] : corner[0] + blocks[0], corner[1] : corner[1] + blocks[1]].sum()),
    )
    window = []
    for corner, length, size, block, p in zip(best, energy.shape, sizes, blocks, period, strict=True):
        last = max(0, (length - size) // p * p)
        start = min(max(0, corner - max(0, size - block) // 2 // p * p), last)
        window.append(slice(start, min(start + size, length)))
    return window[0], window[1]


def zoom_panel(page: Page, x: int, y: int, energy: np.ndarray, window: Window, period: Pair, norm: Normalize) -> None:
    """The energy map (H, W) in a window, pixel by pixel, with the grid of the period."""
    rows, columns = window
    top = float(norm.vmax or 1)
    ticks = [tick for power in range(-2, 4) for tick in (10.0**power, 3 * 10.0**power) if top / 20 < tick <= top]
    bar = {"extend": "max", "ticks": [0, *ticks], "format": PLAIN}
    edges = pixel_edges(energy.shape, window)
    axes, _ = page.map(x, y, SIDE, energy[window], edges, "energy / its mean", bar, cmap=SEQUENTIAL, norm=norm)
    if lined(window, period):
        for part, line, p in ((columns, axes.axvline, period[1]), (rows, axes.axhline, period[0])):
            first = -(-part.start // p) * p
            for edge in range(first if first > part.start else first + p, part.stop, p) if p > 1 else ():
                line(edge - 0.5, color="white", linewidth=0.7, alpha=0.75)
    for part, axis in ((columns, axes.xaxis), (rows, axes.yaxis)):
        axis.set_major_locator(FixedLocator([part.start, (part.start + part.stop) // 2, part.stop - 1]))
    axes.set_xlabel("column, pixels")


def tile_panel(page: Page, x: int, y: int, side: int, tile: np.ndarray, norm: Normalize, label: str = "") -> None:
    """The mean tile, (rows, columns) of a period, REPEATED times along each axis, with its numbers where they have room.

    label: of the colour bar; without one there is none.
    """
    repeated = np.tile(tile, (REPEATED, REPEATED))
    low, high = norm.vmin or 0.0, norm.vmax or 2.0
    ticks = [1 + tick for tick in MaxNLocator(4).tick_values(low - 1, high - 1) if low <= 1 + tick <= high]
    bar = {"ticks": ticks, "format": PLAIN}
    axes, image = page.map(x, y, side, repeated, pixel_edges(repeated.shape), label, bar, cmap=SIGNED, norm=norm)
    cell = max(1, side // max(repeated.shape))
    if cell >= WRITTEN:
        write_cells(
            axes, image, repeated, ".2f" if cell >= 1.4 * WRITTEN else ".1f", 6.5 if cell < 2 * WRITTEN else 8.5
        )
    for length, line in zip(tile.shape, (axes.axhline, axes.axvline), strict=True):
        for edge in range(length, REPEATED * length, length) if length > 1 else ():
            line(edge - 0.5, color=FAINT, linewidth=0.8)
    axes.set(xticks=[], yticks=[])
    if label:
        axes.set_xlabel(f"column mod {tile.shape[1]}")
        axes.set_ylabel(f"row mod {tile.shape[0]}", labelpad=2)


def mean_tile(energy: np.ndarray, inside: Window, period: Pair) -> np.ndarray:
    """The mean of an energy map (H, W) at each phase of a period, counted from the picture's first pixel; relative to its own mean."""
    phases = [np.arange(part.start, part.stop) % p for part, p in zip(inside, period, strict=True)]
    sums, counts = np.zeros(period), np.zeros(period)
    place = np.ix_(*phases)
    rows, columns = np.broadcast_arrays(*place)
    np.add.at(sums, (rows, columns), energy[inside])
    np.add.at(counts, (rows, columns), 1)
    tile = sums / np.maximum(counts, 1)
    return tile / (tile.mean() or 1.0)


def binned(power: np.ndarray) -> np.ndarray:
    """A centred spectrum (H, W) averaged to an odd number of frequencies along each axis that nearly fills a panel."""
    for axis in (0, 1):
        power = np.moveaxis(power, axis, 0)
        if len(power) % 2 == 0:  # half a cycle per pixel, the first row, belongs to both ends
            power = np.concatenate([power, power[:1]])
        bins = max(bins for bins in range(1, min(BINS, len(power)) + 1, 2) if SIDE % bins <= 10)
        index = np.rint(np.linspace(0, bins - 1, len(power))).astype(int)
        sums = np.zeros((bins, power.shape[1]))
        np.add.at(sums, index, power)
        power = np.moveaxis(sums / np.bincount(index)[:, None], 0, axis)
    return power


def spectrum_panel(page: Page, x: int, y: int, power: np.ndarray, period: Pair, norm: Normalize) -> None:
    """A spectrum (odd, odd) from -1/2 to 1/2 cycle per pixel, with the lines of a period marked, and its first named."""
    low, high = norm.vmin or 0.0, norm.vmax or 1.0
    bar = {"extend": "both", "format": PLAIN, "ticks": [10.0**n for n in range(-9, 10) if low <= 10.0**n <= high]}
    # The outermost bins are centred on the ends.
    bottom, right = (0.5 * size / max(1, size - 1) for size in power.shape)
    edges = (-right, right, bottom, -bottom)
    power = power.repeat(SIDE // len(power), 0).repeat(SIDE // power.shape[1], 1)
    axes, _ = page.map(x, y, SIDE, power, edges, "power / its mean", bar, cmap=SEQUENTIAL, norm=norm)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator([-0.5, -0.25, 0, 0.25, 0.5]))
    axes.xaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_major_formatter(NullFormatter())
    axes.set_xlabel("cycles per pixel")
    down, across = lines_of(period)
    marks = [(row, column) for row in down for column in across if row or column]
    if len(marks) > MARKED:
        marks = [(row, column) for row, column in marks if not row or not column]
    for row, column in marks:
        axes.plot(column, row, "o", markersize=7, markerfacecolor="none", markeredgecolor=CONTROL, markeredgewidth=1)
    first = min((mark for mark in marks if min(mark) >= 0), key=lambda mark: sum(mark), default=None)
    if first is not None:
        shift, side = ((8, 8), "left") if first[1] < 0.3 else ((-8, 8), "right")
        axes.annotate(
            f"period {period_words(period[0] if period[0] == period[1] else period)}",
            (first[1], first[0]),
            shift,
            textcoords="offset points",
            ha=side,
            fontsize=8.5,
            color="white",
            weight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )


def lines_of(period: Pair) -> tuple[list[float], list[float]]:
    """The frequencies of a period along rows and columns, from -1/2 to 1/2 cycle per pixel."""
    down, across = ([k / p for k in range(-(p // 2), p // 2 + 1)] for p in period)
    return down, across


def energy_panel(
    axes: Axes, energies: Mapping[int, Energy], controls: Mapping[int, Energy], reach: tuple[float, float]
) -> None:
    """Energies by period as dots with error bars, on an axis that is linear near 0 and logarithmic beyond.

    reach: the lowest and the highest value that the axis must hold.
    """
    positions: list[float] = []
    groups = ((energies, "o", PERIOD, "period of the strides"), (controls, "s", CONTROL, "control"))
    for values, marker, colour, label in groups:
        start = positions[-1] + 1.6 if positions else 0.0
        for index, period in enumerate(sorted(values)):
            positions.append(start + index)
            value, error = values[period]
            axes.plot(positions[-1], value, marker, color=colour, markersize=6, label="_" if index else label)
            if error is not None:
                axes.errorbar(positions[-1], value, BARS * error, ecolor=colour, capsize=4, linewidth=1.2)
    energy_scale(axes, reach)
    axes.set_xticks(positions, [str(period) for values, *_ in groups for period in sorted(values)])
    axes.set_xlim(-0.8, (positions[-1] if positions else 0) + 0.8)
    axes.set_xlabel("period, pixels")
    if controls:
        legend_above(axes)


def energy_scale(axes: Axes, reach: tuple[float, float]) -> None:
    """An upright axis for energies, linear near 0 and logarithmic beyond; reach: as in `energy_panel`."""
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1.5)
    axes.set_yscale("symlog", linthresh=1e-3, linscale=0.7)
    low, high = min(-1e-3, reach[0] * 1.3), max(WORDS[-1], reach[1]) * 1.6
    axes.set_ylim(low, high)
    ticks = [0, *(sign * tick for tick in (0.001, *WORDS, *(10.0**power for power in range(2, 9))) for sign in (-1, 1))]
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PLAIN)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)


def bar_panel(page: Page, x: int, y: int, counts: np.ndarray, first: int, width: int, height: int) -> None:
    """Counts (L,) as bars of whole screen pixels, the first of them at the pixel `first`, and their mean."""
    step = width // len(counts)
    axes = page.axes(x, y, step * len(counts), height)
    where = np.arange(first, first + len(counts))
    axes.bar(where, counts, width=1, color=PERIOD, edgecolor="white", linewidth=1.5 if step >= 8 else 0)
    axes.axhline(counts.mean(), color=CONTROL, linewidth=1.2, linestyle=(0, (4, 3)), label="mean")
    axes.set(xlim=(first - 0.5, first + len(counts) - 0.5), ylim=(0, (float(counts.max()) or 1.0) * 1.12))
    if step >= 9 * longest(counts):
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        for place in zip(where, counts, strict=True):
            axes.annotate(
                f"{place[1]:g}", place, (0, 3), textcoords="offset points", ha="center", va="bottom", bbox=paper
            )
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=bool((counts % 1 == 0).all())))
    axes.set(xlabel="pixel", ylabel="paths")
    axes.spines[["top", "right"]].set_visible(False)
    legend_above(axes)


def longest(values: np.ndarray) -> int:
    """The letters of the longest number."""
    return max(len(f"{value:g}") for value in values.ravel())


def percentile(values: Sequence[np.ndarray], share: float) -> float:
    """A percentile of all values together, never 0 unless all are; share in percent."""
    flat = np.concatenate([value.ravel() for value in values])
    return float(np.percentile(flat, share)) or float(flat.max()) or 1.0


def reach_of(pairs: Iterable[Energy]) -> tuple[float, float]:
    """The lowest and the highest end of energies' errors, 0 included."""
    ends = [end for value, error in pairs for end in (value - BARS * (error or 0), value + BARS * (error or 0))]
    return min([0.0, *ends]), max([0.0, *ends])


def profile_norm(profiles: Iterable[np.ndarray]) -> TwoSlopeNorm:
    """One scale for phase profiles, whose middle is 1."""
    spread = max([FAINTEST, *(float(np.abs(profile - 1).max()) for profile in profiles)])
    return TwoSlopeNorm(1, max(0.0, 1 - spread), 1 + spread)
