"""Periods in pixels: which a total stride can leave, which it cannot, and values split by exact period; without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar


class _Subtracts(Protocol):
    def __sub__(self, other: Any, /) -> Any: ...


Value = TypeVar("Value", bound=_Subtracts)


def periods_of(total_stride: int) -> list[int]:
    """The divisors above 1, ascending: each period that strides with this product can leave."""
    return [period for period in range(2, total_stride + 1) if total_stride % period == 0]


def control_periods(total_stride: int) -> list[int]:
    """The three smallest primes that do not divide the total stride: periods that no layer can cause."""
    primes = (n for n in range(2, total_stride + 100) if all(n % d for d in range(2, math.isqrt(n) + 1)))
    return [prime for prime in primes if total_stride % prime][:3]


REPEATS = 4
"""A period can be told from position in the picture only where it repeats so often along its axis."""


def measurable(total_stride: int, length: int) -> int:
    """The longest divisor of a total stride that fits four times into so many pixels, 1 where none does.

    >>> measurable(32, 224), measurable(32, 64)
    (32, 16)
    """
    return max(p for p in (1, *periods_of(total_stride)) if total_stride % p == 0 and (p == 1 or REPEATS * p <= length))


def exact_periods(cumulative: Mapping[int, Value]) -> dict[int, Value]:
    """What belongs to each period alone, by Moebius inversion; the values add up to that of the longest period.

    cumulative: the value of each divisor above 1 of the longest period, which includes those of its own divisors: energies,
    profiles, or anything else that can be subtracted.

    >>> exact_periods({2: 3, 4: 5, 8: 5})
    {2: 3, 4: 2, 8: 0}
    """
    exact: dict[int, Value] = {}
    for period in sorted(cumulative):
        value = cumulative[period]
        for divisor, share in exact.items():
            if period % divisor == 0:
                value = value - share
        exact[period] = value
    return exact
