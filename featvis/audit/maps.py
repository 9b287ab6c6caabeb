"""The checkerboard in maps from anywhere, such as attributions of another tool: no network, no stride."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.measure.finding import counted
from featvis.measure.layouts import as_gradients
from featvis.measure.maps import Found
from featvis.measure.periods import REPEATS, measurable
from featvis.measure.sums import EnergySums

USUAL = 8
"""The longest period that is measured where nothing repeats; its divisors are measured too."""

SMOOTH = 0.1
"""A share of high frequencies below this is that of a map that was enlarged; white noise has .75."""


def audit_maps(
    maps: Sequence[Any], period: int | None = None, layout: str | None = None, names: Sequence[str] = ()
) -> Audit:
    """Measure maps as if they were gradients, and find the periods in which they repeat.

    maps: one or several at each place, tensors or NumPy arrays, all of one size; they are gone through twice. layout: as
    `checkerboard_energy` takes it, but three dimensions are never those of signals. period: the longest that is measured, in pixels; by
    default the strongest that the maps show, or 8. names: of the maps, for what is said of one. Maps that are zero all over are left out,
    and counted in the notes. Raises FeatvisError for maps of several sizes, with NaN or infinity, and where none is left.

    >>> comb = torch.tensor([[1.0, 2.0], [2.0, 4.0]]).repeat(24, 24)
    >>> audit = featvis.audit_maps([comb * torch.randn(8, 48, 48)], layout="bhw")
    >>> audit.found[0].period, audit.total_stride
    ((2, 2), 2)
    """
    first = EnergySums(1, size=_size(maps, layout))
    dropped = _added(first, maps, layout, names)
    if not first.pictures:
        raise FeatvisError(f"{counted(dropped, 'map')} of nothing but zeros; nothing can be measured")
    shorter = min(first.size or (1, 1))
    if shorter < 2 * REPEATS:
        raise FeatvisError(f"maps of {shorter} pixels hold no period four times; give larger ones")
    if period is not None and measurable(period, shorter) < period:
        raise FeatvisError(
            f"a period of {period} does not fit four times into {shorter} pixels; give one of at most {shorter // REPEATS}"
        )
    found = first.compute(find=True).found or ()
    sums = EnergySums(period or _strongest(found, shorter) or measurable(USUAL, shorter), size=first.size)
    _added(sums, maps, layout, names)
    energies = sums.compute(find=True)
    notes = [f"{counted(dropped, 'map')} of nothing but zeros left out"] if dropped else []
    if energies.high_frequency_share.value < SMOOTH:
        notes.append(
            "the maps are smooth, as enlarged ones are: what enlarging adds at its own ratio is measured with the rest, or hides it; "
            "give the maps in the size that they were made in"
        )
    return Audit.of(energies, notes=tuple(notes), settings={"maps": True})


def _size(maps: Sequence[Any], layout: str | None) -> tuple[int, int]:
    if not len(maps):
        raise FeatvisError("no maps were given")
    height, width = as_gradients(maps[0], layout, signals=False).shape[-2:]
    return height, width


def _added(sums: EnergySums, maps: Sequence[Any], layout: str | None, names: Sequence[str]) -> int:
    """Add all maps, one by one; how many were zero all over."""
    dropped = 0
    for number in range(len(maps)):
        try:
            for one in as_gradients(maps[number], layout, signals=False).split(1):
                if tuple(one.shape[-2:]) != sums.size:
                    sizes = (" x ".join(map(str, size)) for size in (one.shape[-2:], sums.size or ()))
                    raise FeatvisError("{} pixels, where others have {}; give those of one size".format(*sizes))
                if bool((one == 0).all()):
                    dropped += 1
                else:
                    sums.update(one)
        except FeatvisError as error:
            raise FeatvisError(f"{names[number] if names else f'map {number}'}: {error}") from None
    return dropped


def _strongest(found: Sequence[Found], length: int) -> int | None:
    """The shortest period of both axes that holds the strongest one found, where it fits."""
    whole = [one for one in found if one.period is not None and one.energy is not None]
    if not whole:
        return None
    strongest = max(whole, key=lambda one: one.energy.value if one.energy is not None else 0.0)
    period = math.lcm(*(strongest.period or (1, 1)))
    return period if period * REPEATS <= length else None
