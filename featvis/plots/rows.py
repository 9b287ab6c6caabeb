"""Rows of panels under one photograph: a large gradient, and its zoom, mean tile, spectrum and energies, each on one scale for all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm, Normalize, PowerNorm

from featvis.measure.finding import period_words
from featvis.plots.page import (
    MAP_SIDE,
    MARGIN,
    SIDE,
    Energy,
    Page,
    Window,
    block_side,
    outline,
    pixel_edges,
    whole_pixels,
)
from featvis.plots.panels import (
    REPEATED,
    Pair,
    energy_panel,
    gradient_panel,
    lined,
    percentile,
    profile_norm,
    reach_of,
    spectrum_panel,
    tile_panel,
    zoom_panel,
)

LARGE = 600
"""The largest side of a gradient's map, in screen pixels."""

TITLE, HEAD, BELOW = 44, 84, 54
"""Screen pixels of a row's title, of a panel's head, and of the labels below it."""

BETWEEN = 150
"""Screen pixels between panels, for colour bars and labels."""

DECADES = 1e3
"""The range of a spectrum's colours: what is fainter is below it, and no matter how far."""


@dataclass(frozen=True)
class Row:
    """What one row shows.

    signed, energy: (H, W), relative to its own root mean square and its own mean. tile: the mean tile, of shape `period`, in pixels;
    spectrum: as `spectrum_panel` takes it. inside: the part that is measured.
    """

    signed: np.ndarray
    energy: np.ndarray
    tile: np.ndarray
    spectrum: np.ndarray
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    inside: Window

    @property
    def period(self) -> Pair:
        """(rows, columns) in pixels."""
        return self.tile.shape[0], self.tile.shape[1]

    @property
    def is_cut(self) -> bool:
        """Whether a border is left out of the measure."""
        return any(
            (part.start, part.stop) != (0, size) for part, size in zip(self.inside, self.energy.shape, strict=True)
        )


@dataclass(frozen=True)
class Layout:
    """Where the columns of a picture's rows start, and how large the maps are, in screen pixels."""

    columns: tuple[int, int, int]
    photo_height: int
    map_height: int

    @classmethod
    def of(cls, picture: np.ndarray) -> Layout:
        """The layout for a picture (H, W, ...)."""
        photo_height = whole_pixels(picture, MAP_SIDE)[2]
        _, width, height = whole_pixels(picture, LARGE)
        second = MARGIN + max(width, MAP_SIDE) + BETWEEN
        return cls((MARGIN, second, second + SIDE + BETWEEN), photo_height, height)

    @property
    def width(self) -> int:
        """Of the whole page."""
        return self.columns[-1] + SIDE + MARGIN + 76

    @property
    def text_left(self) -> int:
        """Where text beside the photograph starts."""
        return MARGIN + MAP_SIDE + 36

    @property
    def row_height(self) -> int:
        return TITLE + max(HEAD + self.map_height, 2 * (HEAD + SIDE + BELOW)) + 24


@dataclass(frozen=True)
class Meaning:
    """What the heads of the panels say beside their names: of the gradient's colours, where the zoom is, and of which pictures the rest."""

    gradient: str
    zoom: str
    rest: str = ""


def draw_photograph(page: Page, y: float, picture: np.ndarray, zoom: Window) -> None:
    """The picture (H, W) or (H, W, 3) in [0, 1] at the left, with a frame around the zoom."""
    photo = np.clip(whole_pixels(picture, MAP_SIDE)[0], 0, 1)
    axes, _ = page.map(MARGIN, y, MAP_SIDE, photo, pixel_edges(picture.shape), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    outline(axes, zoom)


def draw_rows(page: Page, layout: Layout, y: int, rows: Sequence[Row], zoom: Window, meaning: Meaning) -> None:
    """All panels of all rows, each kind on one scale, from y downwards, below the rows' titles."""
    edges = pixel_edges(rows[0].signed.shape)
    maps = [whole_pixels(row.signed, LARGE)[0] for row in rows]
    limit = percentile([np.abs(one) for one in maps], 99)
    powers = [row.spectrum for row in rows]
    high = percentile(powers, 99.9)
    low = max(percentile(powers, 0.5), high / DECADES)
    signed, zoomed = Normalize(-limit, limit), PowerNorm(0.5, 0, percentile([row.energy[zoom] for row in rows], 99.5))
    tiled, spectral = profile_norm(row.tile for row in rows), LogNorm(low, max(high, 2 * low), clip=True)
    reach = reach_of(pair for row in rows for pair in (*row.energies.values(), *row.controls.values()))
    left, middle, right = layout.columns
    for index, row in enumerate(rows):
        top = y + layout.row_height * index + TITLE
        below = top + HEAD + SIDE + BELOW
        for x, place, (head, said) in zip(
            (left, middle, right, middle, right), (top, top, top, below, below), _heads(row, zoom, meaning), strict=True
        ):
            page.head(x, place, head, said, {left: middle, middle: right, right: page.width}[x] - x - 20)
        axes = gradient_panel(page, left, top + HEAD, LARGE, maps[index], edges, signed)
        if row.is_cut:
            outline(axes, row.inside, dashed=True)
        outline(axes, zoom)
        zoom_panel(page, middle, top + HEAD, row.energy, zoom, row.period, zoomed)
        tile_panel(page, right, top + HEAD, SIDE, row.tile, tiled, "energy / its mean")
        spectrum_panel(page, middle, below + HEAD, row.spectrum, row.period, spectral)
        # Lower than the others, for the legend above.
        energy_panel(page.axes(right, below + HEAD + 20, SIDE, SIDE - 20), row.energies, row.controls, reach)


def _heads(row: Row, zoom: Window, meaning: Meaning) -> list[tuple[str, str]]:
    """The name of each panel, and what it shows."""
    block = block_side(row.signed.shape, LARGE)
    rows, columns = row.period
    named = period_words(rows if rows == columns else row.period)
    gradient = f"{meaning.gradient} Square: the zoom."
    gradient += " Dashed: the part that is measured." if row.is_cut else ""
    gradient += f" Means of {block} × {block} pixels." if block > 1 else ""
    lines = f" Lines: every {named} pixels." if lined(zoom, row.period) else ""
    marks = f" Circles: the lines of period {named}." if max(row.period) > 1 else ""
    return [
        ("Gradient", gradient),
        ("Energy, zoomed in", meaning.zoom + lines),
        (
            f"Mean tile of period {named}",
            f"{meaning.rest}Energy by pixel phase, {REPEATED} x {REPEATED} times; white is the mean.",
        ),
        ("Spectrum of the energy map", f"{meaning.rest}Grids are points of light.{marks}"),
        ("Checkerboard energy E", f"{meaning.rest}0 is even; controls must sit there. Bars: two errors."),
    ]
