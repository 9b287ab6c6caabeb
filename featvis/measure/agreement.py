"""Whether sums that were read from a file are such as pictures give."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.sums import EnergySums, PhaseSums

ROUNDING = 1e-6
"""How far sums of a million pictures may be from what they would be without rounding, for each picture."""


def check_agreement(sums: EnergySums) -> None:
    """Raises FeatvisError for sums that no pictures give, naming what does not agree.

    All are finite float64. Counts are whole numbers, none above the number of pictures. Energies are never negative, so that no phase lies
    further below the mean than the mean itself; deviations add up to 0, and |sum d|^2 is at most the count times the sum of |d|^2.
    """
    for name, value in sums.tensors().items():
        if value.dtype != torch.float64 or not bool(value.isfinite().all()):
            raise FeatvisError(f"{name!r} holds {value.dtype}, or what is not finite; expected finite float64")
    for what, holds in _facts(sums):
        if not holds:
            raise FeatvisError(f"{what} not as pictures give them")


def _facts(sums: EnergySums) -> Iterator[tuple[str, bool]]:
    pictures = sums.whole.counts.sum()
    for part in (sums.whole, *sums.controls):
        yield f"counts at period {part.base} are", _counting(part.counts, pictures)
        yield f"tiles at period {part.base} are counted", _counting(part.tile_counts, pictures)
        yield f"sums at period {part.base} are", _deviating(part)
    yield "phases are", bool((sums.whole.sums >= -(1 + ROUNDING) * sums.whole.counts.view(-1, 1, 1)).all())
    yield "signed combs are", _counting(sums.comb[0], pictures) and _spread(sums.comb)
    shares = sums.high_frequency
    inside = bool((shares[1:] >= -ROUNDING * pictures).all() and (shares[1:] <= (1 + ROUNDING) * pictures).all())
    yield "high-frequency shares are", bool(shares[0] == pictures) and inside and _spread(shares)
    if sums.maps is not None:
        level, counts = sums.maps.sums.mean((1, 2)), sums.maps.counts
        yield "maps are counted", _counting(counts, pictures) and bool(counts.sum() == pictures)
        yield "maps are", bool((sums.maps.sums >= 0).all()) and _near(level, counts, counts)


def _counting(counts: Tensor, pictures: Tensor) -> bool:
    """Whether these are whole numbers from 0 to that of all pictures."""
    return bool(((counts >= 0) & (counts <= pictures) & (counts == counts.round())).all())


def _near(values: Tensor, expected: Tensor, counts: Tensor) -> bool:
    return bool(((values - expected).abs() <= ROUNDING * counts).all())


def _deviating(part: PhaseSums) -> bool:
    """Whether these are sums of deviations from a mean, with sums of squares that they can have."""
    level, tiles_level = part.sums.mean((1, 2)), part.tiles.mean((1, 2))
    even = _near(level, torch.zeros_like(level), part.counts)
    even &= _near(tiles_level, torch.zeros_like(tiles_level), part.tile_counts)
    size = part.sums.square().mean((1, 2)) if part.periods else level.square()
    bounded = size <= part.counts * part.squares[:, -1] * (1 + ROUNDING) + ROUNDING
    return even and bool((part.squares >= 0).all() and bounded.all())


def _spread(moments: Tensor) -> bool:
    """Whether these can be count, sum and sum of squares of anything."""
    count, total, squares = moments
    return bool(((squares >= 0) & (total.square() <= count * squares * (1 + ROUNDING) + ROUNDING)).all())
