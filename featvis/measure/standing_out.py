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
from featvis.measure.phases import fold, interior

REPEATS = 4
"""Periods in a window, so that three frequencies lie between one harmonic of the period and the next, on each axis."""

DRAWS = 2000

LEVEL = 0.01
"""A period stands out where its chance is at most this; where no grid is, 1 in 100 does all the same."""


@dataclass(frozen=True)
class Verdict:
    """Which periods stand out, as far as pictures are large enough to tell.

    longest: the longest period that was judged, 1 where none fits four times into every picture. chances: by exact period, how often
    frequencies beside those of the period hold as much energy as they do. Content in the same place of all pictures, such as faces cropped
    alike, fills all frequencies of a neighbourhood, and a grid only its own.
    """

    longest: int = 1
    chances: dict[int, float] = field(default_factory=dict)

    @property
    def standing_out(self) -> tuple[int, ...]:
        """The exact periods whose chance is at most 1 in 100, ascending."""
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
    """How often frequencies beside those of a period hold as much energy, by exact period.

    profile: mean energy of the phases of a window, (4 P, 4 P). In each draw one frequency stands for every harmonic of the period: itself,
    or one around it, short of the next multiple of 1 / P on either axis. The chance is the share of draws whose powers add up to those of
    the harmonics. A permutation test: exact where neighbouring coefficients are alike in distribution, be they noise or content.
    """
    power = torch.fft.fft2(profile.double()).abs().square()
    random = torch.Generator().manual_seed(0)
    window = len(profile)
    longest = window // REPEATS
    held = dict.fromkeys(periods_of(longest), 0.0)
    drawn = {period: torch.zeros(DRAWS, dtype=torch.float64) for period in held}
    for row, column in itertools.product(range(0, window, REPEATS), repeat=2):
        period = longest // math.gcd(row // REPEATS, column // REPEATS, longest)
        mirrored = (-row % window, -column % window)
        if period == 1 or (row, column) > mirrored:
            continue
        around = _around(power, row, column)
        chosen = torch.randint(0, len(around), (DRAWS,), generator=random)
        powers, weight = around[chosen], 2
        if (row, column) == mirrored:
            # Its coefficient is real and has no twin: of the others' coefficients, the real part at a random phase is compared.
            phase = torch.pi * torch.rand(DRAWS, generator=random, dtype=torch.float64)
            powers, weight = torch.where(chosen == 0, powers, 2 * powers * phase.cos().square()), 1
        held[period] += weight * float(around[0])
        drawn[period] += weight * powers
    return {period: (int((drawn[period] >= held[period] * (1 - 1e-9)).sum()) + 1) / (DRAWS + 1) for period in held}


def _around(power: Tensor, row: int, column: int) -> Tensor:
    """Power at a harmonic, first, and at the frequencies around it; those of a harmonic along one axis lie along the same."""
    near = sorted(range(1 - REPEATS, REPEATS), key=abs)
    rows, columns = ((torch.tensor(near if place else [0]) + place) % len(power) for place in (row, column))
    return power[rows[:, None], columns].flatten()
