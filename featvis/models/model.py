"""A network with its preprocessing, labels and where its weights came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featvis.data.pictures import Picture, load_picture, prepare
from featvis.errors import FeatvisError


@dataclass(frozen=True)
class Model:
    """A network and how pictures become its input; spec: its name in what is printed and saved.

    input_size: (C, H, W). mean, std: one value, or one for each channel, for pixels in [0, 1]. resize: the shorter side before the
    centre crop to (H, W), None to keep it. labels: one for each logit, or None. weights: where they came from. notes: what a user
    should know about choices that were made. output: the network's output that was chosen, where it returns several.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> model = featvis.Model(network, "mine", input_size=(3, 32, 32), mean=(0.5,), std=(0.5,))
    >>> model.normalise(torch.tensor([0.0, 0.5, 1.0]).expand(3, 1, 3))[0]
    tensor([[-1.,  0.,  1.]])
    """

    module: nn.Module
    spec: str = "network"
    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    labels: tuple[str, ...] | None = None
    resize: int | None = None
    interpolation: str = "bilinear"
    weights: str = "as given"
    seed: int | None = None
    notes: tuple[str, ...] = ()
    output: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise FeatvisError(
                f"Model of {self.module!r:.60}; expected a torch.nn.Module. featvis.load_model loads a network by its name"
            )

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def load(self, path: str | Path) -> tuple[Picture, Tensor]:
        """A picture file and the pixels that the network sees, (C, H, W) in [0, 1]."""
        picture = load_picture(path, self.input_size[0])
        return picture, self.pixels_of(picture)

    def pixels_of(self, picture: Picture, margin: int = 0) -> Tensor:
        """What the network sees of a picture, (C, H + margin, W + margin) in [0, 1]; a margin is room for the crop to move."""
        crop = [side + margin for side in self.input_size[1:]]
        resize = self.resize
        if resize is not None:
            # A crop wider than the picture's shape needs a larger one: nothing is filled up with black.
            height, width = picture.size
            shorter = min(height, width)
            resize = max(resize, -(-crop[0] * shorter // height), -(-crop[1] * shorter // width))
        return prepare(picture, resize, (crop[0], crop[1]), self.interpolation)

    def normalise(self, pixels: Tensor) -> Tensor:
        """The network's input: (..., C, H, W) in [0, 1], minus the mean, by the standard deviation, on its device."""
        pixels = pixels.to(self.device)
        mean = pixels.new_tensor(self.mean).view(-1, 1, 1)
        return (pixels - mean) / pixels.new_tensor(self.std).view(-1, 1, 1)

    def pixels_shown(self, images: Tensor) -> Tensor:
        """The pixels in [0, 1] that `normalise` made images of, (..., C, H, W)."""
        mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return images * std + mean

    def settings(self) -> dict[str, Any]:
        """Everything that was resolved, as plain values."""
        return {
            **({} if self.output is None else {"output": self.output}),
            "model": self.spec,
            "weights": self.weights,
            "seed": self.seed,
            "input_size": list(self.input_size),
            "resize": self.resize,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "device": str(self.device),
        }


def expect_model(given: object) -> None:
    """Raises FeatvisError for anything but a Model, whose pictures could not be prepared."""
    if not isinstance(given, Model):
        raise FeatvisError(
            f"a network of type {type(given).__name__}; expected a featvis.Model, such as "
            "featvis.Model(network, input_size=(3, 224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))"
        )
