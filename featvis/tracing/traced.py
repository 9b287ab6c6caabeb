"""The periods that strides lead to, and what is unknown of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from featvis.tracing.grids import Grid

if TYPE_CHECKING:
    from featvis.tracing.trace import Operation

REPEATS = 4
"""A period can be told from position only where it fits so many times along its axis."""

STILL = Fraction(1, 4)
"""A grid that moves by less than this over the whole axis, in pixels, repeats: means over windows that padding cuts off are that uneven."""


@dataclass(frozen=True)
class TracedPeriods:
    """What strides lead to, by axis of the input, in pixels.

    strides: the least common multiple of the strides along each axis, 1 without. windows: the same of windows that elements are mixed in,
    such as those of attention, 1 without. drifting: distances that are no whole number of pixels within a quarter of the axis. lost: what
    cannot be followed, as "operator in layer"; periods behind it are unknown.
    """

    strides: tuple[int, ...]
    windows: tuple[int, ...]
    drifting: tuple[Fraction, ...] = ()
    lost: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

    @classmethod
    def of(cls, operations: Sequence[Operation], sizes: tuple[int, ...], last: Grid | None = None) -> TracedPeriods:
        """What operations on an input of these sizes lead to, and the grid of what the last of them gives."""
        strides, windows = [1] * len(sizes), [1] * len(sizes)
        drifting, lost = dict[Fraction, None](), dict[str, None]()
        found = [
            (number, axis, stride)
            for operation in operations
            for number, place in enumerate(operation.places)
            for axis, stride in enumerate(place.strides)
        ]
        found += [(0, axis, stride) for axis, stride in enumerate(last.strides if last is not None else ())]
        for operation in operations:
            if operation.lost:
                lost[f"{operation.lost} in {operation.layer or 'the network itself'}"] = None
        for number, axis, stride in found:
            if not stride:
                continue
            whole = round(stride)
            if abs(stride - whole) * sizes[axis] < STILL * stride:
                stride = Fraction(whole)
            if stride.denominator > 1 and stride.numerator * REPEATS > sizes[axis]:
                drifting[stride] = None
            elif number == 0:
                strides[axis] = math.lcm(strides[axis], stride.numerator)
            else:
                windows[axis] = math.lcm(windows[axis], stride.numerator)
        return cls(tuple(strides), tuple(windows), tuple(drifting), tuple(lost), sizes)

    @property
    def period(self) -> tuple[int, int] | None:
        """(rows, columns): that of the strides, and of the windows too where both together fit; None where it is unknown."""
        if self.lost or self.drifting:
            return None
        both = tuple(map(math.lcm, self.strides, self.windows))
        fits = all(REPEATS * period <= size for period, size in zip(both, self.sizes, strict=True))
        rows, *columns = (1, *(both if fits else self.strides))[-2:]
        return rows, columns[0]
