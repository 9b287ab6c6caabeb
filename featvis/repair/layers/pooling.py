"""Pooling that leaves no checkerboard, or less of it, than max-pooling: dense maximum then blur, and the root mean square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.repair.layers.blur import BlurPool1d, BlurPool2d
from featvis.repair.layers.padding import whole_numbers

_MAXIMUM: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d}
_AVERAGE: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d}
_BLUR: dict[int, Any] = {1: BlurPool1d, 2: BlurPool2d}


class _MaxBlurPool(nn.Module):
    """What both max-blur pools share."""

    axes: int

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        blur_size: int | Sequence[int] = 3,
        kernel: str = "binomial",
        padding_mode: str = "reflect",
    ) -> None:
        super().__init__()
        self.kernel_size = whole_numbers(kernel_size, self.axes, "kernel_size")
        self.padding = whole_numbers(padding, self.axes, "padding", least=0)
        self.dilation = whole_numbers(dilation, self.axes, "dilation")
        self.ceil_mode = ceil_mode
        self.blur = _BLUR[self.axes](blur_size, kernel_size if stride is None else stride, kernel, padding_mode)

    def forward(self, images: Tensor) -> Tensor:
        if self.ceil_mode:
            images = F.pad(images, self._missing(images), value=-torch.inf)
        dense = _MAXIMUM[self.axes](images, self.kernel_size, 1, self.padding, self.dilation)
        return self.blur(dense)

    def _missing(self, images: Tensor) -> list[int]:
        """Pixels after each axis, in the order of F.pad, that the last window of ceil_mode reads past the padding."""
        missing = []
        for axis in range(self.axes):
            size = images.shape[axis - self.axes]
            span = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            stride, padding = self.blur.stride[axis], self.padding[axis]
            dense = size + 2 * padding - span + 1
            windows = -(-(dense - 1) // stride) + 1
            if (windows - 1) * stride >= size + padding:
                windows -= 1
            missing += [max(0, (windows - 1) * stride + 1 - dense), 0]
        return missing[::-1]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxBlurPool1d(_MaxBlurPool):
    """A maximum at every place, then `BlurPool1d` by the stride; the output has the size of nn.MaxPool1d; see `MaxBlurPool2d`.

    >>> featvis.MaxBlurPool1d(2)(torch.rand(1, 8, 32)).shape
    torch.Size([1, 8, 16])
    """

    axes = 1


class MaxBlurPool2d(_MaxBlurPool):
    """A maximum at every place, then `BlurPool2d` by the stride; the output has the size of nn.MaxPool2d with the same arguments.

    blur_size, kernel, padding_mode: those of the blur. Source: Zhang 2019, section 3.2.

    >>> featvis.MaxBlurPool2d(3, stride=2, padding=1, blur_size=4)(torch.rand(1, 8, 32, 32)).shape
    torch.Size([1, 8, 16, 16])
    """

    axes = 2


class _L2Pool(nn.Module):
    """What both L2 pools share."""

    axes: int

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = whole_numbers(kernel_size, self.axes, "kernel_size")
        self.stride = self.kernel_size if stride is None else whole_numbers(stride, self.axes, "stride")
        self.padding = whole_numbers(padding, self.axes, "padding", least=0)
        self.ceil_mode = ceil_mode

    def forward(self, images: Tensor) -> Tensor:
        squares = images.to(torch.promote_types(images.dtype, torch.float32)).square()
        mean = _AVERAGE[self.axes](squares, self.kernel_size, self.stride, self.padding, self.ceil_mode, False)
        # The root of 0 has no slope; below the smallest normal number the gradient is 0, above it at most 1 / sqrt(pixels of a window).
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).sqrt().to(images.dtype)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
        )


class L2Pool1d(_L2Pool):
    """The root of the mean square of each window of a signal; the output has the size of nn.MaxPool1d; see `L2Pool2d`.

    >>> featvis.L2Pool1d(2)(torch.tensor([[[1.0, 7.0, 5.0, 5.0]]]))
    tensor([[[5., 5.]]])
    """

    axes = 1


class L2Pool2d(_L2Pool):
    """The root of the mean square of each window, which leaves a constant its magnitude; padding does not count.

    The output has the size of nn.MaxPool2d with the same arguments, its gradient is finite everywhere and 0 where a window is all
    0. The pixels of a window weigh evenly; Henaff and Simoncelli 2016, "Geodesics of learned representations", weigh them with a
    Hann window.

    >>> featvis.L2Pool2d(2)(torch.tensor([[[[1.0, 7.0], [5.0, 5.0]]]]))
    tensor([[[[5.]]]])
    """

    axes = 2
