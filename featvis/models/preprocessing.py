"""What a caller says of a network's input, in place of what the network's own recipe says."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from featvis.data.pictures import LARGEST_PIXELS
from featvis.errors import FeatvisError
from featvis.models.model import Model

LARGEST_INPUT = 1e8
"""A network's input is no larger than this; single precision ends at 3e38, and its square before."""


@dataclass(frozen=True)
class Preprocessing:
    """Choices about a network's input; None leaves what is usual.

    mean, std: one value, or one for each channel, for pixels in [0, 1]. size: (H, W), or one number for both. channels: how many the
    input has.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    size: int | tuple[int, int] | None = None
    channels: int | None = None

    def of(self, model: Model) -> Model:
        """The model with this preprocessing. Raises FeatvisError for values that fit no input."""
        if self.size is not None:
            # The margin around the crop stays in proportion, as with torchvision's own recipes.
            size = _sides(self.size)
            shorter = min(model.input_size[1:])
            resize = None if model.resize is None else round(model.resize * min(size) / shorter)
            model = replace(model, input_size=(model.input_size[0], *size), resize=resize or min(size))
        if self.channels is not None:
            model = replace(model, input_size=(self.channels, *model.input_size[1:]))
        model = replace(model, mean=tuple(self.mean or model.mean), std=tuple(self.std or model.std))
        _check(model)
        return model


def _sides(size: Any) -> tuple[int, int]:
    """Height and width. Raises FeatvisError for what is neither one whole number nor two."""
    sides = size if isinstance(size, Sequence) else (size, size)
    try:
        height, width = map(operator.index, sides)
    except (TypeError, ValueError):
        raise FeatvisError(f"a size of {size!r}; expected one whole number of pixels, or (height, width)") from None
    return height, width


def _check(model: Model) -> None:
    channels = model.input_size[0]
    for name, values in (("--mean", model.mean), ("--std", model.std)):
        if len(values) not in (1, channels):
            raise FeatvisError(
                f"{name} has {len(values)} values for {channels} channels; give one, or one for each channel"
            )
    if not all(value > 0 and math.isfinite(value) for value in model.std):
        raise FeatvisError(f"--std {','.join(map(str, model.std))}: standard deviations must be above 0 and finite")
    if any((1 + abs(mean)) / std > LARGEST_INPUT for mean in model.mean for std in model.std):
        raise FeatvisError(
            f"--mean {','.join(map(str, model.mean))} --std {','.join(map(str, model.std))}: the input would exceed {LARGEST_INPUT:g}; "
            "they are for pixels in [0, 1]"
        )
    if not all(math.isfinite(value) for value in model.mean):
        raise FeatvisError(f"--mean {','.join(map(str, model.mean))}: means must be finite")
    if min(model.input_size) < 1:
        raise FeatvisError(f"an input of {model.input_size} (channels, height, width); each must be at least 1")
    if math.prod(model.input_size) > 4 * LARGEST_PIXELS:
        raise FeatvisError(
            f"an input of {model.input_size} (channels, height, width) is more than a network takes; give a smaller --size"
        )
