"""Pixel phases: which there are, what is measured of a map, and its mean by phase."""

from __future__ import annotations

import math

from torch import Tensor

from featvis.errors import FeatvisError


def laid_out(profile: Tensor, height: int, width: int) -> Tensor:
    """A profile (..., rows, columns) repeated over a map from its first pixel, (..., height, width)."""
    down, across = math.ceil(height / profile.shape[-2]), math.ceil(width / profile.shape[-1])
    return profile.tile(down, across)[..., :height, :width]


def periods_of(total_stride: int) -> list[int]:
    """The divisors above 1, ascending: each period that strides with this product can leave."""
    return [period for period in range(2, total_stride + 1) if total_stride % period == 0]


def control_periods(total_stride: int) -> list[int]:
    """The three smallest primes that do not divide the total stride: periods that no layer can cause."""
    primes = (n for n in range(2, total_stride + 100) if all(n % d for d in range(2, math.isqrt(n) + 1)))
    return [prime for prime in primes if total_stride % prime][:3]


def fold(values: Tensor, rows: int, columns: int) -> Tensor:
    """Mean over the whole periods of each phase: (..., H, W) to (..., rows, columns)."""
    height, width = values.shape[-2] // rows, values.shape[-1] // columns
    cropped = values[..., : height * rows, : width * columns]
    # Rows first: whole lines are added, which is how they lie in memory.
    lines = cropped.unflatten(-2, (height, rows)).mean(-3)
    return lines.unflatten(-1, (width, columns)).mean(-2)


def phase_profile(energy: Tensor, period: int) -> Tensor:
    """Mean energy of each pixel phase, relative to the mean of all.

    energy: (B, H, W), non-negative, H and W at least one period; whole periods are used, from the first pixel.
    Returns (B, period, period), mean 1 per picture. Raises FeatvisError where a picture is smaller than a period, or where its
    energy is zero or not finite.
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


def interior(length: int, period: int) -> slice:
    """The pixels of one axis that are measured: whole periods, without the outermost one where at least four fit."""
    border = period if length >= 4 * period else 0
    return slice(border, border + (length - 2 * border) // period * period)
