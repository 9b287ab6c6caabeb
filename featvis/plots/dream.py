"""Dreams side by side, each with its crop, its mean tile and its number; sheets of them; a dream as a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from featvis.errors import FeatvisError
from featvis.files import write_atomically
from featvis.measure.estimates import Estimate
from featvis.measure.finding import named
from featvis.plots.page import MARGIN, Energy, Page, Window, fit_lines, outline, pixel_edges, style, whole_pixels
from featvis.plots.palette import FAINT
from featvis.plots.panels import REPEATED, profile_norm, tile_panel

SIDE, TILE, SHEET_SIDE = 480, 216, 224
"""The largest sides of a dream, of its mean tile and of a dream on a sheet, in screen pixels."""

ZOOM = (32, 40)
"""Rows and columns of a dream that are shown from close by."""

IN_A_ROW = 4
"""Dreams beside each other on a sheet."""

_GAP, _HEAD, _LINE, _NARROWEST = 24, 64, 24, 150


@dataclass(frozen=True)
class DreamView:
    """A dream and what was measured about it.

    picture: (H, W, 3) or (H, W) in [0, 1]. period: in pixels. energy: E of it in what was drawn, with its standard error; tile: how that is
    laid out by phase, (period, period), mean 1. None where they are not known.
    """

    title: str
    picture: np.ndarray
    period: int = 1
    energy: Energy | None = None
    tile: np.ndarray | None = None

    @property
    def number(self) -> str:
        """E with its error, or that there is none."""
        return "E is not known" if self.energy is None else named(self.period, Estimate(*self.energy))


def dream_figure(views: Sequence[DreamView], title: str, caption: str = "") -> Figure:
    """Dreams of one size, large, each with one number, an enlarged crop and its mean tile.

    Raises FeatvisError where there is no dream, or where their shapes differ.
    """
    _check(views)
    tiles = [view.tile for view in views if view.tile is not None]
    said = [caption, "Below each dream: the framed window, enlarged."]
    norm: Normalize = profile_norm(tiles)
    if tiles:
        said[1] = (
            "Below each dream: the framed window, enlarged, and the mean tile of what was drawn. That is how the energy of its fine "
            f"detail falls on the {len(tiles[0])} x {len(tiles[0])} pixels of a period, drawn {REPEATED} times along each axis: white is "
            f"the mean, red above it and blue below, from {norm.vmin:.2f} to {norm.vmax:.2f} of it. Without a checkerboard it is white and "
            "E is near 0."
        )
    with style():
        shape = np.shape(views[0].picture)
        _, width, height = whole_pixels(np.asarray(views[0].picture), SIDE)
        window = _middle(shape)
        crop_side = max(ZOOM) * max(1, (SIDE - _GAP - TILE) // max(ZOOM))
        _, crop_width, crop_height = whole_pixels(np.asarray(views[0].picture)[window], crop_side)
        cell = (
            max(width, crop_width + (_GAP + TILE if tiles else 0), SIDE - _GAP) + 2 * _GAP,
            _HEAD + height + 14 + max(crop_height, TILE if tiles else 0) + 2 * _GAP,
        )
        page, places = _page(title, said, cell, len(views), 2 if len(views) in (2, 4) else 3)
        for view, (x, y) in zip(views, places, strict=True):
            page.text(x, y, fit_lines(view.title, cell[0] - 2 * _GAP, 13, "bold", most=1), 13, weight="bold")
            page.text(x, y + 30, view.number, 12)
            _picture(page, x, y + _HEAD, SIDE, view.picture, window)
            below = y + _HEAD + height + 14
            _crop(page, x, below, crop_side, view.picture, window)
            if view.tile is not None:
                tile_panel(page, x + crop_width + _GAP, below, TILE, view.tile, norm)
        return page.finished()


def sheet_figure(
    views: Sequence[DreamView], title: str, caption: str = "", energy: str = "", tile: np.ndarray | None = None
) -> Figure:
    """Dreams of one size under their titles, and what was measured of all together.

    energy: that in words; tile: (period, period), mean 1. Raises FeatvisError where there is no dream, or where their shapes differ.
    """
    _check(views)
    with style():
        _, width, height = whole_pixels(np.asarray(views[0].picture), SHEET_SIDE)
        cell = max(width, _NARROWEST) + _GAP, 30 + height + _GAP
        room = 0 if tile is None else TILE + 3 * _LINE
        page, places = _page(title, [caption, energy], cell, len(views), IN_A_ROW, room)
        for view, (x, y) in zip(views, places, strict=True):
            page.text(x, y, fit_lines(view.title, cell[0] - _GAP, 10.5, "bold", most=1), 10.5, weight="bold")
            _picture(page, x, y + 26, SHEET_SIDE, view.picture)
        if tile is not None:
            y = page.height - room
            norm = profile_norm([tile])
            said = (
                f"The mean tile of all: how the energy of their fine detail falls on the {len(tile)} x {len(tile)} pixels of a period, "
                f"drawn {REPEATED} times along each axis. White is the mean, red above and blue below, from {norm.vmin:.2f} to "
                f"{norm.vmax:.2f}."
            )
            tile_panel(page, MARGIN, y, TILE, tile, norm)
            page.text(
                MARGIN + TILE + _GAP, y, fit_lines(said, page.width - 2 * MARGIN - TILE - _GAP, 10.5), 10.5, color=FAINT
            )
        return page.finished()


def _check(views: Sequence[DreamView]) -> None:
    if not views:
        raise FeatvisError("a figure of dreams shows at least one; got none")
    shape = np.shape(views[0].picture)
    for view in views:
        if np.shape(view.picture) != shape:
            raise FeatvisError(
                f"the dream {view.title!r} has shape {np.shape(view.picture)}; the first one has {shape}"
            )


def _page(
    title: str, said: Sequence[str], cell: tuple[int, int], count: int, in_a_row: int, room: int = 0
) -> tuple[Page, list[tuple[int, int]]]:
    """A page with a head and `room` below, and the upper left corners of as many cells (width, height) as are asked for."""
    in_a_row = min(in_a_row, count)
    width = max(2 * MARGIN + in_a_row * cell[0] - _GAP, 640)
    titles = fit_lines(title, width - 2 * MARGIN, 17, "bold", most=2)
    lines = [line for part in said for line in fit_lines(part, width - 2 * MARGIN, 10.5, most=7)]
    top = MARGIN + 40 * len(titles) + _LINE * len(lines) + 24
    page = Page(width, top + cell[1] * -(-count // in_a_row) + room)
    page.text(MARGIN, MARGIN - 8, titles, 17, weight="bold")
    page.text(MARGIN, MARGIN + 40 * len(titles) - 8, lines, 10.5, color=FAINT)
    return page, [(MARGIN + number % in_a_row * cell[0], top + number // in_a_row * cell[1]) for number in range(count)]


def _picture(page: Page, x: int, y: int, side: int, picture: np.ndarray, window: Window | None = None) -> None:
    photo = np.clip(np.asarray(picture, dtype=np.float64), 0, 1)
    axes, _ = page.map(x, y, side, photo, pixel_edges(photo.shape), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    if window is not None:
        outline(axes, window)


def _crop(page: Page, x: int, y: int, side: int, picture: np.ndarray, window: Window) -> None:
    _picture(page, x, y, side, np.asarray(picture)[window])


def _middle(shape: tuple[int, ...]) -> Window:
    slices = []
    for size, wanted in zip(shape, ZOOM, strict=False):
        start = max(0, (size - wanted) // 2)
        slices.append(slice(start, min(size, start + wanted)))
    return slices[0], slices[1]


def save_animation(frames: Sequence[np.ndarray], path: str | Path, seconds: float = 0.1) -> Path:
    """Write pictures (H, W, 3) or (H, W) in [0, 1] as an endless GIF, each shown for so long, the last one for a second.

    Smaller frames are drawn at the last one's size. Raises FeatvisError for another suffix, no frame, and where it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise FeatvisError(f"cannot save an animation as {path.name!r}; give a name that ends in .gif")
    if not frames:
        raise FeatvisError("an animation needs at least one frame; got none")
    height, width = frames[-1].shape[:2]
    images = [
        Image.fromarray(np.rint(255 * np.clip(frame, 0, 1)).astype(np.uint8)).resize(
            (width, height), Image.Resampling.NEAREST
        )
        for frame in frames
    ]
    duration = [round(1000 * seconds)] * (len(images) - 1) + [1000]
    first, *others = images

    def write(temporary: Path) -> None:
        first.save(temporary, format="GIF", save_all=True, append_images=others, duration=duration, loop=0)

    return write_atomically(path, write)
