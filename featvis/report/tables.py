"""The rows of a page's tables, the marks of its charts, and the same numbers as a table to download."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from featvis.audit import Audit
from featvis.comparison import Comparison
from featvis.estimates import Estimate

LINEAR, LINEAR_PART = 1e-3, 0.7
"""An axis of energies is linear up to here, on this part of a decade, and logarithmic beyond."""


@dataclass(frozen=True)
class Scale:
    """An axis of energies, linear near 0 and logarithmic beyond; places are in percent of its length."""

    low: float
    high: float

    @classmethod
    def holding(cls, estimates: Iterable[Estimate]) -> Scale:
        """The scale that all estimates fit on with their errors, at least from 0 to 1."""
        ends = [value + sign * (error or 0) for value, error in estimates for sign in (-1, 1)]
        return cls(min(-LINEAR / 2, *ends, 0) * 1.3, max(1.0, *ends, 0) * 1.6)

    def place(self, value: float) -> float:
        low, high = _bent(self.low), _bent(self.high)
        return round(100 * (_bent(value) - low) / (high - low), 3)

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """Labels and places of 0 and the powers of ten."""
        powers = [10.0**power for power in range(-3, 7)]
        values = [0.0, *powers, *(-power for power in powers)]
        return [(f"{v:g}".replace("-", "−"), self.place(v)) for v in sorted(values) if self.low <= v <= self.high]

    def mark(self, estimate: Estimate) -> tuple[float, float, float]:
        """Places of the value and of the ends of its error bar."""
        value, error = estimate.value, estimate.error or 0.0
        return self.place(value), self.place(value - error), self.place(value + error)


def _bent(value: float) -> float:
    size = abs(value) / LINEAR
    return math.copysign(LINEAR_PART * size if size <= 1 else LINEAR_PART + math.log10(size), value)


COLUMNS = ("subject", "measure", "layer", "period", "row", "column", "value", "standard error")


def csv_of(audit: Audit, comparison: Comparison | None = None) -> str:
    """Every number of a page, one a line, with the columns COLUMNS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    subjects = [("audit", audit)]
    if comparison is not None:
        subjects += [(f"variant {row.name}", row.audit) for row in comparison.rows]
    for subject, one in subjects:
        for measure, layer, period, (row, column), estimate in _numbers(one):
            writer.writerow((subject, measure, layer, period, row, column, estimate.value, estimate.error))
    if comparison is not None:
        for variant in comparison.rows:
            for period, estimate in variant.difference.items():
                subject = f"variant {variant.name}"
                writer.writerow((subject, "difference of energy", "", period, "", "", estimate.value, estimate.error))
    return text.getvalue()


_Number = tuple[str, str, int | str, tuple[int | str, int | str], Estimate]


def _numbers(audit: Audit) -> Iterator[_Number]:
    nowhere = ("", "")
    for measure, by_period in (
        ("energy", audit.energy),
        ("control", audit.controls),
        ("energy of exactly this period", audit.exact_periods),
        ("signed comb", audit.signed_comb),
    ):
        for period, estimate in by_period.items():
            yield measure, "", period, nowhere, estimate
    yield "high-frequency share", "", "", nowhere, audit.high_frequency_share
    yield "mean gradient flatness", "", "", nowhere, Estimate(audit.mean_gradient_flatness, None)
    for row, values in enumerate(audit.profile):
        for column, value in enumerate(values):
            yield "profile", "", audit.total_stride, (row, column), Estimate(value, None)
    for culprit in audit.culprits:
        yield "own energy, measured", culprit.layer, culprit.period, nowhere, culprit.measured
        if culprit.injected is not None:
            yield "own energy, predicted", culprit.layer, culprit.period, nowhere, Estimate(culprit.injected, None)
        for period, estimate in culprit.left.items():
            yield "energy left", culprit.layer, period, nowhere, estimate
        for period, share in culprit.shares.items():
            yield "share", culprit.layer, period, nowhere, Estimate(share, None)
