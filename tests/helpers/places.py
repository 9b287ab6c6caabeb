"""Where an operation's results lie: as its rule tells, and as its derivative shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from featvis.tracing.following import follow
from featvis.tracing.places import Place
from featvis.tracing.steps import Step


class _Caught(TorchDispatchMode):
    """Keeps the operation that is called."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        results = function(*arguments, **(keywords or {}))
        self.call = function, arguments, keywords or {}, tree_leaves(results)
        return results


def told(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    """The coordinates along each axis of the picture of what one operation returns, in the shape of its result."""
    pixels = torch.randn(shape, dtype=torch.float64)
    with _Caught() as caught, torch.no_grad():
        result = function(pixels)
    places = (Place.of_pixels(shape),)
    step = Step(*caught.call, lambda tensor: places if tensor is pixels else ())
    (place,) = follow(step)[0]
    return [axis.expand(result.shape) for axis in place.axes]


def shown(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    """The same as the mean of the pixels' coordinates, weighted by the derivative; NaN where nothing is read."""
    pixels = torch.randn(shape, dtype=torch.float64)
    weights = torch.autograd.functional.jacobian(function, pixels)
    result = weights.shape[: weights.ndim - len(shape)]
    weights = weights.reshape(*result, pixels.numel())
    return [(weights * axis.expand(shape).flatten()).sum(-1) / weights.sum(-1) for axis in Place.of_pixels(shape).axes]


def agree(function: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (1, 2, 8, 12)) -> bool:
    """Whether both are the same."""
    both = zip(told(function, shape), shown(function, shape), strict=True)
    return all(torch.allclose(first, second, equal_nan=True, atol=1e-9) for first, second in both)
