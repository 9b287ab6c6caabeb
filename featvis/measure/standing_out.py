"""Whether a checkerboard stands out: a period's energy beside that of the frequencies next to its own, which no stride makes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.periods import periods_of
from featvis.measure.phases import fold, interior, laid_out

REPEATS = 4
"""Periods in a window, so that three frequencies lie between one harmonic of the period and the next, on each axis."""

LEVEL = 0.005
"""A period stands out where its chance is at most this. Content is not quite normal: 1 set of natural pictures in 100 does all the same."""


@dataclass(frozen=True)
class Verdict:
    """Which periods stand out, as far as pictures are large enough to tell.

    longest: the longest period that was judged, 1 where none fits four times into every picture. chances: by exact period, how often its
    frequencies hold as much energy as they do where no grid is. Content in the same place of all pictures, such as faces cropped
    alike, fills all frequencies of a neighbourhood, and a grid only its own.
    """

    longest: int = 1
    chances: dict[int, float] = field(default_factory=dict)

    @property
    def standing_out(self) -> tuple[int, ...]:
        """The exact periods whose chance is at most 1 in 200, ascending."""
        return tuple(period for period, chance in self.chances.items() if chance <= LEVEL)

    def shown(self, profile: Sequence[Sequence[float]]) -> list[list[float]]:
        """A phase profile of the longest period that was judged, from a longer one; the same where none was."""
        if self.longest == 1:
            return [list(row) for row in profile]
        shown: list[list[float]] = fold(torch.tensor(profile, dtype=torch.float64), self.longest, self.longest).tolist()
        return shown

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {"longest": self.longest, "chances": {str(period): chance for period, chance in self.chances.items()}}


class Surroundings:
    """The energy of pictures or gradients at the frequencies of every period and at those beside them, batch after batch.

    total_stride: the longest period, in pixels; its divisors are judged with it. Only sums are kept.
    """

    def __init__(self, total_stride: int) -> None:
        self.total_stride = total_stride
        self.pictures = 0
        self.counts = dict.fromkeys(periods_of(total_stride), 0)
        self.sums = {
            period: torch.zeros((REPEATS * period, REPEATS * period), dtype=torch.float64) for period in self.counts
        }

    def update(self, values: Tensor) -> None:
        """Add pictures or gradients, (B, C, H, W); the same part of them as for the energies is measured.

        Raises FeatvisError where one is zero all over that part, or holds NaN or infinity.
        """
        height, width = values.shape[-2:]
        inside = values.detach()[..., interior(height, self.total_stride), interior(width, self.total_stride)]
        energy = inside.cpu().double().square().sum(1)
        level = energy.mean((-2, -1), keepdim=True)
        if not bool((level.isfinite() & (level > 0)).all()):
            raise FeatvisError(
                "a picture or gradient holds NaN, infinity or nothing but zeros; nothing can be told of it"
            )
        self.pictures += len(energy)
        for period in self.counts:
            window = REPEATS * period
            if min(energy.shape[-2:]) >= window:
                self.sums[period] += fold(energy / level, window, window).sum(0)
                self.counts[period] += len(energy)

    def verdict(self) -> Verdict:
        """The verdict on all pictures so far, up to the longest period that fits four times into each of them."""
        fitting = [period for period, count in self.counts.items() if count == self.pictures > 0]
        return Verdict(max(fitting), chances(self.sums[max(fitting)])) if fitting else Verdict()


def chances(profile: Tensor) -> dict[int, float]:
    """How often a period's harmonics stand as high above the frequencies beside them where no grid is, by exact period.

    profile: mean energy of the phases of a window, (4 P, 4 P). Where neighbouring coefficients are alike and normal, be they noise or
    content, a harmonic's power over the mean power around it, short of the next multiple of 1 / P on either axis, follows an F
    distribution. The chances of a period's harmonics are brought together as in Fisher's Statistical Methods for Research Workers (1925):
    minus the sum of their logarithms follows a gamma distribution. So one harmonic alone can stand out, such as that of stripes, and
    several that are each only somewhat higher than what is around them. Short periods are judged first, and one that stands out is divided
    out of the profile: noise that is louder on some phases has coefficients that are alike, not independent, at the other periods.
    """
    profile, window = profile.double(), len(profile)
    longest = window // REPEATS
    judged = {}
    for period in periods_of(longest):
        power = torch.fft.fft2(profile).abs().square()
        logarithms = [
            _logarithm_of_chance(power, REPEATS * row, REPEATS * column)
            for row, column in itertools.product(range(longest), repeat=2)
            if longest // math.gcd(row, column, longest) == period
            and (row, column) <= (-row % longest, -column % longest)
        ]
        exponents = torch.tensor([len(logarithms), -sum(logarithms)], dtype=torch.float64)
        judged[period] = float(torch.special.gammaincc(*exponents))
        if judged[period] <= LEVEL:
            grid = laid_out(fold(profile, period, period), window, window)
            profile = profile / torch.where(grid > 0, grid, 1)
    return judged


def chance_in_words(chance: float) -> str:
    """A chance with four digits, or that it is smaller than they can show.

    >>> chance_in_words(0.00123), chance_in_words(1e-9)
    ('chance 0.0012', 'chance below 0.0001')
    """
    return f"chance {chance:.4f}" if chance >= 0.0001 else "chance below 0.0001"


def _logarithm_of_chance(power: Tensor, row: int, column: int) -> float:
    """Of one harmonic: the logarithm of how often it is so much stronger than those around it where no grid is."""
    around = _around(power, row, column)
    # What rounding leaves of nothing, beside the constant term, is no power.
    ratio, others = float(power[row, column] / around.mean().clamp_min(1e-20 * power[0, 0])), len(around)
    if (row, column) == (-row % len(power), -column % len(power)):
        # A coefficient that is its own mirror image is real, and its neighbours stand there twice.
        return math.log(_chance_of_square(ratio, others))
    return -others * math.log1p(ratio / others)


def _chance_of_square(square: float, degrees: int) -> float:
    """How often the square of Student's t is at least this, for an even number of degrees of freedom; at least 1e-15."""
    cosine = degrees / (degrees + square)
    term, total = 1.0, 0.0
    for number in range(0, degrees, 2):
        total += term
        term *= cosine * (number + 1) / (number + 2)
    return max(1e-15, 1 - math.sqrt(1 - cosine) * total)


def _around(power: Tensor, row: int, column: int) -> Tensor:
    """Power at the frequencies around a harmonic; those of a harmonic along one axis lie along the same."""
    near = sorted(range(1 - REPEATS, REPEATS), key=abs)
    rows, columns = ((torch.tensor(near if place else [0]) + place) % len(power) for place in (row, column))
    return power[rows[:, None], columns].flatten()[1:]
