"""Pixel phases: what is measured of a map, its mean by phase, and that mean's parts by exact period."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.periods import exact_periods, periods_of


def interior(length: int, period: int) -> slice:
    """The pixels of one axis that are measured: whole periods, without the outermost one where at least four fit."""
    border = period if length >= 4 * period else 0
    return slice(border, border + (length - 2 * border) // period * period)


def fold(values: Tensor, rows: int, columns: int) -> Tensor:
    """Mean over the whole periods of each phase: (..., H, W) to (..., rows, columns)."""
    height, width = values.shape[-2] // rows, values.shape[-1] // columns
    cropped = values[..., : height * rows, : width * columns]
    # Rows first: whole lines are added, which is how they lie in memory.
    lines = cropped.unflatten(-2, (height, rows)).mean(-3)
    return lines.unflatten(-1, (width, columns)).mean(-2)


def laid_out(profile: Tensor, height: int, width: int) -> Tensor:
    """A profile (..., rows, columns) repeated over a map from its first pixel, (..., height, width)."""
    down, across = math.ceil(height / profile.shape[-2]), math.ceil(width / profile.shape[-1])
    return profile.tile(down, across)[..., :height, :width]


def phase_profile(energy: Tensor, period: int) -> Tensor:
    """Mean energy of each pixel phase, relative to the mean of all.

    energy: (B, H, W), non-negative, H and W at least one period; whole periods are used, from the first pixel.
    Returns (B, period, period), mean 1 per picture. Raises FeatvisError where a picture is smaller than a period, or where its
    energy is zero or not finite.

    >>> energy = torch.tensor([[1.0, 3.0], [1.0, 3.0]]).repeat(4, 4)
    >>> phase_profile(energy.unsqueeze(0), 2).tolist()
    [[[0.5, 1.5], [0.5, 1.5]]]
    """
    if min(energy.shape[-2:]) < period:
        height, width = energy.shape[-2:]
        raise FeatvisError(
            f"a map of {height} x {width} pixels is smaller than the period of {period}; give a larger one"
        )
    profile = fold(energy, period, period)
    mean = profile.mean((-2, -1), keepdim=True)
    if not bool((mean.isfinite() & (mean > 0)).all()):
        raise FeatvisError("an energy map holds NaN, infinity or nothing but zeros; its phase profile is not defined")
    return profile / mean


def period_parts(profile: Tensor) -> dict[int, Tensor]:
    """A profile (..., rows, columns) split by exact period; with its mean the parts, of its own shape, add up to it."""
    rows, columns = profile.shape[-2:]
    deviations = profile - profile.mean((-2, -1), keepdim=True)
    periods = periods_of(math.lcm(rows, columns))
    return exact_periods(
        {p: laid_out(fold(deviations, math.gcd(p, rows), math.gcd(p, columns)), rows, columns) for p in periods}
    )


def shrunk(parts: Mapping[int, Tensor], energies: Mapping[int, Tensor | float]) -> Tensor:
    """The sum of a mean profile's parts without their noise: each is shrunk by how much of its energy is more than that.

    parts: by exact period, as from `period_parts`; energies: the mean square of each without bias, 0 where it is not given. The share that
    stays is the estimate without bias over the plain one, after James and Stein 1961.
    """
    kept = []
    for period, part in parts.items():
        plain = part.square().mean((-2, -1))
        share = torch.where(plain > 0, energies.get(period, 0.0) / plain, 0.0).clamp(0, 1)
        kept.append(part * share[..., None, None])
    return torch.stack(kept).sum(0)


def expected_profile(profile: Tensor | Sequence[Sequence[float]], energies: Mapping[int, Estimate]) -> Tensor:
    """A measured phase profile without its noise, (P, P), mean 1: what `equalise` divides by.

    profile: (P, P), the mean over pictures; energies: E of each exact period, without bias.
    """
    mean = torch.as_tensor(profile, dtype=torch.float64)
    parts = period_parts(mean)
    if not parts:
        return torch.ones_like(mean)
    return (1 + shrunk(parts, {period: energy.value for period, energy in energies.items()})).clamp_min(0)
