"""Estimates with standard errors; without torch, as figures and sentences need no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

SMALLEST = 1e-12
"""An error up to this is that of the computer's arithmetic, and written as 0."""


class Estimate(NamedTuple):
    """A measured value and its standard error, None where there are too few replicates for one.

    >>> print(Estimate(0.05176, 0.00381))
    0.0518 ± 0.0038
    """

    value: float
    error: float | None

    def __str__(self) -> str:
        """Value and error to two digits of the error, "0.0518 ± 0.0038"; three digits of the value where no error tells."""
        if self.error is None:
            return _without_sign_of_zero(f"{self.value:.3g}")
        if not self.error > SMALLEST:
            return f"{Estimate(self.value, None)} ± 0"
        # The exponent is taken after rounding: 0.0996 has two digits as 0.10.
        exponent = int(f"{self.error:.1e}".partition("e")[2])
        digits = max(1 - exponent, 0)
        return f"{_without_sign_of_zero(f'{self.value:.{digits}f}')} ± {self.error:.{digits}f}"

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)


def words(estimate: Estimate | None) -> str:
    """An estimate as it is written everywhere, "-" where there is none."""
    return "-" if estimate is None else str(estimate)


def _without_sign_of_zero(number: str) -> str:
    return number.removeprefix("-") if float(number) == 0 else number


def clearest(estimates: Mapping[int, Estimate]) -> int | None:
    """The period whose estimate stands out most from its error, from 0 where it has none; None where there is no period."""

    def clearness(period: int) -> float:
        value, error = estimates[period]
        return value / error if error else value

    return max(estimates, key=clearness, default=None)
