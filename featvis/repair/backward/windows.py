"""The strided layers whose gradients are treated, as pictures: signals have one row."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from featvis.tracing.windows import TRANSPOSED, Window, times, window_of_layer


def window_in_plane(layer: nn.Module) -> Window | None:
    """What a convolution or pooling reads along rows and columns; None for other layers and for volumes."""
    window = None if isinstance(layer, TRANSPOSED) else window_of_layer(layer)
    return None if window is None or len(window.stride) > 2 else window.in_plane()


def strided_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Convolutions and pooling with a stride, by their first name."""
    for name, layer in module.named_modules():
        window = window_in_plane(layer)
        if window is not None and max(window.stride) > 1:
            yield name, layer


def planes_of(gradient: Tensor) -> Tensor:
    """The gradient as (B, C, H, W), signals with H = 1."""
    return gradient if gradient.ndim == 4 else gradient.unsqueeze(2)


def words(layer: nn.Module) -> str:
    """A layer's type, kernel and stride: "Conv2d 3x3, stride 2x2"."""
    window = window_of_layer(layer)
    if window is None or isinstance(layer, TRANSPOSED):
        return type(layer).__name__
    return f"{type(layer).__name__} {times(window.kernel)}, stride {stride_words(layer)}"


def stride_words(layer: nn.Module) -> str:
    """A layer's stride along its own axes: "2x2", or "2" for signals."""
    window = window_of_layer(layer)
    return "" if window is None else times(window.stride)
