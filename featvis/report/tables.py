"""The rows and axes of a page's charts, and the same numbers as a table to download."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from featvis.audit.comparison import Row
from featvis.audit.record import Audit
from featvis.measure.estimates import Estimate
from featvis.measure.finding import LIMITS, period_words, simple
from featvis.plots.palette import SEQUENTIAL
from featvis.report.views import coloured, data_url

LINEAR, LINEAR_PART = 1e-3, 0.7
"""An axis of energies is linear up to here, on this part of a decade, and logarithmic beyond."""

LABELLED = (0.0, 0.01, 0.23, 3.0, 100.0, 1e4)
"""Energies that an axis has room to name."""

SMALL_PROFILE = 8
"""A phase profile of at most so many rows has its numbers written into its cells."""


@dataclass(frozen=True)
class Scale:
    """An axis of energies, linear near 0 and logarithmic beyond; places are in percent of its length."""

    low: float
    high: float

    @classmethod
    def holding(cls, estimates: Iterable[Estimate]) -> Scale:
        """The scale that all estimates fit on with their errors, at least from 0 to 3."""
        ends = [value + sign * (error or 0) for value, error in estimates for sign in (-1, 1)]
        return cls(min(-LINEAR / 2, *ends, 0) * 1.3, max(3.0, *ends, 0) * 1.6)

    def place(self, value: float) -> float:
        low, high = _bent(self.low), _bent(self.high)
        return round(100 * (_bent(value) - low) / (high - low), 3)

    @property
    def ticks(self) -> list[tuple[str, float]]:
        """Labels and places: of 0, of where another word is used for an energy, and beyond; those between are without a label."""
        powers = [10.0**power for power in range(-3, 7)]
        values = [
            *(-power for power in powers),
            0.0,
            LINEAR,
            *LIMITS,
            *(power for power in powers if power > LIMITS[-1]),
        ]
        return [
            (f"{value:g}" if value in LABELLED else "", self.place(value))
            for value in sorted(values)
            if self.low <= value <= self.high
        ]

    def mark(self, estimate: Estimate) -> tuple[float, float, float]:
        """Places of the value and of the ends of its error bar."""
        value, error = estimate.value, estimate.error or 0.0
        return self.place(value), self.place(value - error), self.place(value + error)


def _bent(value: float) -> float:
    size = abs(value) / LINEAR
    return math.copysign(LINEAR_PART * size if size <= 1 else LINEAR_PART + math.log10(size), value)


@dataclass(frozen=True)
class Grid:
    """A chart of energies: a row for each of its subjects and a column for each period and control, all on one scale.

    rows: name, remark, energies and controls by period.
    """

    rows: list[tuple[str, str, Mapping[int, Estimate], Mapping[int, Estimate]]]

    @cached_property
    def periods(self) -> list[int]:
        return sorted({period for _, _, energies, _ in self.rows for period in energies})

    @property
    def heads(self) -> list[str]:
        """The heads of the periods' columns."""
        return [f"period {period}" for period in self.periods]

    @cached_property
    def controls(self) -> list[int]:
        return sorted({period for _, _, _, controls in self.rows for period in controls})

    @cached_property
    def scale(self) -> Scale:
        return Scale.holding([estimate for _, _, *found in self.rows for one in found for estimate in one.values()])

    @classmethod
    def of(cls, audits: Mapping[str, Audit], remarks: Mapping[str, str] | None = None) -> Grid:
        """The chart of audits by their names."""
        said = remarks or {}
        return cls([(name, said.get(name, ""), audit.energy, audit.controls) for name, audit in audits.items()])


def profile_images(profiles: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Phase profiles, rows of numbers with mean 1, as images on one scale, with its limits, and their numbers where there is room."""
    arrays = {name: np.array(profile, dtype=np.float64) for name, profile in profiles.items()}
    spread = max([0.1, *(float(np.abs(profile - 1).max()) for profile in arrays.values())])
    low, high = max(0.0, 1 - spread), 1 + spread
    images = []
    for name, profile in arrays.items():
        # As in the figures, 1 has the middle colour also where the range below it is cut at 0.
        relative = np.where(profile < 1, (profile - 1) / (1 - low), (profile - 1) / (high - 1)) / 2 + 0.5
        rows, columns = profile.shape
        cells = [
            (row, column, f"{profile[row, column]:.2f}", "black" if relative[row, column] > 0.55 else "white")
            for row in range(rows)
            for column in range(columns)
            if columns <= SMALL_PROFILE
        ]
        image = data_url(coloured(relative, SEQUENTIAL))
        limits = {"low": low, "high": high}
        images.append({"name": name, "image": image, "rows": rows, "columns": columns, "cells": cells, **limits})
    return images


class Number(NamedTuple):
    """A line of the table to download; what does not apply is empty."""

    measure: str
    value: float
    error: float | None = None
    layer: str = ""
    period: int | str = ""
    row: int | str = ""
    column: int | str = ""


COLUMNS = ("subject", "measure", "layer", "period", "row", "column", "value", "standard error")


def csv_of(subjects: Iterable[tuple[str, Iterable[Number]]]) -> str:
    """Every number of a page, one a line, with the columns COLUMNS; subjects: what each of the numbers is about."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for subject, numbers in subjects:
        for one in numbers:
            writer.writerow((subject, one.measure, one.layer, one.period, one.row, one.column, one.value, one.error))
    return text.getvalue()


def audit_numbers(audit: Audit) -> Iterator[Number]:
    """Every number of an audit."""
    for measure, by_period in (
        ("energy", audit.energy),
        ("control", audit.controls),
        ("energy of exactly this period", audit.exact_periods),
        ("signed comb", audit.signed_comb),
    ):
        for period, estimate in by_period.items():
            yield Number(measure, *estimate, period=period)
    for found in audit.found:
        if found.period is not None and found.energy is not None:
            yield Number("energy, found", *found.energy, period=period_words(simple(found.period)))
    yield Number("high-frequency share", *audit.high_frequency_share)
    yield Number("mean gradient flatness", audit.mean_gradient_flatness)
    yield from profile_numbers(audit.profile, audit.total_stride)
    for culprit in audit.culprits:
        yield Number("own energy, measured", *culprit.measured, culprit.layer, culprit.period)
        if culprit.injected is not None:
            yield Number("own energy, predicted", culprit.injected, None, culprit.layer, culprit.period)
        for period, estimate in culprit.left.items():
            yield Number("energy left", *estimate, layer=culprit.layer, period=period)
        for period, share in culprit.shares.items():
            yield Number("share", share, layer=culprit.layer, period=period)


def profile_numbers(profile: Iterable[Iterable[float]], period: int) -> Iterator[Number]:
    """A phase profile, phase by phase."""
    for row, values in enumerate(profile):
        for column, value in enumerate(values):
            yield Number("profile", float(value), period=period, row=row, column=column)


def variant_numbers(row: Row) -> Iterator[Number]:
    """Every number of a variant in a comparison."""
    yield from audit_numbers(row.audit)
    for period, estimate in row.difference.items():
        yield Number("difference of energy", *estimate, period=period)
    for measure, found in (
        ("same class", row.drift.agreement),
        ("Kullback-Leibler divergence", row.drift.divergence),
        ("accuracy", row.accuracy),
        ("shift consistency", row.consistency),
    ):
        if found is not None:
            yield Number(measure, *found)
    yield Number("root mean square difference of outputs", row.drift.rmse)
    if row.drift.relative is not None:
        yield Number("relative difference of outputs", row.drift.relative)
    yield Number("milliseconds", row.milliseconds)
    yield Number("bytes", row.memory)
    yield Number("parameters", row.parameters)
