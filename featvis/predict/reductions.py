"""How expected energy passes backwards through what is made of many values: extremes, ranks, norms and deviations."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from featvis.predict.draws import shares
from featvis.predict.steps import Flow, Step


def extreme(step: Step) -> Flow:
    """A maximum, minimum or median over whole dimensions, any value alike; without dimensions over all."""
    energy, count = _spread(step, step.argument(1), step.argument(2, False))
    yield step.argument(0), energy / count


def ranked(step: Step) -> Flow:
    """Values by rank along one dimension: each rank is any value alike."""
    operation, place = step.operation, {"sort": 1}.get(step.operation.operator, 2)
    dimension = operation.keywords.get("dim", step.argument(place, -1))
    value = step.argument(0)
    if operation.operator == "sort" and isinstance(dimension, bool):
        dimension = step.argument(2, -1)
    energy = step.energy
    if operation.operator == "kthvalue" and not step.argument(3, False):
        energy = energy.unsqueeze(dimension)
    shape = step.shape(value)
    yield value, (energy.sum(dimension, keepdim=True) / shape[dimension]).expand(shape)


def running_extreme(step: Step) -> Flow:
    """The largest or smallest so far, any value so far alike."""
    value, dimension = step.argument(0), step.argument(1)
    energy = step.energy.movedim(dimension, -1)
    shares = energy / torch.arange(1, energy.shape[-1] + 1).to(energy)
    yield value, shares.flip(-1).cumsum(-1).flip(-1).movedim(-1, dimension)


def norm(step: Step) -> Flow:
    """Of order 2, 1 or infinity: slopes whose squares add up to 1, are each 1, or are 1 for one value."""
    order = step.argument(1, 2)
    if order not in (1, 2, math.inf):
        raise ValueError(f"it is of order {order}")
    energy, count = _spread(step, step.argument(2), step.argument(3, False))
    yield step.argument(0), energy if order == 1 else energy / count


def deviation(step: Step) -> Flow:
    """A standard deviation or variance of values of variance 1."""
    keywords = step.operation.keywords
    energy, count = _spread(step, step.argument(1), keywords.get("keepdim", False))
    correction = keywords.get("correction")
    energy = energy / (count * max(count - (1 if correction is None else correction), 1))
    yield step.argument(0), energy * 4 if step.operation.operator == "var" else energy


def log_sum(step: Step) -> Flow:
    """The logarithm of a sum of exponentials: slopes are the softmax."""
    energy, count = _spread(step, step.argument(1), step.argument(2, False))
    yield step.argument(0), energy * float(shares(count)[0].square().mean()) if count > 1 else energy


def _spread(step: Step, dimensions: int | Iterable[int] | None, keep: bool) -> tuple[Tensor, int]:
    """The energy of a reduction for each value that went in, and how many went into each result."""
    shape, energy = step.shape(step.argument(0)), step.energy
    given = (dimensions,) if isinstance(dimensions, int) else tuple(dimensions or ())
    reduced = sorted(dimension % len(shape) for dimension in given) or list(range(len(shape)))
    if not keep:
        for dimension in reduced:
            energy = energy.unsqueeze(dimension)
    return energy.expand(shape), math.prod(shape[dimension] for dimension in reduced)
