"""What an audit and a comparison come to, in a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.findings import audit, comparison, culprit

from featvis.audit.verdicts import comparison_verdict, remedy, strongest_period, verdict
from featvis.measure.estimates import Estimate


@pytest.mark.parametrize(
    ("exact", "strongest"),
    [
        ({2: (0.2, 0.01), 4: (0.1, 0.01)}, 2),
        ({2: (0.2, 0.10), 4: (0.1, 0.01)}, 4),
        ({2: (0.2, 0.07), 4: (-0.1, 0.01)}, None),
        ({2: (0.2, None)}, 2),
        ({}, None),
    ],
)
def test_a_period_must_stand_above_three_errors(exact: dict[int, tuple[float, float]], strongest: int | None) -> None:
    found = {period: Estimate(*pair) for period, pair in exact.items()}
    assert strongest_period(audit(exact_periods=found)) == strongest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Period-4 checkerboard, E(4) = 0.1900 ± 0.0060, 95 % from conv1 and conv2."),
        (
            {"culprits": (culprit("a", 0.95), culprit("b", -0.2))},
            "Period-4 checkerboard, E(4) = 0.1900 ± 0.0060, 95 % from a.",
        ),
        ({"culprits": (culprit("b", -0.2),)}, "Period-4 checkerboard, E(4) = 0.1900 ± 0.0060."),
        (
            {
                "exact_periods": {2: Estimate(0.001, 0.004), 4: Estimate(0.002, 0.005)},
                "energy": {4: Estimate(0.003, 0.006)},
            },
            "No checkerboard above the noise: E(4) = 0.0030 ± 0.0060.",
        ),
        (
            {"energy": {}, "exact_periods": {}},
            "No layer has a stride, so there is no period in which a checkerboard could repeat.",
        ),
    ],
)
def test_the_verdict(changes: dict[str, Any], said: str) -> None:
    assert verdict(audit(**changes)) == said


def test_the_verdict_names_the_best_variant_unless_it_is_the_first() -> None:
    said = verdict(audit(), remedy(comparison("plain", "blurpool")))
    assert said.endswith("conv2; blurpool leaves 0.00380 ± 0.00020.")
    assert verdict(audit(), remedy(comparison("plain"))).endswith("conv2.")


def test_the_verdict_of_a_comparison_goes_by_the_paired_errors() -> None:
    found = comparison("plain", "blurpool", "low-pass")
    assert comparison_verdict(found) == (
        "Period-4 checkerboard, E(4) = 0.19000 ± 0.00020 with plain; low-pass leaves none beyond the error, 0.00008 ± 0.00020."
    )
    in_doubt = tuple(replace(row, difference={4: Estimate(-0.1, 0.06)}) for row in found.rows)
    assert comparison_verdict(replace(found, rows=in_doubt)).endswith("plain; no variant lowers it beyond the error.")
    noise = audit(energy={4: Estimate(0.001, 0.002)}, exact_periods={4: Estimate(0.001, 0.002)})
    rows = tuple(replace(row, audit=noise) for row in in_doubt)
    said = "No checkerboard above the noise: E(4) = 0.0010 ± 0.0020 with plain."
    assert comparison_verdict(replace(found, rows=rows)) == said
    even = tuple(replace(row, audit=audit(energy={}, exact_periods={}), difference={}) for row in found.rows)
    assert comparison_verdict(replace(found, rows=even)).startswith("No layer has a stride")
