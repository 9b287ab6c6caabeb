"""Sub-pixel convolution: convolve at the low resolution, then shuffle channels to pixels; initialised as a resize-convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.layers.padding import PADDING_MODES, Margins, PaddingMode, choice, pad, same_margins, whole_numbers

Initializer = Callable[[Tensor], Any]
"""Fills a tensor in place, as the functions of torch.nn.init do."""

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d}


def pixel_shuffle(images: Tensor, scale_factor: Sequence[int]) -> Tensor:
    """Channels to pixels by a scale for each spatial axis: (..., C * product, *sizes) to (..., C, *sizes times scales).

    Channel order as in nn.PixelShuffle: the output channel first, then the phase of each axis.
    """
    scales = tuple(scale_factor)
    axes = len(scales)
    if axes == 2 and scales[0] == scales[1]:
        return F.pixel_shuffle(images, scales[0])
    start = images.ndim - axes - 1
    split = images.unflatten(start, (-1, *scales))
    order = [place for axis in range(axes) for place in (start + 1 + axes + axis, start + 1 + axis)]
    sizes = [size * scale for size, scale in zip(images.shape[-axes:], scales, strict=True)]
    return split.permute(*range(start + 1), *order).reshape(*images.shape[:start], -1, *sizes)


def pixel_unshuffle(images: Tensor, scale_factor: Sequence[int]) -> Tensor:
    """Pixels to channels, the inverse of `pixel_shuffle`; each size is a multiple of its scale."""
    scales = tuple(scale_factor)
    axes = len(scales)
    if axes == 2 and scales[0] == scales[1]:
        return F.pixel_unshuffle(images, scales[0])
    start = images.ndim - axes
    split = images
    for axis, scale in reversed(list(enumerate(scales))):
        split = split.unflatten(start + axis, (-1, scale))
    phases = [start + 2 * axis + 1 for axis in range(axes)]
    sizes = [start + 2 * axis for axis in range(axes)]
    return split.permute(*range(start), *phases, *sizes).flatten(start - 1, start - 1 + axes)


def default_initializer(weight: Tensor) -> Tensor:
    """How torch.nn fills the weight of a convolution."""
    return nn.init.kaiming_uniform_(weight, a=math.sqrt(5))


@torch.no_grad()
def icnr_(weight: Tensor, scale_factor: int | Sequence[int], initializer: Initializer = default_initializer) -> Tensor:
    """Fill the weight or bias of a sub-pixel convolution so that it starts as a convolution followed by nearest-neighbour resizing.

    weight: (out * product of the scales, in / groups, *kernel), or a bias (out * product,). scale_factor: one for all axes, or
    one for each; for a bias, which does not show its axes, one for each, such as (2, 2). initializer: fills the weight of the
    small convolution, whose rows are then given to all phases of their channel. In place; returns the weight. Raises FeatvisError
    where the channels are not a multiple of the phases. Source: Aitken et al. 2017, "Checkerboard artifact free sub-pixel
    convolution", section 3.

    >>> weight = featvis.icnr_(torch.empty(3 * 4, 8, 3, 3), scale_factor=2)
    >>> torch.equal(weight[0], weight[3])  # the four phases of the first channel
    True
    """
    if isinstance(scale_factor, int) and weight.ndim < 3:
        raise FeatvisError(
            f"a tensor of shape {tuple(weight.shape)} shows no axes; give a scale for each, such as (2, 2)"
        )
    axes = weight.ndim - 2 if isinstance(scale_factor, int) else len(scale_factor)
    phases = math.prod(whole_numbers(scale_factor, axes, "scale_factor"))
    if weight.shape[0] % phases:
        raise FeatvisError(
            f"{weight.shape[0]} channels do not divide into {phases} phases; give a multiple of {phases} channels"
        )
    small = torch.empty(weight.shape[0] // phases, *weight.shape[1:], device=weight.device, dtype=weight.dtype)
    initializer(small)
    return weight.copy_(small.repeat_interleave(phases, 0))


class _SubPixelConv(nn.modules.conv._ConvNd):
    """What both sub-pixel convolutions share: `margins` are the pixels added before the convolution, `crop` those cut off the output."""

    axes: int
    scale_factor: tuple[int, ...]
    margins: Margins
    crop: Margins
    icnr: bool
    initializer: Initializer

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        scale_factor: int | tuple[int, ...] = 2,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        icnr: bool = True,
        initializer: Initializer = default_initializer,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.scale_factor = whole_numbers(scale_factor, self.axes, "scale_factor")
        self.icnr, self.initializer = icnr, initializer
        phases = out_channels * math.prod(self.scale_factor)
        convolution: Any = super()  # nn.Conv1d or nn.Conv2d, which the class mixes in
        convolution.__init__(
            in_channels, phases, kernel_size, 1, "same", dilation, groups, bias, padding_mode, device, dtype
        )
        choice(self.padding_mode, PADDING_MODES, "padding_mode")
        self.out_channels = out_channels
        self.margins = same_margins(self.kernel_size, self.dilation)
        self.crop = ((0, 0),) * self.axes

    def reset_parameters(self) -> None:
        """Fill weight and bias, by ICNR where it is wanted."""
        phases = self.scale_factor if self.icnr else (1,) * self.axes
        icnr_(self.weight, phases, self.initializer)
        if self.bias is not None:
            bound = 1 / math.sqrt(max(1, self.weight[0].numel()))
            icnr_(self.bias, phases, lambda bias: nn.init.uniform_(bias, -bound, bound))

    def forward(self, images: Tensor) -> Tensor:
        padded = pad(images, self.margins, self.padding_mode)
        phases = _CONVOLVE[self.axes](padded, self.weight, self.bias, 1, 0, self.dilation, self.groups)
        output = pixel_shuffle(phases, self.scale_factor)
        for axis, (before, after) in enumerate(self.crop, start=-self.axes):
            if before or after:
                output = output.narrow(axis, before, output.shape[axis] - before - after)
        return output

    def extra_repr(self) -> str:
        same = self.margins == same_margins(self.kernel_size, self.dilation)
        margins = "" if same else f", margins={self.margins}"
        crop = f", crop={self.crop}" if any(map(any, self.crop)) else ""
        return f"{super().extra_repr()}, scale_factor={self.scale_factor}{margins}{crop}"


class SubPixelConv1d(_SubPixelConv, nn.Conv1d):
    """A convolution to scale_factor times the channels, which a shuffle lays side by side; the output is that many times as long.

    The arguments else are those of nn.Conv1d with padding="same" and stride 1. Weight and bias start by ICNR (see `icnr_`)
    unless `icnr` is False, the weight filled by `initializer`, the bias as in torch.nn. Source: Shi et al. 2016.

    >>> featvis.SubPixelConv1d(8, 3, kernel_size=3)(torch.rand(1, 8, 16)).shape
    torch.Size([1, 3, 32])
    """

    axes = 1


class SubPixelConv2d(_SubPixelConv, nn.Conv2d):
    """A convolution to scale_factor squared times the channels, which a pixel shuffle lays side by side.

    scale_factor: one, or one for each axis. The arguments else are those of nn.Conv2d with padding="same" and stride 1. Weight and
    bias start by ICNR (see `icnr_`) unless `icnr` is False, the weight filled by `initializer`, the bias as in torch.nn. Source: Shi et
    al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network".

    >>> layer = featvis.SubPixelConv2d(8, 3, kernel_size=3, scale_factor=2)
    >>> pixels = layer(torch.rand(1, 8, 16, 16))
    >>> pixels.shape
    torch.Size([1, 3, 32, 32])
    >>> torch.allclose(pixels[..., ::2, ::2], pixels[..., 1::2, 1::2])  # as new, each block of 2 x 2 is even
    True
    """

    axes = 2
