"""How expected energy passes backwards through functions of single values: nonlinearities, gates, products, quotients and choices.

Such operations in a row count as one function. Its slopes are squared and averaged over draws: each activation that is no such function
of another one is a standard normal, independent of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from featvis.predict.draws import CHOICES, PRODUCTS, QUANTILES, STEPS, Draws, leaves, shares, to_complex
from featvis.predict.pooling import back_along_axes, pooling_weights
from featvis.predict.steps import Flow, Step
from featvis.tracing.trace import Operation, Value

GATES = "where activations meet in a product, a quotient or a choice, each counts as an independent standard normal"
DIVISORS = "where an activation is divided by another, what flows through the divisor is left out"


def pointwise(step: Step) -> Flow:
    """The mean squared slope of the whole function that ends here, to each activation that it starts from."""
    if step.operation.operator in STEPS:
        return
    if any(isinstance(leaf, complex) for leaf in leaves(step.operation)):
        raise ValueError("it turns by a complex number")
    if to_complex(step.operation):
        # The real part of a gradient is half of it.
        yield step.argument(0), step.energy / 2
        return
    if not step.learned or step.operation.outputs[0] in step.apart:
        yield from _alone(step)
        return
    pooled = _pooled_power(step)
    if pooled:
        yield from pooled
        return
    draws = Draws(step, QUANTILES)
    slopes = draws.slopes()
    if len(draws.starts) > 1:
        step.notes.add(GATES)
        draws = Draws(step, 16 * QUANTILES)
        slopes = draws.slopes()
    if draws.divisors:
        step.notes.add(DIVISORS)
    for number, slope in slopes.items():
        gain = float(slope.square().mean())
        value = Value(number)
        yield value, (step.energy * (gain if math.isfinite(gain) else 1.0)).sum_to_size(step.shape(value))


def softmax(step: Step) -> Flow:
    """The mean squared slope by its own input and by the others', for standard normal ones; 1 where only the architecture counts."""
    value, dimension = step.argument(0), step.argument(1)
    if not step.learned:
        yield value, step.energy
        return
    count = step.energy.shape[dimension]
    if count == 1:
        return
    one, two = shares(count)
    own, other = float((one * (1 - one)).square().mean()), float((one * two).square().mean())
    yield value, step.energy * own + (step.energy.sum(dimension, keepdim=True) - step.energy) * other


def _alone(step: Step) -> Flow:
    """Beside tensors, or where only the architecture counts: the slopes of this operation by itself, for activations of 1.

    Numbers and masks count as they are, tensors where weights are learned, choices half, and nonlinearities with 1.
    """
    operation, energy, learned = step.operation, step.energy, step.learned
    values = dict.fromkeys(leaf for leaf in leaves(operation) if isinstance(leaf, Value))
    masked = operation.operator == "where" and isinstance(operation.arguments[0], Tensor)
    chosen = operation.operator in CHOICES and not masked
    filled = operation.operator == "masked_fill" and isinstance(operation.arguments[1], Value)
    if chosen or filled or (not learned and operation.operator not in PRODUCTS):
        share = energy.new_full((), math.sqrt(0.5) if chosen else 1.0)
        slopes = {value: share for value in values if not _decides(step, value)}
    else:
        slopes = _slopes(operation, values, energy, learned)
    divisor = step.argument(1) if operation.operator == "div" else None
    if divisor in slopes and len(slopes) > 1:
        step.notes.add(DIVISORS)
        del slopes[divisor]
    elif len(slopes) > 1:
        step.notes.add(GATES)
    for value, slope in slopes.items():
        yield value, (energy * slope.square()).sum_to_size(step.shape(value))


def _decides(step: Step, value: Value) -> bool:
    """Whether a value is only compared."""
    maker = step.makers.get(value.number)
    chosen = step.operation.operator == "where" and value == step.operation.arguments[0]
    return chosen or (maker is not None and maker.operator in STEPS)


def _slopes(operation: Operation, values: Iterable[Value], energy: Tensor, learned: bool) -> dict[Value, Tensor]:
    """By each traced argument, for each value of the result; a blend in equal parts where its weight is traced."""
    size = 0.5 if operation.operator == "lerp" else 1.0
    ones = {value: energy.new_full(energy.shape, size).requires_grad_() for value in values}

    def sized(leaf: Tensor) -> Tensor:
        if leaf.dtype == torch.bool or not leaf.ndim:
            return leaf
        return leaf.abs().to(energy) if learned else energy.new_full((), size).expand(leaf.shape)

    with torch.enable_grad():
        arguments = tree_map_only(Tensor, sized, (operation.arguments, operation.keywords))
        arguments, keywords = tree_map_only(Value, ones.__getitem__, arguments)
        result = operation.overload(
            *(item.clone() if isinstance(item, Tensor) else item for item in arguments), **keywords
        )
        found = torch.autograd.grad(result.sum(), list(ones.values()), allow_unused=True)
    return {value: slope for value, slope in zip(ones, found, strict=True) if slope is not None}


def _pooled_power(step: Step) -> list[tuple[Value, Tensor]]:
    """The flow through a root of means in windows of powers, as in `nn.LPPool2d`, as one; empty where this is no such root."""
    root, exponent = step.operation, step.argument(1)
    if root.operator != "pow" or not isinstance(exponent, float) or not 0 < exponent < 1:
        return []
    scale, pool = 1.0, _before(step, root)
    while pool is not None and pool.operator in ("mul", "relu", "abs", "squeeze"):
        scale *= math.prod(leaf for leaf in leaves(pool) if pool.operator == "mul" and isinstance(leaf, int | float))
        pool = _before(step, pool)
    if pool is None or pool.operator not in ("avg_pool1d", "avg_pool2d") or pool.window is None:
        return []
    power = _before(step, pool)
    power = _before(step, power) if power is not None and power.operator == "unsqueeze" else power
    if power is None or power.operator != "pow" or not math.isclose(power.arguments[1] * exponent, 1):
        return []
    axes = int(pool.operator[-2])
    window, source = pool.window.on(axes), power.arguments[0].number
    sizes = zip(step.shapes[pool.inputs[0]][-axes:], pool.shape[-axes:], strict=True)
    geometry = zip(sizes, window.kernel, window.stride, window.padding, strict=True)
    reads = [
        (pooling_weights(*both, kernel, stride, padding) > 0).double() for both, kernel, stride, padding in geometry
    ]
    flowing = back_along_axes(step.energy.reshape(pool.shape), reads).reshape(step.shapes[source])

    count, dimensions = math.prod(window.kernel), [0]
    copies = [Draws(step, 16 * QUANTILES, dimensions) for _ in range(count)]
    with torch.enable_grad():
        total = torch.stack([copy.of(source).abs() for copy in copies]).pow(1 / exponent).sum(0)
        whole = (scale / count * total[total > 0]).pow(exponent).sum()
        starts = copies[0].starts
        slopes = torch.autograd.grad(whole, list(starts.values()))
    gains = {Value(number): float(slope.square().mean()) for number, slope in zip(starts, slopes, strict=True)}
    return [(value, (flowing * gain).sum_to_size(step.shape(value))) for value, gain in gains.items()]


def _before(step: Step, operation: Operation) -> Operation | None:
    """The operation that made the last traced argument."""
    return step.makers.get(operation.inputs[-1]) if operation.inputs else None
