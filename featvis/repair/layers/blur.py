"""Fixed filters, one for each channel: blur before taking every so-manyth pixel, and the smooth hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.repair.layers.padding import PADDING_MODES, choice, pad, same_margins, whole_numbers

KERNELS = ("binomial", "box")

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d}


class _Filter(nn.Module):
    """A fixed filter of whole-number taps along each axis, whose weights sum to 1, on whatever channels come.

    The taps are a whole-number buffer outside the state dict: exact in every dtype, and checkpoints stay as they were.
    """

    axes: int
    taps: Tensor

    def __init__(self, taps: Sequence[Sequence[int]], stride: tuple[int, ...], padding_mode: str) -> None:
        super().__init__()
        self.stride = stride
        self.padding_mode = choice(padding_mode, PADDING_MODES, "padding_mode")
        self.margins = same_margins([len(axis) for axis in taps])
        self.total = math.prod(sum(axis) for axis in taps)
        product = torch.ones((), dtype=torch.int64)
        for axis in taps:
            product = product[..., None] * torch.tensor(axis, dtype=torch.int64)
        self.register_buffer("taps", product, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        channels = images.shape[-self.axes - 1]
        exact = torch.promote_types(images.dtype, torch.float32)
        kernel = (self.taps.to(exact) / self.total).to(images.dtype).expand(channels, 1, *self.taps.shape)
        padded = pad(images, self.margins, self.padding_mode)
        return _CONVOLVE[self.axes](padded, kernel, None, self.stride, groups=channels)


class _BlurPool(_Filter):
    """What both blur pools share."""

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 2,
        kernel: str = "binomial",
        padding_mode: str = "reflect",
    ) -> None:
        choice(kernel, KERNELS, "kernel")
        sizes = whole_numbers(kernel_size, self.axes, "kernel_size")
        taps = [_binomial(size) if kernel == "binomial" else [1] * size for size in sizes]
        super().__init__(taps, whole_numbers(stride, self.axes, "stride"), padding_mode)
        self.kernel_size, self.kernel = sizes, kernel

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, kernel={self.kernel}, padding_mode={self.padding_mode}"


class BlurPool1d(_BlurPool):
    """Blur each channel, then keep every stride-th value: (B, C, n) to (B, C, ceil(n / stride)); see `BlurPool2d`.

    >>> featvis.BlurPool1d()(torch.arange(5.0).view(1, 1, 5))
    tensor([[[0.5000, 2.0000, 3.5000]]])
    """

    axes = 1


class BlurPool2d(_BlurPool):
    """Blur each channel, then keep every stride-th pixel: each size n becomes ceil(n / stride), for even and odd kernels.

    kernel: "binomial" (1 2 1 for size 3) or "box" (1 1 1); its weights sum to 1. Sizes and strides are one number, or one for each
    axis. Source: Zhang 2019, "Making convolutional networks shift-invariant again", section 3.

    >>> featvis.BlurPool2d(kernel_size=4)(torch.rand(1, 3, 33, 32)).shape
    torch.Size([1, 3, 17, 16])
    """

    axes = 2


class _SmoothHold(_Filter):
    """What both smooth holds share."""

    def __init__(self, scale_factor: int | Sequence[int] = 2, order: int = 0, padding_mode: str = "reflect") -> None:
        scales = whole_numbers(scale_factor, self.axes, "scale_factor")
        (boxes,) = whole_numbers(order, 1, "order", least=0)
        taps = [_box_power(scale, boxes + 1) for scale in scales]
        super().__init__(taps, (1,) * self.axes, padding_mode)
        self.scale_factor, self.order = scales, order

    def extra_repr(self) -> str:
        return f"scale_factor={self.scale_factor}, order={self.order}, padding_mode={self.padding_mode}"


class SmoothHold1d(_SmoothHold):
    """The smooth hold of a signal, (B, C, n) to (B, C, n); see `SmoothHold2d`.

    >>> featvis.SmoothHold1d()(torch.tensor([[[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]]]))
    tensor([[[0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000]]])
    """

    axes = 1


class SmoothHold2d(_SmoothHold):
    """A fixed filter that removes every harmonic of the stride: a box of scale_factor, convolved with itself `order` more times.

    Behind an upsampling layer of that scale it removes the checkerboard of the forward pass, before a layer of that stride the
    one of the backward pass. Order 0 is the zero-order hold. Its weights sum to 1, the size stays, and each channel is filtered
    alone. Source: Kinoshita and Kiya 2020, "Fixed smooth convolutional layer for avoiding checkerboard artifacts in CNNs".

    >>> board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8).view(1, 1, 16, 16)
    >>> featvis.SmoothHold2d(scale_factor=2)(board).unique()
    tensor([0.5000])
    """

    axes = 2


def _binomial(size: int) -> list[int]:
    return [math.comb(size - 1, tap) for tap in range(size)]


def _box_power(width: int, times: int) -> list[int]:
    """A box of ones, convolved with itself until it occurs `times` times."""
    taps = [1]
    for _ in range(times):
        taps = [sum(taps[max(0, place - width + 1) : place + 1]) for place in range(len(taps) + width - 1)]
    return taps
