"""DCGAN-like generators that differ in how they upsample, with each upsampling layer chosen by name."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names
from featvis.repair.layers import ResizeConv2d, SmoothingDeconv2d, SubPixelConv2d, icnr_

UPSAMPLING: dict[str, Callable[[int, int], nn.Module]] = {
    "deconv3": lambda inputs, outputs: nn.ConvTranspose2d(
        inputs, outputs, 3, 2, padding=1, output_padding=1, bias=False
    ),
    "deconv4": lambda inputs, outputs: nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False),
    "subpixel": lambda inputs, outputs: SubPixelConv2d(inputs, outputs, 3, scale_factor=2, bias=False, icnr=False),
    "icnr": lambda inputs, outputs: SubPixelConv2d(inputs, outputs, 3, scale_factor=2, bias=False, icnr=True),
    "nearest": lambda inputs, outputs: ResizeConv2d(inputs, outputs, 3, scale_factor=2, mode="nearest", bias=False),
    "bilinear": lambda inputs, outputs: ResizeConv2d(inputs, outputs, 3, scale_factor=2, mode="bilinear", bias=False),
}
"""Double both sides: (inputs, outputs) to a module. Transposed convolutions of 3x3 and 4x4 kernels, sub-pixel convolution without and
with ICNR, and convolutions after a nearest-neighbour or bilinear resize."""

LAYERS = 4
"""Upsampling layers of a generator; its pictures are a multiple of 16 pixels."""

SMOOTHINGS = (2, 3, 4, 5)
"""Widths of a stride-1 last layer."""

GRAMMAR = (
    f"one of {', '.join(UPSAMPLING)}; add -last for the last layer alone, -smooth2 to -smooth5 for a stride-1 layer of that "
    "width behind it"
)


class Upsampler(NamedTuple):
    """How a generator upsamples: a name of UPSAMPLING for each layer, from the noise to the picture, and the width of a stride-1 last
    layer, None without one.
    """

    layers: tuple[str, ...]
    smoothing: int | None = None


def parse_upsampler(name: str) -> Upsampler:
    """The layers that a name such as "deconv3", "deconv3-last" or "deconv3-smooth4" stands for.

    The last two layers, or the last one alone, upsample as named, all others by nearest-neighbour resize. Raises FeatvisError for any
    other name.
    """
    match = re.fullmatch(r"([a-z0-9]+)(-last)?(?:-smooth([2-5]))?", name)
    if match is None or match[1] not in UPSAMPLING:
        raise FeatvisError(f"no upsampling {name!r}{nearest_names(name, upsampler_names())}; give {GRAMMAR}")
    named = 1 if match[2] else 2
    layers = ("nearest",) * (LAYERS - named) + (match[1],) * named
    return Upsampler(layers, int(match[3]) if match[3] else None)


def upsampler_names() -> list[str]:
    """Every name that `parse_upsampler` reads."""
    smoothings = ("", *(f"-smooth{width}" for width in SMOOTHINGS))
    return ["".join(parts) for parts in itertools.product(UPSAMPLING, ("", "-last"), smoothings)]


class Generator(nn.Module):
    """A generator of pictures from noise: a linear layer to 1/16 of the size, four upsampling layers, tanh.

    upsampler: how each layer upsamples. widths: channels that each upsampling layer reads. normalise: batch norm before each ReLU, as
    in DCGAN (Radford, Metz and Chintala 2016). No layer has a bias of its own.

    `forward` takes latents (B, latent) and returns pictures (B, channels, H, W) in (-1, 1). Raises FeatvisError for a size that is no
    multiple of 16.
    """

    def __init__(
        self,
        upsampler: Upsampler | None = None,
        size: tuple[int, int] = (64, 64),
        widths: Sequence[int] = (128, 64, 32, 16),
        latent: int = 100,
        channels: int = 3,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        names, smoothing = upsampler or Upsampler(("nearest",) * LAYERS)
        if len(names) != LAYERS or len(widths) != LAYERS:
            raise FeatvisError(f"{len(names)} upsampling layers and {len(widths)} widths; give {LAYERS} of each")
        scale = 2**LAYERS
        if any(side < scale or side % scale for side in size):
            raise FeatvisError(f"a size of {size[0]}x{size[1]} pixels; a generator's sides are multiples of {scale}")
        self.latent = latent

        def activated(layer: nn.Module, width: int) -> nn.Sequential:
            norm = [nn.BatchNorm2d(width)] if normalise else []
            return nn.Sequential(layer, *norm, nn.ReLU(inplace=True))

        rows, columns = (side // scale for side in size)
        dense = nn.Linear(latent, widths[0] * rows * columns, bias=False)
        self.stem = activated(nn.Sequential(dense, nn.Unflatten(1, (widths[0], rows, columns))), widths[0])
        *hidden, last = (UPSAMPLING[name] for name in names)
        pairs = list(itertools.pairwise(widths))
        self.hidden = nn.Sequential(
            *(activated(make(*pair), pair[1]) for make, pair in zip(hidden, pairs, strict=True))
        )
        width = widths[-1]
        if smoothing is None:
            self.last = nn.Sequential(last(width, channels))
        else:
            smooth = SmoothingDeconv2d(width, channels, smoothing, bias=False)
            self.last = nn.Sequential(activated(last(width, width), width), smooth)

    def before_tanh(self, latents: Tensor) -> Tensor:
        """The pictures before they are bounded: tanh moves nothing, but squeezes what is strong."""
        return self.last(self.hidden(self.stem(latents)))

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(self.before_tanh(latents))


GENERATORS: dict[str, Callable[[Upsampler, tuple[int, int]], Generator]] = {
    "dcgan": lambda upsampler, size: Generator(upsampler, size),
    "dcgan-plain": lambda upsampler, size: Generator(upsampler, size, normalise=False),
}
"""Families of generators: (upsampler, size) to a network. With batch norm as in DCGAN, and without, where expected energies are exact."""


def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Give every layer independent normal weights that keep the mean square through a ReLU; sub-pixel layers with ICNR get ICNR.

    Source: He et al. 2015, "Delving Deep into Rectifiers", equation 10, with the inputs that reach one output of a transposed
    convolution on average.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            reached: float = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                reached = layer.weight[:, 0].numel() / math.prod(layer.stride)
            fill = functools.partial(nn.init.normal_, std=math.sqrt(2 / reached), generator=generator)
            if isinstance(layer, SubPixelConv2d) and layer.icnr:
                icnr_(layer.weight, layer.scale_factor, fill)
            else:
                fill(layer.weight)
