"""Windows: what a convolution, pooling or slicing reads of a map along each of its axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ROOTS = (nn.LPPool1d, nn.LPPool2d)
"""The layers of torch.nn that read windows, by the number of their axes."""

POOLING = ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d")
"""The operators of pooling with windows."""


@dataclass(frozen=True)
class Window:
    """What is read of a map, or written to it by a transposed convolution, by axis, rows before columns.

    kernel: empty where the weights are computed from the input.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @staticmethod
    def of(kernel: Any, stride: Any, padding: Any = 0, dilation: Any = 1, axes: int | None = None) -> Window:
        """From one number for each axis or one for all; as many axes as the kernel has numbers where they are not given."""
        axes = len(kernel) if axes is None else axes
        return Window(*(per_axis(values, axes) for values in (kernel, stride, padding, dilation)))

    def on(self, axes: int) -> Window:
        """The same for a map of so many axes, where one number stands for all."""
        return Window.of(self.kernel, self.stride, self.padding, self.dilation, axes)

    @property
    def remainder(self) -> tuple[int, ...]:
        """Kernel modulo stride: 0 where all pixels are read equally often."""
        return tuple(kernel % stride for kernel, stride in zip(self.kernel, self.stride, strict=True))

    @property
    def even(self) -> bool:
        """Whether the stride divides the kernel along each axis, so that all pixels are read equally often."""
        return not any(self.remainder)

    @property
    def skips(self) -> bool:
        """Whether there are phases that no window reads, as in a 1x1 convolution of stride 2."""
        axes = zip(self.kernel, self.stride, self.dilation, strict=True)
        return any(
            len({tap * dilation % stride for tap in range(kernel)}) < stride for kernel, stride, dilation in axes
        )

    def count(self, axis: int, size: int) -> int:
        """How many windows lie along an axis of a map of this size."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    def by_phase(self, taps: Tensor) -> Tensor:
        """Taps (..., *kernel) summed by the phase of the stride on which they fall, (..., *stride); never read: 0."""
        axes = zip(self.stride, self.dilation, self.padding, strict=True)
        for axis, (stride, dilation, padding) in enumerate(axes, taps.ndim - len(self.stride)):
            phases = (torch.arange(taps.shape[axis]) * dilation - padding) % stride
            shape = [*taps.shape]
            shape[axis] = stride
            taps = taps.new_zeros(shape).index_add_(axis, phases, taps)
        return taps

    def in_plane(self) -> Window:
        """For rows and columns; a signal has one row."""
        if len(self.stride) != 1:
            return self
        return Window((1, *self.kernel), (1, *self.stride), (0, *self.padding), (1, *self.dilation))


def window_of(operator: str, arguments: Sequence[Any]) -> Window | None:
    """The window of an aten operator, by its name without overload; None where it has none.

    A slice and a pixel unshuffle have one axis.
    """
    given = dict(enumerate(arguments))
    if operator == "convolution":
        weight, stride = arguments[1], tuple(arguments[3])
        kernel = tuple(weight.shape[2:]) if isinstance(weight, Tensor) else ()
        axes = len(kernel) or len(stride)
        return Window(kernel, *(per_axis(values, axes) for values in (stride, arguments[4], arguments[5])))
    if operator in POOLING:
        dilation = given.get(4, 1) if operator.startswith("max") else 1
        return Window.of(arguments[1], given.get(2) or arguments[1], given.get(3, 0), dilation)
    if operator == "slice":
        return Window.of((1,), given.get(4, 1))
    if operator == "pixel_unshuffle":
        return Window.of((arguments[1],), arguments[1])
    return None


def window_of_layer(layer: nn.Module) -> Window | None:
    """The window of a convolution or pooling layer of torch.nn; None for others. Padding by name counts as none."""
    for types in (CONVOLUTIONS, TRANSPOSED, MAXIMA, AVERAGES, ROOTS):
        for axes, kind in enumerate(cast(Iterable[type[nn.Module]], types), 1):
            if isinstance(layer, kind):
                kernel, padding = cast(Any, layer).kernel_size, getattr(layer, "padding", 0)
                padding = 0 if isinstance(padding, str) else padding
                return Window.of(kernel, layer.stride or kernel, padding, getattr(layer, "dilation", 1), axes)
    return None


def per_axis(values: Any, count: int) -> tuple[int, ...]:
    """One value for each axis, from one for all; a line may stand in a picture of one row, its values are the last ones."""
    values = tuple(values) if isinstance(values, Iterable) else (values,)
    return values[-count:] if len(values) >= count else values * count


def times(sizes: Iterable[int]) -> str:
    """Sizes in words: "3x5"."""
    return "x".join(map(str, sizes))


def size_words(sizes: Sequence[int]) -> str:
    """Sizes in fewer words: one number where those along all axes are the same, else "3x5"."""
    return times(dict.fromkeys(sizes) if len(set(sizes)) == 1 else sizes)
