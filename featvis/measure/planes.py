"""What the spectra of energy maps say of each frequency: how much they agree, and how far they stand above their neighbours."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.measure.periods import REPEATS

BORDER = 8
"""Pixels that are left out at each edge, where zero padding acts; an eighth of a side that is shorter than 64."""


REACH, REACH_OF_SIGNALS = 4, 12
"""Frequencies around a line, along each axis, that it is held against."""


CORRELATION = 4.0
"""Neighbours that count as one: a Hann window spreads each over three along each axis, and a mean logarithm varies more than a mean."""


EULER = 0.5772156649015329
"""An exponential law's mean logarithm is that of its mean, less this."""


STEEP = 1.5
"""A line that no two maps need agree on must stand so far above each of its neighbours."""


LOUDEST = 6.0
"""No single map, such as one of a picture of a fence, counts for more than a probability of exp(-6)."""


WHOLE = (2, 4, 8, 16, 32, 3, 6, 12, 5, 7)
"""Periods that a map is cropped to hold whole numbers of, as many as possible."""


FEWEST_REPLICATES = 4
"""Fewer say nothing of agreement."""


FEWEST_MAPS = 8
"""Fewer mean maps than this are split into tiles, which serve as replicates."""


ENOUGH_TILES = 16
"""Replicates that splitting aims at."""


SHORTEST_TILE = 32
"""Pixels of a tile's side, at least."""


def measured_length(length: int) -> tuple[int, int]:
    """Where the part of an axis that is searched begins, and its length: without the border, and of many whole periods."""
    border = min(BORDER, length // 8)
    inner = length - 2 * border
    best = max(range(max(1, int(0.8 * inner)), inner + 1), key=lambda size: (sum(size % p == 0 for p in WHOLE), size))
    return border + (inner - best) // 2, best


@dataclass(frozen=True)
class Plane:
    """What the spectra of all maps say of each frequency of the whole plane, (h, w).

    power: square of the sum of the coefficients. own: sum of their squares; floor: the same beside each frequency. shared: minus the
    logarithm of the probability that maps agree so well and that their sum stands so high above its neighbours, whichever is larger.
    each: the same for every map standing above its own neighbours, be it with another sign in each; maps that are alike count as
    fewer. Both are at most exponential where there is nothing."""

    power: Tensor
    own: Tensor
    floor: Tensor
    shared: Tensor
    each: Tensor

    @staticmethod
    def of(maps: Tensor) -> Plane | None:
        spectra = _spectra(maps)
        count, height, width = spectra.shape
        if count < FEWEST_REPLICATES or max(height, width) < 2 * REPEATS:
            return None
        powers = spectra.abs().square().clamp_min(1e-30)
        power, own = spectra.sum(0).abs().square().clamp_min(1e-30), powers.sum(0)
        # Gaussian coefficients of random phase give agreement a Beta law.
        agreement = (power / own / count).clamp(max=1 - 1e-15)
        agreed = -(count - 1) * torch.log1p(-agreement)
        mirrored = _mirrored(height, width)
        agreed[mirrored] = _surprise_of_real(agreement[mirrored], (count - 1) / 2)
        shared = torch.minimum(agreed, _above(power[None])[0])
        each = _above(powers).clamp(max=LOUDEST).sum(0)
        # A slope of the spectrum, or the foot of a line, stands above its mean neighbour too, but not above each.
        each = torch.where(own > STEEP * _highest_around(own), each, 0)
        # Sums of powers that go together vary more, as those of fewer maps do.
        independent = count / (1 + (count - 1) * _alike(spectra))
        degrees = torch.full_like(each, independent)
        surprise = -torch.special.gammaincc(degrees, each * (independent / count)).clamp_min(1e-300).log()
        return Plane(power, own, _neighbours(own[None])[0][0] / math.exp(EULER), shared, surprise)

    @property
    def size(self) -> tuple[int, int]:
        return self.power.shape[0], self.power.shape[1]

    @property
    def surprise(self) -> Tensor:
        """The larger of both."""
        return torch.maximum(self.shared, self.each)


def _above(powers: Tensor) -> Tensor:
    """Minus the logarithm of the probability that powers (R, h, w) stand so high above their neighbours in frequency."""
    level, number = _neighbours(powers)
    independent = number / CORRELATION
    height = powers / level
    surprise = independent * torch.log1p(height / independent)
    mirrored = _mirrored(*powers.shape[1:])
    share = height[:, mirrored] / (height[:, mirrored] + 2 * independent)
    surprise[:, mirrored] = _surprise_of_real(share, independent)
    return surprise


def _alike(spectra: Tensor) -> float:
    """How far the powers of two maps go together, 0 to 1: the square of their mean coherence, over all frequencies.

    A gradient that hardly depends on the picture gives all maps one pattern. Only phases are compared, so that lines count no more than
    other frequencies; normal coefficients of small coherence then show pi / 4 of it.
    """
    phases = spectra[:, admitted(*spectra.shape[1:])]
    count, tried = phases.shape
    if tried < 2:
        return 1.0
    phases = phases / phases.abs().clamp_min(1e-30)
    coherences = (phases @ phases.mH / tried).abs().square()
    pairs = (float(coherences.sum()) - count) / (count * (count - 1))
    # Of independent maps it is 1 / tried on average.
    squared = (pairs - 1 / tried) / (1 - 1 / tried)
    return min(1.0, max(0.0, squared) * (4 / math.pi) ** 2)


def _spectra(maps: Tensor) -> Tensor:
    """Fourier coefficients (R, h, w) of the maps, or of their tiles where these are few, phases counted from one pixel."""
    (top, height), (left, width) = (measured_length(size) for size in maps.shape[1:])
    maps = maps.double()
    inner = maps[:, top : top + height, left : left + width]
    if len(maps) >= FEWEST_MAPS:
        return _transformed(inner, (0, 0))
    down, across = _tiles(height, len(maps)), _tiles(width, len(maps))
    if down * across == 1:
        return _transformed(inner, (0, 0))
    high, wide = _tile_length(height // down), _tile_length(width // across)
    spectra = [
        _transformed(
            inner[:, row * high : (row + 1) * high, column * wide : (column + 1) * wide], (row * high, column * wide)
        )
        for row, column in itertools.product(range(height // high), range(width // wide))
    ]
    return torch.cat(spectra)


def _tiles(length: int, maps: int) -> int:
    """Parts of an axis."""
    wanted = math.ceil(math.sqrt(ENOUGH_TILES / maps))
    return max(1, min(wanted, length // SHORTEST_TILE))


def _tile_length(length: int) -> int:
    return max(range(max(1, int(0.8 * length)), length + 1), key=lambda size: (sum(size % p == 0 for p in WHOLE), size))


def _transformed(maps: Tensor, corner: tuple[int, int]) -> Tensor:
    height, width = maps.shape[1:]
    window = torch.outer(_hann(height), _hann(width)).to(maps.device)
    deviations = maps / maps.mean((1, 2), keepdim=True) - 1
    deviations = deviations - (deviations * window).sum((1, 2), keepdim=True) / window.sum()
    spectra = torch.fft.fft2(deviations * window) / window.sum()
    rows, columns = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.fftfreq(width, dtype=torch.float64)
    turns = rows[:, None] * corner[0] + columns * corner[1]
    return spectra * torch.polar(torch.ones_like(turns), -2 * math.pi * turns).to(spectra)


def _hann(length: int) -> Tensor:
    return torch.ones(1, dtype=torch.float64) if length == 1 else torch.hann_window(length, dtype=torch.float64)


def _neighbours(powers: Tensor) -> tuple[Tensor, int]:
    """The level that is expected at each frequency from its neighbours' logarithms, which few lines hardly raise; and how many these are.

    The larger of two: their mean, and what it is where they are curved. A smooth pattern that all pictures share has a spectrum like a
    hill, which stands above what is around its top and ridges.
    """
    height, width = powers.shape[1:]
    down, across = _reach(height, width)
    logarithms = powers.log()
    # The mean was taken off the maps, so that nothing is left at the constant term: it counts as the frequencies beside it.
    beside = [place for place in ((1 % height, 0), (0, 1 % width)) if place != (0, 0)]
    logarithms[:, 0, 0] = torch.stack([logarithms[:, row, column] for row, column in beside]).mean(0)
    rows, columns = torch.arange(-down, down + 1).to(powers)[:, None], torch.arange(-across, across + 1).to(powers)
    ring = ((rows.abs() > 1) | (columns.abs() > 1)).to(powers)
    # The middle's value where logarithms lie on a plane, and where they follow a parabola along each axis, by least squares.
    curves = torch.stack([ring, ring * rows.square(), ring * columns.square()]).flatten(1)
    flat, curved = ring / ring.sum(), torch.linalg.pinv(curves.T)[0].view_as(ring)
    weights = powers.new_zeros(height, width, dtype=torch.complex128)
    weights[rows.long() % height, columns.long() % width] = torch.complex(flat, curved)
    # Both are even, and the sums run around the plane: two transforms for both.
    levels = torch.fft.ifft2(torch.fft.fft2(logarithms) * torch.fft.fft2(weights))
    return torch.exp(torch.maximum(levels.real, levels.imag) + EULER), int(ring.sum())


def _reach(height: int, width: int) -> tuple[int, int]:
    reach = REACH if min(height, width) > 1 else REACH_OF_SIGNALS
    return min(reach, (height - 1) // 2), min(reach, (width - 1) // 2)


def _highest_around(power: Tensor) -> Tensor:
    """The largest of the neighbours of each frequency, (h, w)."""
    down, across = _reach(*power.shape)
    around = F.pad(power[None], (across, across, down, down), mode="circular")[0]
    height, width = power.shape
    found = torch.zeros_like(power)
    for row, column in itertools.product(range(-down, down + 1), range(-across, across + 1)):
        if max(abs(row), abs(column)) > 1:
            part = around[down + row : down + row + height, across + column : across + column + width]
            found = torch.maximum(found, part)
    return found


def _mirrored(height: int, width: int) -> Tensor:
    """The frequencies that are their own mirror image: their coefficients are real."""
    rows, columns = 2 * torch.arange(height) % height == 0, 2 * torch.arange(width) % width == 0
    return rows[:, None] & columns


def _surprise_of_real(share: Tensor, half: float) -> Tensor:
    """Minus the logarithm of a bound on the upper tail of a Beta(1/2, half) law, at least 0."""
    norm = math.lgamma(0.5) + math.lgamma(half) - math.lgamma(half + 0.5) + math.log(half)
    return (norm + share.log() / 2 - half * torch.log1p(-share)).clamp_min(0)


def admitted(height: int, width: int) -> Tensor:
    """The frequencies of half the plane at which a period of at most a quarter of each axis can lie."""
    rows, columns = torch.arange(height), torch.arange(width)
    up, along = torch.minimum(rows, height - rows), torch.minimum(columns, width - columns)
    fits = ((up == 0) | (up >= REPEATS))[:, None] & ((along == 0) | (along >= REPEATS))
    mirrored = ((-rows % height)[:, None] * width + (-columns % width)) < (rows[:, None] * width + columns)
    return fits & ~mirrored & ~((up == 0)[:, None] & (along == 0))
