"""Rows of panels under one photograph: gradient, zoom, phase profile, spectrum and energies, each column on one scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm, Normalize, PowerNorm

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
    energy_panel,
    gradient_panel,
    lined,
    percentile,
    profile_norm,
    profile_panel,
    reach_of,
    spectrum_panel,
    zoom_panel,
)

HEADS, TITLE, BELOW = 118, 40, 68
"""Screen pixels of the columns' heads, of a row's title and of what is below its panels."""


@dataclass(frozen=True)
class Row:
    """What one row shows.

    signed, energy: (H, W), relative to its own root mean square and its own mean. profile: (P, P); spectrum: as `spectrum_panel` takes it;
    period: in pixels, of its zoom and its spectrum. inside: the part that is measured.
    """

    signed: np.ndarray
    energy: np.ndarray
    profile: np.ndarray
    spectrum: np.ndarray
    energies: Mapping[int, Energy]
    controls: Mapping[int, Energy]
    period: int
    inside: Window

    @property
    def is_cut(self) -> bool:
        """Whether a border is left out of the measure."""
        return any(
            (part.start, part.stop) != (0, size) for part, size in zip(self.inside, self.energy.shape, strict=True)
        )


@dataclass(frozen=True)
class Layout:
    """Where the columns of a picture's rows start, and how large they are, in screen pixels."""

    columns: tuple[int, ...]
    photo_height: int
    panel_height: int

    @classmethod
    def of(cls, picture: np.ndarray) -> Layout:
        """The layout for a picture (H, W, ...)."""
        _, width, height = whole_pixels(picture, MAP_SIDE)
        # Between the panels there is room for colour bars and labels.
        columns = [MARGIN]
        for panel, between in ((max(SIDE, width), 130), (SIDE, 126), (SIDE, 100), (SIDE, 138)):
            columns.append(columns[-1] + panel + between)
        return cls(tuple(columns), height, max(SIDE, height))

    @property
    def width(self) -> int:
        """Of the whole page."""
        return self.columns[-1] + SIDE + MARGIN

    @property
    def text_left(self) -> int:
        """Where text beside the photograph starts."""
        return self.columns[1] - 130 + 36

    @property
    def row_height(self) -> int:
        return TITLE + self.panel_height + BELOW


def draw_photograph(page: Page, y: float, picture: np.ndarray, zoom: Window) -> None:
    """The picture (H, W) or (H, W, 3) in [0, 1] at the left, with a frame around the zoom."""
    photo = np.clip(whole_pixels(picture, MAP_SIDE)[0], 0, 1)
    axes, _ = page.map(MARGIN, y, MAP_SIDE, photo, pixel_edges(picture.shape), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    outline(axes, zoom)


def draw_heads(page: Page, layout: Layout, y: float, heads: Iterable[tuple[str, str]]) -> None:
    """A head and its explanation above each column."""
    ends = [*layout.columns[1:], page.width]
    for x, end, (head, explanation) in zip(layout.columns, ends, heads, strict=True):
        page.head(x, y, head, explanation, end - x - 28)


def gradient_heads(rows: Sequence[Row], zoom: Window, period: int, first: str, strongest: str) -> list[tuple[str, str]]:
    """The heads of gradient and zoom; first: what colours mean; strongest: where the zoom is."""
    block = block_side(rows[0].signed.shape, MAP_SIDE)
    first += f" Means of {block} × {block} pixels." if block > 1 else ""
    first += " Square: the zoom." + (" Dashed: the part that is measured." if any(row.is_cut for row in rows) else "")
    strongest += f" Thin lines: every {period} pixels." if lined(zoom, period) else ""
    return [("Gradient", first), ("Energy, zoomed in", strongest)]


def draw_rows(page: Page, layout: Layout, y: int, rows: Sequence[Row], zoom: Window, decades: float) -> None:
    """All panels of all rows, each column on one scale, from y downwards; decades: the largest ratio of powers that colours tell."""
    columns, edges = layout.columns, pixel_edges(rows[0].signed.shape)
    maps = [whole_pixels(row.signed, MAP_SIDE)[0] for row in rows]
    limit = percentile([np.abs(one) for one in maps], 99)
    powers = [row.spectrum for row in rows]
    high = percentile(powers, 99.9)
    low = max(percentile(powers, 0.5), high / decades)
    signed, zoomed = Normalize(-limit, limit), PowerNorm(0.5, 0, percentile([row.energy[zoom] for row in rows], 99.5))
    profiled, spectral = profile_norm(row.profile for row in rows), LogNorm(low, max(high, 2 * low), clip=True)
    reach = reach_of(pair for row in rows for pair in (*row.energies.values(), *row.controls.values()))
    for index, row in enumerate(rows):
        top = y + layout.row_height * index + TITLE
        axes = gradient_panel(page, columns[0], top, MAP_SIDE, maps[index], edges, signed)
        if row.is_cut:
            outline(axes, row.inside, dashed=True)
        outline(axes, zoom)
        zoom_panel(page, columns[1], top, row.energy, zoom, row.period, zoomed)
        profile_panel(page, columns[2], top, row.profile, profiled)
        spectrum_panel(page, columns[3], top, row.spectrum, row.period, spectral)
        # Lower than the maps, for the legend above.
        energy_panel(page.axes(columns[4], top + 24, SIDE, SIDE - 24), row.energies, row.controls, reach)
