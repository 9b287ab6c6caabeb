"""Dreams side by side, each with its numbers, and a dream as a moving picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from featvis.errors import FeatvisError
from featvis.files import write_atomically
from featvis.measure.estimates import Estimate, words
from featvis.plots.page import (
    MAP_SIDE,
    MARGIN,
    Energy,
    Page,
    Window,
    fit_lines,
    outline,
    pixel_edges,
    style,
    whole_pixels,
)
from featvis.plots.palette import FAINT, SIGNED

ZOOM = (32, 48)
"""Rows and columns of a picture that are shown from close by."""

IN_A_ROW = 4

_LINE = 20

_EXPLANATION = (
    "Below each picture, from the framed window, its fine detail relative to its own root mean square (red above, blue below "
    "its surroundings). E by period, 0 is even: of the last gradient, and of the fine detail of what the dream drew. S: the share of that "
    "detail's variance that repeats with the total stride, signs and all."
)


@dataclass(frozen=True)
class DreamView:
    """A dream and what was measured about it.

    picture: (H, W, 3) or (H, W) in [0, 1]. detail: (C, H, W), signed, what was drawn without its smooth part. gradient_energies and
    picture_energies: period in pixels to (E, its standard error or None). signed_comb: S of the detail at the total stride, None
    where it is not known. objective: its value at the end; seconds: what it took.
    """

    title: str
    picture: np.ndarray
    detail: np.ndarray
    gradient_energies: Mapping[int, Energy]
    picture_energies: Mapping[int, Energy]
    objective: float
    seconds: float
    signed_comb: float | None = None
    notes: tuple[str, ...] = ()


def dream_figure(views: Sequence[DreamView], title: str, caption: str = "") -> Figure:
    """A grid of dreams of one size: the picture, its fine detail from close by, and its numbers.

    Raises FeatvisError where there is no dream, or where their shapes differ or do not fit.
    """
    if not views:
        raise FeatvisError("a figure of dreams shows at least one; got none")
    shape = np.shape(views[0].picture)
    for view in views:
        if np.shape(view.picture) != shape or np.shape(view.detail)[1:] != shape[:2]:
            raise FeatvisError(
                f"the dream {view.title!r} has shape {np.shape(view.picture)}, its detail {np.shape(view.detail)}; "
                f"the first one has {shape}"
            )
    with style():
        return _draw(views, title, caption)


def _draw(views: Sequence[DreamView], title: str, caption: str) -> Figure:
    height = whole_pixels(np.asarray(views[0].picture), MAP_SIDE)[2]
    window = _middle(views[0].picture.shape[:2])
    rows = max(len({*view.gradient_energies, *view.picture_energies}) for view in views)
    most_notes = max(len(_noted(view)) for view in views)
    zoom_height = whole_pixels(views[0].detail[0][window], MAP_SIDE)[2]
    cell_width = MAP_SIDE + 52
    cell_height = 30 + height + 12 + zoom_height + 12 + _LINE * (rows + 4 + most_notes) + 24
    in_a_row = min(IN_A_ROW, len(views))
    page_width = max(2 * MARGIN + in_a_row * cell_width - 52, 640)
    title_lines = fit_lines(title, page_width - 2 * MARGIN, 17, "bold", most=2)
    said = [line for part in (caption, _EXPLANATION) for line in fit_lines(part, page_width - 2 * MARGIN, 10.5, most=5)]
    top = MARGIN + 40 * len(title_lines) + 24 * len(said) + 24
    page = Page(page_width, top + cell_height * -(-len(views) // in_a_row))
    page.text(MARGIN, MARGIN - 8, title_lines, 17, weight="bold")
    page.text(MARGIN, MARGIN + 40 * len(title_lines) - 8, said, 10.5, color=FAINT)
    for number, view in enumerate(views):
        x = MARGIN + number % in_a_row * cell_width
        y = top + number // in_a_row * cell_height
        page.text(x, y, fit_lines(view.title, MAP_SIDE + 20, 12, "bold", most=1), 12, weight="bold")
        photo = np.clip(np.asarray(view.picture, dtype=np.float64), 0, 1)
        edges = pixel_edges(photo.shape)
        axes, _ = page.map(x, y + 30, MAP_SIDE, photo, edges, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        outline(axes, window)
        _zoom(page, x, y + 42 + height, view, window)
        _numbers(page, x, y + 54 + height + zoom_height, view)
    return page.finished()


def _middle(shape: tuple[int, ...]) -> Window:
    slices = []
    for size, wanted in zip(shape, ZOOM, strict=True):
        start = max(0, (size - wanted) // 2)
        slices.append(slice(start, min(size, start + wanted)))
    return slices[0], slices[1]


def _zoom(page: Page, x: int, y: int, view: DreamView, window: Window) -> None:
    signed = np.asarray(view.detail, dtype=np.float64).sum(0)
    signed = signed / (np.sqrt((signed**2).mean()) or 1.0)
    edges = pixel_edges(signed.shape, window)
    axes, _ = page.map(x, y, MAP_SIDE, signed[window], edges, cmap=SIGNED, norm=Normalize(-2.5, 2.5))
    axes.set(xticks=[], yticks=[])


def _noted(view: DreamView) -> list[str]:
    return [line for note in view.notes for line in fit_lines(note, MAP_SIDE + 20, 9, most=3)]


def _numbers(page: Page, x: int, y: int, view: DreamView) -> None:
    page.text(x, y, f"objective {view.objective:.4g}, {view.seconds:.1f} s", 9.5)
    y += _LINE + 6
    columns = (x, x + 60, x + 194)
    for place, head in zip(columns, ("period", "E, gradient", "E, picture"), strict=True):
        page.text(place, y, head, 9, color=FAINT)
    for period in sorted({*view.gradient_energies, *view.picture_energies}):
        y += _LINE
        cells = (
            f"{period}",
            *(
                words(Estimate(*energies[period]) if period in energies else None)
                for energies in (view.gradient_energies, view.picture_energies)
            ),
        )
        for place, text in zip(columns, cells, strict=True):
            page.text(place, y, text, 8.5)
    y += _LINE
    comb = None if view.signed_comb is None else Estimate(view.signed_comb, None)
    page.text(x, y, f"signed comb S of the picture {words(comb)}", 8.5)
    for line in _noted(view):
        y += _LINE
        page.text(x, y, line, 9, color=FAINT)


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
