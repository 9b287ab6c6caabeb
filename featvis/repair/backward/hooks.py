"""What is done to the gradient at a layer: forward hooks that hand it a view of its input, or its output behind a gradient of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.measure.phases import laid_out
from featvis.repair.backward.windows import planes_of, window_in_plane

BOXES = 4
"""How often `backward_blur` averages over a stride: the fewest with a centred kernel that lower E tenfold on a trained network."""

SMALL = 0.01
"""What keeps the surrogate of max-pooling finite, as in Lucid."""

PROFILE = "backward_profile"
"""The buffer of a layer that its gradient is divided by the root of; it is saved with the weights."""


def _treated(arguments: tuple[Any, ...], function: Callable[[Tensor], Tensor]) -> tuple[Any, ...] | None:
    """The arguments of a layer, the gradient at the first of them passed through a function."""
    features = arguments[0] if arguments else None
    if not (isinstance(features, Tensor) and features.requires_grad and torch.is_grad_enabled()):
        return None
    # A view of the input belongs to this layer alone, where others may read the same tensor.
    own = features.view_as(features)
    own.register_hook(function)
    return (own, *arguments[1:])


def even_out(layer: nn.Module, profile: Tensor) -> None:
    """Have a layer divide the gradient at its input by the root of a profile, after all else that is done to it there."""
    like = next(layer.parameters(), profile)
    layer.register_buffer(PROFILE, profile.to(like.device, like.dtype))
    if evening not in layer._forward_pre_hooks.values():
        layer.register_forward_pre_hook(evening, prepend=True)


def evening(layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A forward hook: divides the gradient at the layer's input by the root of its profile, phases that are never read filled."""

    def even(gradient: Tensor) -> Tensor:
        window = window_in_plane(layer)
        profile = cast(Tensor, getattr(layer, PROFILE))
        return made_even(gradient, profile, None if window is None or not window.skips else window.stride)

    return _treated(arguments, even)


def made_even(
    gradient: Tensor, profile: Tensor, stride: tuple[int, ...] | None = None, skipped: Tensor | None = None
) -> Tensor:
    """A gradient over the root of its phase profile, (C or 1, rows, columns).

    stride: where it is given, the gradient is first spread over it, so that phases without any are filled. skipped: (C, 1, 1), the
    channels for which this is done, where not for all.
    """
    planes = planes_of(gradient)
    if stride is not None:
        # Each pixel takes the sum over one stride, by its root: every phase is in every sum once, and the energy stays.
        padded = F.pad(planes, (stride[1] - 1, 0, stride[0] - 1, 0))
        spread = F.avg_pool2d(padded, stride, stride=1) * math.sqrt(math.prod(stride))
        planes = spread if skipped is None else torch.where(skipped, spread, planes)
    return (planes / laid_out(profile.sqrt(), *planes.shape[-2:]).to(planes)).reshape(gradient.shape)


def blurring(layer: nn.Module, arguments: tuple[Any, ...], boxes: int = BOXES) -> tuple[Any, ...] | None:
    """A forward hook: averages the gradient at the layer's input over one stride, so many times."""

    def blur(gradient: Tensor) -> Tensor:
        planes = planes_of(gradient)
        window = window_in_plane(layer)
        assert window is not None
        stride = window.stride
        # An odd number of averages over an even stride lies half a pixel off.
        margins = [
            boxes * (step - 1) // 2 + side * (boxes * (step - 1) % 2) for step in stride[::-1] for side in (0, 1)
        ]
        planes = F.pad(planes, margins)
        for _ in range(boxes):
            planes = F.avg_pool2d(planes, stride, stride=1)
        return planes.reshape(gradient.shape)

    return _treated(arguments, blur)


def smooth(layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """A forward hook: the layer's maxima, behind the gradient of their smooth surrogate."""
    features = arguments[0]
    if not (features.requires_grad and torch.is_grad_enabled()):
        return None
    return cast(Tensor, _SmoothMaximum.apply(features, output.detach(), layer))


class _SmoothMaximum(torch.autograd.Function):
    """The maxima forward; backward the gradient of mean(x^2) / (SMALL + mean|x|) over the same windows."""

    @staticmethod
    def forward(context: Any, features: Tensor, maxima: Tensor, layer: nn.Module) -> Tensor:
        context.save_for_backward(features)
        context.layer = layer
        return maxima.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (features,), layer = context.saved_tensors, context.layer
        average = F.avg_pool1d if isinstance(layer, nn.MaxPool1d) else F.avg_pool2d
        window = layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, False
        with torch.enable_grad():
            features = features.detach().requires_grad_()
            smooth = average(features.square(), *window) / (SMALL + average(features.abs(), *window))
            (passed,) = torch.autograd.grad(smooth, features, gradient)
        return passed, None, None
