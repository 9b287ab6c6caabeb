"""The grid of a map: how far apart its pixels lie on the input, and which dimensions they run along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from featvis.tracing.places import Place, nanmean, varying


@dataclass(frozen=True)
class Grid:
    """Where a tensor's pixels lie on the input: the stride of each spatial axis, its size, and which dimension it is.

    A stride is 0 along an axis that is one place. `dimensions` is None where the tensor holds the pixels in another order, such as tokens.
    """

    strides: tuple[Fraction, ...]
    sizes: tuple[int, ...]
    dimensions: tuple[int, ...] | None

    @staticmethod
    def of(place: Place, shape: Sequence[int]) -> Grid | None:
        """The grid of a tensor whose elements lie at a place; None where all of them are one, or repeat nowhere."""
        if len(shape) == len(place.axes) + 2 and any(len(varying(axis)) > 1 for axis in place.axes):
            # Pixels that were moved into the channels lie around the middle of all of them.
            place = place.with_axes(nanmean(axis, [1]) for axis in place.axes)
        strides = place.strides
        if None in strides or not any(strides):
            return None
        dimensions = place.dimensions(len(shape))
        inside = dimensions is not None and all(0 <= dimension < len(shape) for dimension in dimensions)
        sizes = tuple(shape[dimension] for dimension in dimensions) if dimensions is not None and inside else ()
        known = tuple(Fraction(0) if stride is None else stride for stride in strides)
        return Grid(known, sizes, dimensions if inside else None)
