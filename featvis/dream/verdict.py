"""What there is to say of dreams: the checkerboard in what they drew."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from featvis.dream.comparison import Measured
from featvis.errors import FeatvisError
from featvis.measure.change import Change, least
from featvis.measure.estimates import Estimate
from featvis.measure.finding import CLEAR, Finding
from featvis.measure.phases import fold
from featvis.measure.sums import Energies, checkerboard_energy

TOO_SMALL = "too small or too even for a checkerboard to be measured."


def verdict(found: Sequence[Measured]) -> str:
    """One sentence: the checkerboard in what the first dream drew, and the dream that leaves least of it."""
    first = found[0].picture
    if first is None:
        return f"What the dream drew is {TOO_SMALL}"
    said = finding(first).clause()
    if first.energy:
        said += " in the fine detail of what the dream drew"
        said += f" at a {found[0].title}" if len(found) > 1 else ""
    best = least(changes(found))
    if best is not None:
        said += best.leaves()
    return f"{said}."


def together(found: Sequence[Measured]) -> Energies | None:
    """The energies of what dreams of one layer drew, taken together; None where they are too small or even."""
    try:
        return checkerboard_energy(torch.stack([one.detail for one in found]), found[0].dream.total_stride)
    except FeatvisError:
        return None


def verdict_of_all(energies: Energies | None) -> str:
    """One sentence about what dreams drew, from their energies together."""
    if energies is None:
        return f"What the dreams drew is {TOO_SMALL}"
    drawn = " in the fine detail of what the dreams drew" if energies.energy else ""
    return f"{finding(energies).clause()}{drawn}."


def changes(found: Sequence[Measured]) -> list[Change]:
    """E of what each dream but the first drew, at the period of the first's sentence, with the difference; empty where it is not known."""
    period = spoken_period(found[0].picture)
    first, *others = ((one.title, energy_of(one, period)) for one in found)
    before = first[1]
    if before is None:
        return []
    return [
        Change(
            f"“{title}”",
            energy,
            Estimate(energy.value - before.value, math.hypot(energy.error or 0, before.error or 0)),
        )
        for title, energy in others
        if energy is not None
    ]


def spoken_period(energies: Energies | None) -> int:
    """The period that the sentence names, in pixels; 1 where nothing is measured."""
    spoken = 1 if energies is None else finding(energies).spoken
    assert isinstance(spoken, int)
    return spoken


def finding(energies: Energies) -> Finding:
    """The checkerboard in what a dream drew: the longest period that stands above its error by itself, with all that it holds.

    Of the periods of the strides alone, which are known: a dream's ornaments repeat too.
    """
    exact, total = energies.exact_periods, energies.total_stride
    clear = {period: part for period, part in exact.items() if part.value > CLEAR * (part.error or 0)}
    spoken = max(clear, default=total)
    return Finding(total, spoken, energies.energy.get(spoken), clear, pictures=energies.pictures)


def energy_of(one: Measured, period: int) -> Estimate | None:
    """E of what a dream drew, at a period."""
    return None if one.picture is None else one.picture.energy.get(period)


def mean_tile(energies: Energies | None, period: int) -> Tensor | None:
    """How energy falls on the phases of a period, (period, period), mean 1; None where it is not known."""
    if energies is None or period < 2 or energies.total_stride % period:
        return None
    return fold(energies.profile, period, period)
