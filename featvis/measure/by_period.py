"""Energies by period as tables list them: those of the strides, those that were found, and the controls beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from featvis.measure.estimates import Estimate
from featvis.measure.finding import Measured, period_words, simple, true_controls


class Split(Measured, Protocol):
    """Energies with the signed combs beside them, such as an Audit or the Energies of a metric."""

    @property
    def signed_comb(self) -> Mapping[int, Estimate]: ...


class Line(NamedTuple):
    """A line of a table. period: as it is written, "4" or "4 x 8"; kind: "period" of the strides, "found", or "control"."""

    period: str
    kind: str
    energy: Estimate
    exact: Estimate | None = None
    signed_comb: Estimate | None = None


def lines_by_period(measured: Split) -> list[Line]:
    """A line for each period, ascending: those of the strides, others that the gradients show, and the controls."""
    lines: list[tuple[tuple[int, int], Line]] = []
    for period, energy in measured.energy.items():
        exact, comb = measured.exact_periods.get(period), measured.signed_comb.get(period)
        lines.append(((period, period), Line(f"{period}", "period", energy, exact, comb)))
    for one in measured.found or ():
        if one.period is None or one.energy is None or simple(one.period) in measured.energy:
            continue
        written = period_words(simple(one.period))
        lines.append(((max(one.period), min(one.period)), Line(written, "found", one.energy)))
    for period, energy in true_controls(measured).items():
        lines.append(((period, period), Line(f"{period}", "control", energy)))
    return [line for _, line in sorted(lines, key=lambda one: one[0])]
