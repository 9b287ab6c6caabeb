"""Strided convolution as a pixel unshuffle and a convolution at the low resolution."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from featvis.repair.layers.padding import PADDING_MODES, Margins, PaddingMode, choice, pad, whole_numbers
from featvis.repair.layers.subpixel import pixel_unshuffle

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d}


class _UnshuffleConv(nn.modules.conv._ConvNd):
    """What both share; `margins` are the pixels added before the unshuffle, and a last incomplete block is left out."""

    axes: int
    scale_factor: tuple[int, ...]
    margins: Margins

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        scale_factor: int | tuple[int, ...] = 2,
        padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.scale_factor = whole_numbers(scale_factor, self.axes, "scale_factor")
        blocks = in_channels * math.prod(self.scale_factor)
        convolution: Any = super()  # nn.Conv1d or nn.Conv2d, which the class mixes in
        convolution.__init__(blocks, out_channels, kernel_size, 1, 0, 1, groups, bias, padding_mode, device, dtype)
        choice(self.padding_mode, PADDING_MODES, "padding_mode")
        self.in_channels = in_channels
        self.margins = tuple((size, size) for size in whole_numbers(padding, self.axes, "padding", least=0))

    def forward(self, images: Tensor) -> Tensor:
        padded = pad(images, self.margins, self.padding_mode)
        for axis, scale in enumerate(self.scale_factor, start=-self.axes):
            padded = padded.narrow(axis, 0, padded.shape[axis] // scale * scale)
        blocks = pixel_unshuffle(padded, self.scale_factor)
        return _CONVOLVE[self.axes](blocks, self.weight, self.bias, 1, 0, 1, self.groups)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale_factor={self.scale_factor}, margins={self.margins}"


class UnshuffleConv1d(_UnshuffleConv, nn.Conv1d):
    """Blocks of scale_factor values become channels, then a convolution; see `UnshuffleConv2d`.

    >>> featvis.UnshuffleConv1d(3, 8, kernel_size=2)(torch.rand(1, 3, 32)).shape
    torch.Size([1, 8, 15])
    """

    axes = 1


class UnshuffleConv2d(_UnshuffleConv, nn.Conv2d):
    """Blocks of scale_factor by scale_factor pixels become channels, then a convolution: every pixel is read equally often.

    The twin of a strided convolution whose kernel is kernel_size times its stride. padding: pixels around the picture, before the
    unshuffle. scale_factor: one, or one for each axis; a last incomplete block is left out, as a strided convolution does.

    >>> featvis.UnshuffleConv2d(3, 8, kernel_size=2, padding=1)(torch.rand(1, 3, 32, 32)).shape
    torch.Size([1, 8, 16, 16])
    """

    axes = 2
