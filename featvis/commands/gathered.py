"""What a page shows of a comparison: the first pictures and their gradients in every variant, gathered while they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featvis.errors import FeatvisError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from featvis.models.model import Model
    from featvis.report import PictureView


class Gathered:
    """The first pictures that pass by, in [0, 1], and each variant's gradients at them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pictures: list[np.ndarray] = []
        self.gradients: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, attributions: Tensor, images: Tensor, total_stride: int) -> None:
        """Add a batch of a variant, (B, C, H, W) both, as `compare_variants` hands it to whoever watches."""
        from featvis.report import SHOWN, channels_last

        known = self.gradients.setdefault(name, [])
        mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (self.model.mean, self.model.std))
        for image, attribution in zip(images[: SHOWN - len(known)], attributions, strict=False):
            if len(known) == len(self.pictures):
                self.pictures.append(channels_last(image * std + mean))
            known.append(attribution.cpu().numpy())

    def views(self, paths: Sequence[Path]) -> list[PictureView]:
        """Every picture with its gradients, the variants in order; paths: of all pictures, also those that could not be read."""
        from featvis.report import PictureView

        names = self._names(paths)
        return [
            PictureView.of(name, picture, {variant: found[number] for variant, found in self.gradients.items()})
            for number, (name, picture) in enumerate(zip(names, self.pictures, strict=True))
        ]

    def _names(self, paths: Sequence[Path]) -> list[str]:
        names: list[str] = []
        for path in paths:
            if len(names) == len(self.pictures):
                break
            try:
                self.model.load(path)
            except FeatvisError:
                continue
            names.append(path.name)
        return names
