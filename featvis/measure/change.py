"""Before and after: what a variant leaves of a checkerboard, and in which words, as far as the errors allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding, indistinct, size_of

PAIRED = 2.0
"""Standard errors by which a difference must be below 0, and an energy above it, before a sentence speaks of it."""

ALIKE = 1.5
"""Energies without a paired error are called about as uneven where neither is so many times the other."""


def beyond_error(difference: Estimate) -> int:
    """-1 where a paired difference is below 0 beyond its error, 1 where above, 0 where its error does not tell.

    One that is known without an error counts as it is.

    >>> beyond_error(Estimate(-0.1, 0.02)), beyond_error(Estimate(-0.1, 0.06)), beyond_error(Estimate(0.1, None))
    (-1, 0, 1)
    """
    if abs(difference.value) <= PAIRED * (difference.error or 0.0):
        return 0
    return 1 if difference.value > 0 else -1


@dataclass(frozen=True)
class Change:
    """A variant's energy, and how much it is above the first variant's, with the error of the difference; None where not known."""

    name: str
    energy: Estimate
    difference: Estimate | None = None

    @property
    def is_even(self) -> bool:
        """Whether the energy is within two errors of 0."""
        return self.energy.error is not None and self.energy.value <= PAIRED * self.energy.error

    def leaves(self) -> str:
        """What the variant leaves, as the end of a sentence."""
        return f"; {self.name} leaves {self.energy}, {indistinct(self.energy) if self.is_even else size_of(self.energy)[0]}"

    def beside(self, first: Change) -> str:
        """How much less or more it is than the first, by the paired error where there is one; empty where the errors do not tell."""
        if self.difference is None:
            return self._unpaired(first)
        change, error = self.difference
        if error is None:
            return ""
        if change == 0:
            return f"the same as {first.name}"
        if not beyond_error(self.difference):
            return f"as {first.name}, within the paired error"
        return indistinct(self.energy) if self.energy.value <= PAIRED * (self.energy.error or 0) else self._times(first)

    def _unpaired(self, first: Change) -> str:
        if self.is_even:
            return indistinct(self.energy)
        if self is first or first.is_even or None in (self.energy.error, first.energy.error):
            return ""
        if 1 / ALIKE < first.energy.value / self.energy.value < ALIKE:
            return f"about as uneven as {first.name}"
        return self._times(first)

    def _times(self, first: Change) -> str:
        if first.energy.value <= 0:
            return f"more than {first.name}"
        ratio = first.energy.value / self.energy.value
        times = max(ratio, 1 / ratio)
        said = f"{times:.2g}" if times < 100 else f"{times:.0f}"
        return f"{said} times {'less' if ratio > 1 else 'more'} than {first.name}"


def least(others: Sequence[Change]) -> Change | None:
    """The variant with the least energy of those whose difference to the first is beyond its error."""
    lower = [one for one in others if one.difference is not None and beyond_error(one.difference) < 0]
    return min(lower, key=lambda one: one.energy.value, default=None)


def remedy(first: Finding, others: Sequence[Change]) -> str:
    """What the best variant leaves, as the end of a sentence about the first; empty where there is nothing to remove."""
    best = least(others)
    if best is not None:
        return best.leaves()
    return "; no variant lowers it beyond the error" if others and first.period is not None else ""
