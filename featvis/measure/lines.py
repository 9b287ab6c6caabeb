"""Periods that the gradients themselves show, without knowing the network: lines in the spectrum of the mean energy map.

Pictures have nothing in common but what the network does at the same place of each. So the coefficient of one picture's energy map at a
frequency has a random phase, and the sum over pictures stands out only where a grid repeats. A line must also stand above its neighbours in
frequency: objects in the middle and padding at the edge are shared by all pictures as well, but fill whole neighbourhoods.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.measure.periods import REPEATS
from featvis.measure.planes import Plane, admitted

FALSE_ALARMS = 0.01
"""The probability that anything at all is found where there is nothing, over all frequencies tried."""


RESOLUTION, SHARPEST, SPREAD = 1 / 3, 0.02, 2.0
"""Cycles over the whole map within which a frequency is taken for that of a whole period: at most, for the strongest of lines, and what
is added to that for one as strong as its neighbours, falling as the root of its strength. The textures of few pictures spread faint lines
by up to a third of a cycle; a resize with align_corners moves its grid by two thirds or more."""


@dataclass(frozen=True)
class Line:
    """A frequency at which all pictures' energy maps agree.

    frequency: cycles per pixel along rows and columns. power: of the mean map there, relative to its squared mean; both of a pair of
    mirrored frequencies are counted. chance: the probability of any such line where there is nothing. period: pixels along each axis, 1
    where nothing changes along it; None where no whole number of pixels fits."""

    frequency: tuple[float, float]
    power: float
    chance: float
    period: tuple[int, int] | None


@dataclass(frozen=True)
class Comb:
    """A period that was found, or a grid that repeats at no whole period.

    period: (rows, columns) in pixels, 1 along an axis on which nothing repeats; None for a grid that drifts. frequency: of its strongest
    line, cycles per pixel. chance: the probability of finding any where there is nothing."""

    period: tuple[int, int] | None
    frequency: tuple[float, float]
    chance: float


def find_combs(maps: Tensor) -> tuple[Comb, ...]:
    """The periods at which energy maps repeat, the strongest first; none where nothing stands out.

    maps: (G, H, W), mean energy maps of G groups of pictures, each of positive mean; H = 1 for signals. At most one false alarm in a
    hundred calls, whatever the number of frequencies. Periods from 2 pixels to a quarter of what is left without the border are looked for.
    """
    plane = Plane.of(maps)
    if plane is None:
        return ()
    lines = _lines(plane)
    combs = _combined(lines)
    combs = _apart(_extended(plane, lines, combs), lines, plane.size)
    drifting = [
        line
        for line in lines
        if line.period is None and not any(_belongs(line.frequency, comb, plane.size) for comb in combs)
    ]
    grid = [Comb(None, line.frequency, line.chance) for line in drifting[:1]]
    return (*grid, *combs) if drifting and drifting[0] is lines[0] else (*combs, *grid)


def _apart(combs: Sequence[Comb], lines: Sequence[Line], size: tuple[int, int]) -> list[Comb]:
    """Without combs whose strongest line lies beside a harmonic of one that holds more lines."""

    def held(comb: Comb) -> int:
        return sum(_belongs(line.frequency, comb, size) for line in lines)

    kept: list[Comb] = []
    for comb in sorted(combs, key=held, reverse=True):
        if not any(_belongs(comb.frequency, fuller, size) for fuller in kept):
            kept.append(comb)
    return [comb for comb in combs if comb in kept]


def _belongs(frequency: tuple[float, float], comb: Comb, size: tuple[int, int]) -> bool:
    """Whether a frequency lies beside a harmonic of a comb, from which a faint line cannot be told."""
    return all(
        abs(value * period - round(value * period)) * length <= period
        for value, period, length in zip(frequency, comb.period or (1, 1), size, strict=True)
    )


def _lines(plane: Plane) -> list[Line]:
    """Single frequencies that stand out, the strongest first."""
    height, width = plane.size
    fitting = admitted(height, width)
    tried = int(fitting.sum())
    if not tried:
        return []
    limit = math.log(3 * tried / FALSE_ALARMS)
    peak = F.max_pool2d(F.pad(plane.power[None], (1, 1, 1, 1), mode="circular"), 3, 1)[0]
    places = (fitting & (plane.surprise > limit) & (plane.power >= peak)).nonzero().tolist()
    found = list[tuple[float, float]]()
    by_axis = (list[tuple[float, float]](), list[tuple[float, float]]())
    for row, column in sorted(places, key=lambda place: -float(plane.power[place[0], place[1]])):
        agreeing = bool(plane.shared[row, column] > limit)
        excess = plane.power - plane.own if agreeing else plane.own - plane.floor
        height_above = float(plane.power[row, column] / plane.floor[row, column])
        for axis, known in enumerate(by_axis):
            frequency, doubt = _refined(excess, row, column, axis)
            known.append((frequency, min(RESOLUTION, SHARPEST + SPREAD / math.sqrt(height_above) + doubt)))
        twin = (-row % height, -column % width) == (row, column)
        pairs = (plane.power[row, column] - plane.own[row, column]) * (1 if twin else 2)
        chance = min(1.0, 3 * tried * math.exp(-float(plane.surprise[row, column])))
        found.append((float(pairs), chance))
    periods = [likeliest_periods(known, size) for known, size in zip(by_axis, plane.size, strict=True)]
    return [
        Line((down[0], across[0]), pairs, chance, None if rows is None or columns is None else (rows, columns))
        for (pairs, chance), down, across, rows, columns in zip(found, *by_axis, *periods, strict=True)
    ]


def _refined(excess: Tensor, row: int, column: int, axis: int) -> tuple[float, float]:
    """A line's frequency along an axis, cycles per pixel, and its doubt, cycles over the map: exact for a pure tone under a Hann window.

    Between the transform's own frequencies, from the larger neighbour. An envelope that all pictures share raises both of them: what both
    together say then differs by the doubt.
    """
    size = excess.shape[axis]
    place = (row, column)[axis]
    if size == 1 or place == 0:
        return 0.0, 0.0
    line = (excess[:, column] if axis == 0 else excess[row]).clamp_min(0).sqrt()
    before, here, after = (float(line[(place + step) % size]) for step in (-1, 0, 1))
    side, ratio = (1, after / here) if after > before else (-1, before / here)
    offset = side * (2 * ratio - 1) / (1 + ratio)
    doubt = abs(offset - 2 * (after - before) / (before + 2 * here + after))
    place = place if place <= size / 2 else place - size
    return (place + max(-0.5, min(0.5, offset))) / size, doubt


def whole_periods(frequency: float, length: int, near: float = RESOLUTION) -> list[int]:
    """The whole periods with a harmonic at a frequency that no shorter one has, the nearest first; 1 alone at frequency 0.

    At most a quarter of the length, in pixels. near: cycles over the length that the harmonic may lie off.
    """
    found = [
        period
        for period in range(1, max(length // REPEATS, 1) + 1)
        if _off(frequency, period) * length <= near and math.gcd(round(frequency * period), period) == 1
    ]
    return sorted(found, key=lambda period: _off(frequency, period))


def _off(frequency: float, period: int) -> float:
    """Cycles per pixel to the nearest harmonic."""
    return abs(frequency - round(frequency * period) / period)


def likeliest_periods(lines: Sequence[tuple[float, float]], length: int) -> list[int | None]:
    """The whole period of each line along an axis: of those that lie so near, the one among whose harmonics most lines lie.

    lines: frequencies, and the cycles over the length that a harmonic may lie off each. Long periods have harmonics so close together that
    one of 32 pixels is near one of 31 too. Where as many lines lie among those of several, it is the nearest; None where there is none.
    """
    held: dict[int, int] = {}
    found: list[int | None] = []
    for frequency, reach in lines:
        periods = whole_periods(frequency, length, reach)
        for period in periods:
            if period not in held:
                held[period] = sum(_off(other, period) * length <= its for other, its in lines)
        found.append(max(periods, key=lambda period: held[period], default=None))
    return found


def _combined(lines: Iterable[Line]) -> list[Comb]:
    """Lines whose periods divide each other along both axes are harmonics of one comb."""
    combs: list[Comb] = []
    for line in lines:
        if line.period is None:
            continue
        for number, comb in enumerate(combs):
            assert comb.period is not None
            if all(_divide(a, b) for a, b in zip(comb.period, line.period, strict=True)):
                rows, columns = (math.lcm(a, b) for a, b in zip(comb.period, line.period, strict=True))
                combs[number] = replace(comb, period=(rows, columns), chance=min(comb.chance, line.chance))
                break
        else:
            combs.append(Comb(line.period, line.frequency, line.chance))
    return _absorbed(combs)


def _absorbed(combs: Sequence[Comb]) -> list[Comb]:
    """Without combs whose period divides that of another one."""
    kept: list[Comb] = []
    for comb in combs:
        others = [other for other in combs if other is not comb and other.period != comb.period]
        within = any(
            all(longer % own == 0 for longer, own in zip(other.period or (), comb.period or (), strict=True))
            for other in others
        )
        if not within and comb.period not in [other.period for other in kept]:
            kept.append(comb)
    return kept


def _divide(first: int, second: int) -> bool:
    return first % second == 0 or second % first == 0


def _extended(plane: Plane, lines: Sequence[Line], combs: list[Comb]) -> list[Comb]:
    """The combs with longer periods whose harmonics stand out together, though none of them does alone."""
    height, width = plane.size
    taken = torch.zeros(height, width, dtype=torch.bool)
    for line in lines:
        for sign in (1, -1):
            place = [round(sign * value * size) for value, size in zip(line.frequency, plane.size, strict=True)]
            for row, column in itertools.product(range(-2, 3), repeat=2):
                taken[(place[0] + row) % height, (place[1] + column) % width] = True
    candidates = [period for period in _candidates(height, width) if _may_extend(period, lines, combs)]
    found: list[Comb] = []
    for period in candidates:
        places = [place for place in _harmonics(period, height, width) if not taken[place]]
        if not places:
            continue
        surprise = torch.stack([plane.shared[place] for place in places]).sum()
        chance = float(torch.special.gammaincc(torch.tensor(float(len(places)), dtype=torch.float64), surprise))
        chance *= 3 * len(candidates)
        if chance <= FALSE_ALARMS:
            strongest = max(places, key=lambda place: float(plane.power[place]))
            frequency = tuple((p if p <= n / 2 else p - n) / n for p, n in zip(strongest, plane.size, strict=True))
            found.append(Comb(period, (frequency[0], frequency[1]), chance))
    merged = list(combs)
    for comb in sorted(found, key=lambda comb: comb.chance):
        fitting = next((n for n, known in enumerate(merged) if _chained(known, comb)), None)
        if fitting is None:
            merged.append(comb)
        else:
            known = merged[fitting]
            rows, columns = (math.lcm(a, b) for a, b in zip(known.period or (1, 1), comb.period or (1, 1), strict=True))
            merged[fitting] = replace(known, period=(rows, columns))
    return _absorbed(merged)


def _chained(comb: Comb, other: Comb) -> bool:
    pairs = zip(comb.period or (1, 1), other.period or (1, 1), strict=True)
    return all(_divide(a, b) for a, b in pairs)


def _may_extend(period: tuple[int, int], lines: Sequence[Line], combs: Sequence[Comb]) -> bool:
    """Whether a period is twice or three times one that was found, along the longer axis; any may be found where no line was."""
    if not lines:
        return True
    return any(max(period) in (2 * max(comb.period), 3 * max(comb.period)) for comb in combs if comb.period)


def _candidates(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Periods of both axes or of one whose harmonics are frequencies of the transform."""
    for period in range(2, max(height, width) // REPEATS + 1):
        down = height % period == 0 and REPEATS * period <= height
        across = width % period == 0 and REPEATS * period <= width
        if across:
            yield 1, period
        if down:
            yield period, 1
        if down and across:
            yield period, period


def _harmonics(period: tuple[int, int], height: int, width: int) -> list[tuple[int, int]]:
    """Where the harmonics of exactly this period lie, one of each mirrored pair."""
    found = set()
    for row, column in itertools.product(*map(range, period)):
        exact = math.lcm(Fraction(row, period[0]).denominator, Fraction(column, period[1]).denominator)
        if exact == max(period):
            place = row * height // period[0], column * width // period[1]
            found.add(min(place, (-place[0] % height, -place[1] % width)))
    return sorted(found)
