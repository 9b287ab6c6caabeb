"""Small discriminators of 32 x 32 pictures that differ in how they halve the resolution, and in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names
from featvis.repair.layers import BlurPool2d

SIZE = 32
"""Both sides of the pictures, in pixels; three halvings leave 4 x 4 positions."""

SLOPE = 0.2
"""Of the leaky ReLU where its input is negative, as in DCGAN (Radford, Metz and Chintala 2016)."""


def _strided(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, 2, padding=(kernel - 1) // 2), nn.LeakyReLU(SLOPE))


def _blurred(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(SLOPE), BlurPool2d(4))


DISCRIMINATORS: dict[str, Callable[[int, int], nn.Sequential]] = {
    "k3s2": lambda inputs, outputs: _strided(inputs, outputs, 3),
    "k5s2": lambda inputs, outputs: _strided(inputs, outputs, 5),
    "k4s2": lambda inputs, outputs: _strided(inputs, outputs, 4),
    "blur": _blurred,
}
"""Halve both sides: (inputs, outputs) to a convolution and a leaky ReLU. Only 4x4 windows overlap evenly; "blur" has stride 1 and a
BlurPool behind the ReLU (Zhang 2019)."""


class Discriminator(nn.Module):
    """A discriminator of 32 x 32 pictures: three layers that halve both sides, then a linear layer to one logit.

    downsampling: a name of DISCRIMINATORS. widths: channels that each layer writes. There is no normalisation: what spectral
    normalisation needs in training is folded into the weights afterwards.

    `forward` takes pictures (B, channels, 32, 32), in [-1, 1] where trained, and returns logits (B,), higher where they look real. Raises
    FeatvisError for an unknown name.
    """

    def __init__(self, downsampling: str = "k4s2", widths: Sequence[int] = (32, 64, 128), channels: int = 3) -> None:
        super().__init__()
        if downsampling not in DISCRIMINATORS:
            near = nearest_names(downsampling, DISCRIMINATORS)
            raise FeatvisError(f"no discriminator {downsampling!r}{near}; give one of {', '.join(DISCRIMINATORS)}")
        make = DISCRIMINATORS[downsampling]
        self.body = nn.Sequential(
            *(make(*pair) for pair in zip((channels, *widths), widths, strict=False)),
        )
        self.head = nn.Linear(widths[-1] * (SIZE >> len(widths)) ** 2, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.body(pictures).flatten(1)).squeeze(1)
