"""Means, shares and ratios of independent values with their standard errors, and rank correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from featvis.measure.estimates import Estimate


def mean_of(values: Sequence[float] | Tensor) -> Estimate:
    """The mean of two independent values or more, and its standard error."""
    values = torch.as_tensor(values).double()
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))


def share_of(successes: Tensor) -> Estimate:
    """How many of (N,) booleans are true, and the standard deviation of the share that they leave in doubt.

    With Jeffreys' prior, so that none or all of a few do not come out as certain.
    """
    count, true = len(successes), float(successes.sum())
    expected = (true + 0.5) / (count + 1)
    return Estimate(true / count, math.sqrt(expected * (1 - expected) / (count + 2)))


def difference_of(first: Tensor, second: Tensor) -> Estimate:
    """The difference of two shares of the same (N,), paired, with the error as in `share_of`."""
    more, less = float((first & ~second).sum()), float((~first & second).sum())
    one, other = ((count + 0.5) / (len(first) + 1.5) for count in (more, less))
    variance = (one + other - (one - other) ** 2) / (len(first) + 2.5)
    return Estimate((more - less) / len(first), math.sqrt(variance))


def ratio_of(numerators: Tensor, denominators: Tensor) -> Estimate:
    """The mean of one over the mean of the other, both (N,), paired, with the error of its first-order expansion."""
    numerators, denominators = numerators.double(), denominators.double()
    value = numerators.mean() / denominators.mean()
    return Estimate(float(value), mean_of((numerators - value * denominators) / denominators.mean()).error)


def ranks_of(values: Sequence[float] | Tensor) -> Tensor:
    """The rank of each value, from 0; equal ones in their order."""
    return torch.as_tensor(values).argsort().argsort().double()


def rank_correlation(first: Sequence[float] | Tensor, second: Sequence[float] | Tensor) -> float:
    """Spearman's."""
    return float(torch.corrcoef(torch.stack((ranks_of(first), ranks_of(second))))[0, 1])
