"""A gradient's map by itself, pixel for pixel, and over the photograph."""

from __future__ import annotations

import matplotlib
import numpy as np

from featvis.plots.palette import SIGNED
from featvis.plots.panels import percentile

SIDE = 512
"""The side that small maps are enlarged to, at most, in screen pixels; each of a map's own becomes a square of whole ones."""


def signed_map(gradient: np.ndarray) -> np.ndarray:
    """The signed gradient (C, H, W), summed over channels, as colours (H, W, 3) in [0, 1]: red raises the score, blue lowers it."""
    return _coloured(_relative(gradient))


def absolute_map(gradient: np.ndarray) -> np.ndarray:
    """The mean absolute gradient (C, H, W) over channels, (H, W) in [0, 1], white where it is strongest."""
    strength = np.abs(np.asarray(gradient, dtype=np.float64)).mean(0)
    return np.clip(strength / percentile([strength], 99), 0, 1)


def overlay(picture: np.ndarray, gradient: np.ndarray, opacity: float) -> np.ndarray:
    """The signed gradient over the photograph (H, W, 3) or (H, W), where it is strong; opacity: of its strongest pixels, 0 to 1."""
    relative = _relative(gradient)
    weight = opacity * np.abs(relative)[..., None]
    photo = np.broadcast_to(picture[..., None] if picture.ndim == 2 else picture, (*picture.shape[:2], 3))
    return np.clip((1 - weight) * photo + weight * _coloured(np.sign(relative)), 0, 1)


def enlarged(values: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(H, W, ...) with each value as a square, as large as the side has room for, and never smaller than it is."""
    zoom = max(1, side // max(values.shape[:2]))
    return values.repeat(zoom, 0).repeat(zoom, 1)


def _relative(gradient: np.ndarray) -> np.ndarray:
    """The sum over channels, from -1 to 1; beyond the 99th percentile it is cut off."""
    signed = np.asarray(gradient, dtype=np.float64).sum(0)
    return np.clip(signed / percentile([np.abs(signed)], 99), -1, 1)


def _coloured(relative: np.ndarray) -> np.ndarray:
    return matplotlib.colormaps[SIGNED]((relative + 1) / 2)[..., :3]
