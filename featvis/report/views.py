"""Pictures and their gradients as a page shows them: pixel by pixel, in images that the page holds itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.finding import Period
from featvis.measure.phases import interior
from featvis.plots import spectrum
from featvis.plots.gradients import energy_spectrum
from featvis.plots.palette import SEQUENTIAL, SIGNED
from featvis.plots.panels import binned, percentile

MOST_PIXELS = 512
"""Of a larger picture the middle is shown: a map that is scaled down would show a grid that is not there."""

LEVELS = 127
"""Colours of a map."""

SHOWN = 4
"""Pictures of a set that a page shows."""

FREQUENCIES, BRIGHT = 81, 100.0
"""Frequencies along an axis of an energy's spectrum, at most, and the power, over its median, that has the brightest colour."""

LOOKED_AT = 24
"""Pixels along each side of the part of a picture that a page begins with, at least."""


@dataclass(frozen=True)
class Version:
    """A signed map and the picture that it belongs to: a gradient at a photograph, in one network, or a dream and its fine detail.

    picture: (H, W, 3), (H, W, 1) or (H, W) in [0, 1]. map: (C, H, W).
    """

    label: str
    picture: np.ndarray
    map: np.ndarray


@dataclass(frozen=True)
class PictureView:
    """Versions of one picture, which a page shows beside each other and moves together.

    Raises FeatvisError where shapes do not fit, a value is not finite or a map is zero.
    """

    name: str
    versions: tuple[Version, ...]

    def __post_init__(self) -> None:
        if not self.versions:
            raise FeatvisError(f"there is nothing to show of {self.name!r}; give at least one version of it")
        for version in self.versions:
            shape = version.picture.shape
            if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)) or not version.picture.size:
                raise FeatvisError(f"a picture has the shape (H, W, 3), (H, W, 1) or (H, W); got {shape}")
            height, width = self.versions[0].picture.shape[:2]
            if version.map.ndim != 3 or version.map.shape[1:] != (height, width) or shape[:2] != (height, width):
                raise FeatvisError(
                    f"a version of {self.name!r} has the shapes {shape} and {version.map.shape}; expected those of a picture "
                    f"of {height} x {width} and (C, {height}, {width})"
                )
            if not version.map.any() or not np.isfinite(version.map).all():
                raise FeatvisError(f"a map of {self.name!r} is zero or not finite; a page needs one with values")

    @classmethod
    def of(cls, name: str, picture: np.ndarray, maps: Mapping[str, np.ndarray]) -> PictureView:
        """One picture with several maps, by their labels."""
        return cls(name, tuple(Version(label, picture, values) for label, values in maps.items()))


def channels_last(pixels: Tensor) -> np.ndarray:
    """Pixels (C, H, W) in [0, 1] as a page shows them, (H, W, 1 or 3); of other numbers of channels their mean."""
    seen = pixels if len(pixels) in (1, 3) else pixels.mean(0, keepdim=True)
    return seen.permute(1, 2, 0).cpu().numpy()


def axes_of(period: Period) -> tuple[int, int]:
    """A period in pixels along rows and columns."""
    return (period, period) if isinstance(period, int) else period


def shown_views(
    views: Sequence[PictureView], period: Period, room: int, of_energy: bool = False
) -> list[dict[str, Any]]:
    """What the page's script reads of the first views, as many as fit into so many bytes.

    Where not even the first does, a smaller part of its middle is shown.
    """
    shown: list[dict[str, Any]] = []
    left = room
    for view in views:
        side = MOST_PIXELS
        one = shown_view(view, period, of_energy=of_energy)
        while not shown and left > 0 and side > 2 * max(axes_of(period)) and _size(one) > left:
            side = min(int(0.97 * side * (left / _size(one)) ** 0.5), side - 1)
            one = shown_view(view, period, side, of_energy)
        left -= _size(one)
        if left < 0:
            break
        shown.append(one)
    return shown


def _size(shown: dict[str, Any]) -> int:
    """Bytes of a view within a page, at least; what is escaped in names comes on top."""
    urls = [*shown["pictures"], *(version[kind] for version in shown["versions"] for kind in ("map", "spectrum"))]
    names = [shown["name"], *(version["label"] for version in shown["versions"])]
    return sum(map(len, urls)) + 12 * sum(map(len, names)) + 1000


def shown_view(view: PictureView, period: Period, most: int = MOST_PIXELS, of_energy: bool = False) -> dict[str, Any]:
    """What the page's script reads of one view: names, sizes and images as data URLs; of a larger picture the middle `most` pixels.

    of_energy: spectra are those of the maps' energy, not of the maps themselves. focus: the row and column that it begins with, where
    the first map is strongest.
    """
    height, width = view.versions[0].picture.shape[:2]
    steps = axes_of(period)
    top, left = (max(0, size - most) // 2 // step * step for size, step in zip((height, width), steps, strict=True))
    rows, columns = slice(top, top + most), slice(left, left + most)
    signed = [relative(version.map.sum(0, dtype=np.float64)) for version in view.versions]
    limit = percentile([np.abs(one) for one in signed], 99)
    if of_energy:
        spectra, low, high = [_energy_spectrum(version.map, period) for version in view.versions], 1.0, BRIGHT
    else:
        spectra = [_spectrum(version.map, period) for version in view.versions]
        low = max(percentile(spectra, 0.5), 1e-9)
        high = max(percentile(spectra, 99.9), 2 * low)
    urls = [picture_url(version.picture[rows, columns]) for version in view.versions]
    pictures = list(dict.fromkeys(urls))
    return {
        "name": view.name,
        "height": min(height, rows.stop) - top,
        "width": min(width, columns.stop) - left,
        "top": top,
        "left": left,
        "whole": [height, width],
        "focus": _strongest(view.versions[0].map[:, rows, columns]),
        "pictures": pictures,
        "versions": [
            {
                "label": version.label,
                "picture": pictures.index(url),
                "map": data_url(coloured(one[rows, columns] / limit / 2 + 0.5, SIGNED)),
                "spectrum": data_url(coloured(np.log(power.clip(low) / low) / np.log(high / low), SEQUENTIAL)),
            }
            for version, url, one, power in zip(view.versions, urls, signed, spectra, strict=True)
        ],
    }


def picture_url(picture: np.ndarray) -> str:
    """A picture (H, W, 3), (H, W, 1) or (H, W) in [0, 1] within a page."""
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return data_url(Image.fromarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels))


def relative(values: np.ndarray) -> np.ndarray:
    """Values over their own root mean square."""
    return values / (np.sqrt(np.square(values).mean()) or 1.0)


def _strongest(signed: np.ndarray) -> list[float]:
    """Row and column of the middle of the part that holds most energy."""
    energy = np.square(signed, dtype=np.float64).sum(0)
    window = [min(LOOKED_AT, size) for size in energy.shape]
    sums = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    down, across = window
    held = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    return [
        int(first) + size / 2 for first, size in zip(np.unravel_index(held.argmax(), held.shape), window, strict=True)
    ]


def _spectrum(gradient: np.ndarray, period: Period) -> np.ndarray:
    """The spectrum of the measured part: whole periods without the outermost, so that harmonics are frequencies of the transform."""
    rows, columns = (interior(size, step) for size, step in zip(gradient.shape[1:], axes_of(period), strict=True))
    inside = gradient[:, rows, columns]
    return binned(spectrum(inside if inside.any() else gradient))


def _energy_spectrum(gradient: np.ndarray, period: Period) -> np.ndarray:
    """The spectrum of the measured part's energy, relative to its median, of several frequencies the strongest."""
    rows, columns = (interior(size, step) for size, step in zip(gradient.shape[1:], axes_of(period), strict=True))
    inside = gradient[:, rows, columns]
    energy = np.square(inside if inside.any() else gradient, dtype=np.float64).sum(0)
    power = energy_spectrum(energy)
    return _strongest_in_bins(power / (np.median(power) or 1.0))


def _strongest_in_bins(power: np.ndarray) -> np.ndarray:
    """A centred spectrum (H, W) with an odd number of frequencies along each axis, each the strongest of those that it stands for."""
    for axis in (0, 1):
        power = np.moveaxis(power, axis, 0)
        if len(power) % 2 == 0:  # half a cycle per pixel, the first row, belongs to both ends
            power = np.concatenate([power, power[:1]])
        bins = min(FREQUENCIES, len(power))
        index = np.rint(np.linspace(0, bins - 1, len(power))).astype(int)
        most = np.zeros((bins, power.shape[1]))
        np.maximum.at(most, index, power)
        power = np.moveaxis(most, 0, axis)
    return power


def coloured(values: np.ndarray, colours: str) -> Image.Image:
    """Values (H, W) from 0 to 1 as an image of a colour map of matplotlib."""
    palette = matplotlib.colormaps[colours](np.linspace(0, 1, LEVELS), bytes=True)[:, :3]
    image = Image.fromarray(np.rint(np.clip(values, 0, 1) * (LEVELS - 1)).astype(np.uint8), "P")
    image.putpalette(palette.tobytes())
    return image


def data_url(image: Image.Image) -> str:
    """An image within a page, losslessly."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
