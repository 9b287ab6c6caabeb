"""Pictures and their gradients as a page shows them: pixel by pixel, in images that the page holds itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from featvis.audit import Audit, check_gradients, expected_profile
from featvis.energy import interior
from featvis.errors import FeatvisError
from featvis.gradients import GradientEngine
from featvis.models import Model
from featvis.plots import spectrum
from featvis.plots.panels import SEQUENTIAL, SIGNED, binned, percentile

MOST_PIXELS = 512
"""Of a larger picture the middle is shown: a map that is scaled down would show a grid that is not there."""

LEVELS = 127
"""Colours of a map."""


@dataclass(frozen=True)
class PictureView:
    """A picture, its gradient and, where there is one, the gradient after a treatment or in another network.

    picture: (H, W, 3) or (H, W) in [0, 1]. before, after: (C, H, W), signed. Raises FeatvisError where shapes do not fit, a value is not
    finite or a gradient is zero.
    """

    name: str
    picture: np.ndarray
    before: np.ndarray
    after: np.ndarray | None = None
    before_label: str = "gradient"
    after_label: str = "after"

    def __post_init__(self) -> None:
        if self.picture.ndim not in (2, 3) or self.picture.shape[2:] not in ((), (3,)) or not self.picture.size:
            raise FeatvisError(f"a picture has the shape (H, W, 3) or (H, W); got {self.picture.shape}")
        for gradient in self.gradients:
            if gradient.ndim != 3 or gradient.shape[1:] != self.picture.shape[:2]:
                height, width = self.picture.shape[:2]
                raise FeatvisError(
                    f"a gradient of {self.name!r} has the shape {gradient.shape}; expected (C, {height}, {width})"
                )
            if not gradient.any() or not np.isfinite(gradient).all():
                raise FeatvisError(f"a gradient of {self.name!r} is zero or not finite; a page needs one with values")

    @property
    def gradients(self) -> list[np.ndarray]:
        """The one or two gradients."""
        return [self.before] if self.after is None else [self.before, self.after]


def picture_views(model: Model, paths: Sequence[Path], audit: Audit, most: int = 4) -> list[PictureView]:
    """The first pictures of an audit with their gradients: plain, and treated as the audit was.

    Where the audit treated nothing, its own phase profile is divided out, as `equalise` does. Pictures that cannot be read are left out.
    """
    settings = audit.settings
    engine = GradientEngine(model, settings["score"], settings["seed"])
    plain = settings["method"] == "vanilla" and settings["compensation"] == "none"
    profile = expected_profile(audit)
    treated = plain and audit.total_stride > 1 and bool((profile > 0).all())
    views: list[PictureView] = []
    for number, path in enumerate(paths):
        if len(views) == most:
            break
        try:
            _, pixels = model.load(path)
        except FeatvisError:
            continue
        images = model.normalise(pixels.unsqueeze(0))
        before = engine.attribution(images, "vanilla", "none", None, [number])
        check_gradients(before, [path.name], settings["score"])
        after, label = None, "after"
        if treated:
            after, label = engine.attribution(images, "vanilla", "equalise", profile, [number]), "equalised"
        elif settings["compensation"] != "equalise" and not plain:
            chosen = settings["method"], settings["compensation"]
            after = engine.attribution(images, *chosen, None, [number])
            label = " + ".join(part for part in chosen if part not in ("vanilla", "none"))
        seen = pixels if len(pixels) in (1, 3) else pixels.mean(0, keepdim=True)
        shown = seen.permute(1, 2, 0).squeeze(2).numpy()
        treatment = None if after is None else after[0].cpu().numpy()
        views.append(PictureView(path.name, shown, before[0].cpu().numpy(), treatment, after_label=label))
    return views


def shown_view(view: PictureView, total_stride: int) -> dict[str, Any]:
    """What the page's script reads of one picture: names, sizes and images as data URLs."""
    height, width = view.picture.shape[:2]
    top, left = (max(0, size - MOST_PIXELS) // 2 // total_stride * total_stride for size in (height, width))
    rows, columns = slice(top, top + MOST_PIXELS), slice(left, left + MOST_PIXELS)
    pixels = np.rint(np.clip(view.picture, 0, 1) * 255).astype(np.uint8)[rows, columns]
    labels = [view.before_label, view.after_label]
    signed = [_relative(gradient.sum(0, dtype=np.float64)) for gradient in view.gradients]
    limit = percentile([np.abs(one) for one in signed], 99)
    spectra = [_spectrum(gradient, total_stride) for gradient in view.gradients]
    low = max(percentile(spectra, 0.5), 1e-9)
    high = max(percentile(spectra, 99.9), 2 * low)
    return {
        "name": view.name,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "top": top,
        "left": left,
        "whole": [height, width],
        "picture": data_url(Image.fromarray(pixels)),
        "gradients": [
            {
                "label": label,
                "map": data_url(coloured(one[rows, columns] / limit / 2 + 0.5, SIGNED)),
                "spectrum": data_url(coloured(np.log(power.clip(low) / low) / np.log(high / low), SEQUENTIAL)),
            }
            for label, one, power in zip(labels, signed, spectra, strict=False)
        ],
    }


def _relative(values: np.ndarray) -> np.ndarray:
    return values / (np.sqrt(np.square(values).mean()) or 1.0)


def _spectrum(gradient: np.ndarray, total_stride: int) -> np.ndarray:
    """The spectrum of the measured part: whole periods without the outermost, so that harmonics are frequencies of the transform."""
    rows, columns = (interior(size, total_stride) for size in gradient.shape[1:])
    inside = gradient[:, rows, columns]
    return binned(spectrum(inside if inside.any() else gradient))


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
