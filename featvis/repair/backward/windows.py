"""What strided layers read, in numbers, for rows and columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d)
WINDOWS = (*CONVOLUTIONS, *MAXIMA, nn.AvgPool1d, nn.AvgPool2d, nn.LPPool1d, nn.LPPool2d)
_SIGNALS = (nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d, nn.LPPool1d)


class Window(NamedTuple):
    """What a layer reads, for rows and columns; signals have one row."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]


def window_of(layer: nn.Module) -> Window:
    flat = isinstance(layer, _SIGNALS)

    def pair(value: Any, alone: int) -> tuple[int, int]:
        values = value if isinstance(value, tuple | list) else (value,)
        return (alone, values[-1]) if flat else (values[0], values[-1])

    kernel = cast(Any, layer).kernel_size
    stride = getattr(layer, "stride", None) or kernel
    padding = getattr(layer, "padding", 0)
    return Window(
        pair(kernel, 1),
        pair(stride, 1),
        pair(getattr(layer, "dilation", 1), 1),
        pair(0 if isinstance(padding, str) else padding, 0),
    )


def skips(window: Window) -> bool:
    """Whether there are phases that no window reads, as in a 1x1 convolution of stride 2."""
    axes = zip(window.kernel, window.stride, window.dilation, strict=True)
    return any(len({tap * dilation % stride for tap in range(kernel)}) < stride for kernel, stride, dilation in axes)


def strided_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Convolutions and pooling with a stride, by their first name."""
    for name, layer in module.named_modules():
        if isinstance(layer, WINDOWS) and max(window_of(layer).stride) > 1:
            yield name, layer


def planes_of(gradient: Tensor) -> Tensor:
    """The gradient as (B, C, H, W), signals with H = 1."""
    return gradient if gradient.ndim == 4 else gradient.unsqueeze(2)


def words(layer: nn.Module) -> str:
    """A layer's type, kernel and stride: "Conv2d 3x3, stride 2x2"."""
    if not isinstance(layer, WINDOWS):
        return type(layer).__name__
    kernel = window_of(layer)[0]
    return f"{type(layer).__name__} {times(kernel[int(isinstance(layer, _SIGNALS)) :])}, stride {stride_words(layer)}"


def stride_words(layer: nn.Module) -> str:
    """A layer's stride along its own axes: "2x2", or "2" for signals."""
    return times(window_of(layer)[1][int(isinstance(layer, _SIGNALS)) :])


def times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
