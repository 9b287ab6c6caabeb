"""What an audit and a comparison come to, in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.figures import texts
from helpers.findings import audit, comparison, culprit, headline
from helpers.running import printed

from featvis.audit.gate import exceeded
from featvis.commands.audit import print_audit
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding
from featvis.measure.maps import Found
from featvis.measure.standing_out import Verdict
from featvis.plots import GradientView, gradient_figure
from featvis.report import report_html


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
    assert audit(exact_periods=found).finding.period == strongest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map; conv1 and conv2 make 95% of it. "
            "Try: featvis compare ... --compensate jitter.",
        ),
        (
            {"culprits": (culprit("a", 0.95), culprit("b", -0.2))},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map; a makes 95% of it. "
            "Try: featvis compare ... --compensate jitter.",
        ),
        (
            {"culprits": (culprit("a", 0.6), culprit("b", 0.5))},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map; a and b make all of it. "
            "Try: featvis compare ... --compensate jitter.",
        ),
        (
            {"culprits": (culprit("b", -0.2),)},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map. Try: featvis compare ... --compensate jitter.",
        ),
        (
            {"culprits": ()},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map. Try: featvis audit ... --culprits.",
        ),
        (
            {"settings": {"compensation": "jitter"}, "culprits": ()},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map.",
        ),
        (
            {"pictures": 40},
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map; conv1 and conv2 make 95% of it. "
            "Try: featvis compare ... --with backward-even.",
        ),
        (
            {"energy": {}, "exact_periods": {}, "not_measurable": ((16, 16), (32, 32)), "culprits": ()},
            "Nothing can be told at this size: periods 16 and 32 do not fit four times into the pictures. "
            "Try: featvis audit ... --size 128.",
        ),
        (
            {
                "exact_periods": {2: Estimate(0.001, 0.004), 4: Estimate(0.002, 0.005)},
                "energy": {4: Estimate(0.003, 0.006)},
            },
            "No checkerboard found: E(4) = 0.0030 ± 0.0060, not distinguishable from 0 with 12 pictures (below 0.015).",
        ),
        (
            {"energy": {}, "exact_periods": {}, "traced": (1, 1)},
            "No layer has a stride, so there is no period in which a checkerboard could repeat.",
        ),
    ],
)
def test_the_verdict(changes: dict[str, Any], said: str) -> None:
    assert audit(**changes).finding.sentence() == said


STANDING = {"controls": {3: Estimate(0.03, 0.001), 5: Estimate(-0.0002, 0.0004)}, "culprits": ()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            STANDING,
            " Control E(3) = 0.0300 ± 0.0010 stands out too: content in the same place of all pictures, not strides alone.",
        ),
        # A control is none where the gradients show its own period, and cannot be judged beside a comb that was not taken off.
        ({**STANDING, "found": (Found((1, 3), (0.0, 1 / 3), Estimate(0.03, 0.001), 1e-9),)}, ""),
        ({**STANDING, "found": (Found((6, 6), (1 / 6, 0.0), Estimate(0.03, 0.001), 1e-9),)}, ""),
        ({**STANDING, "found": (Found((7, 7), (1 / 7, 0.0), Estimate(0.03, 0.001), 1e-9),)}, ""),
        (
            {**STANDING, "found": (Found((4, 4), (0.25, 0.0), Estimate(0.19, 0.006), 1e-9),)},
            " Control E(3) = 0.0300 ± 0.0010 stands out too: content in the same place of all pictures, not strides alone.",
        ),
    ],
)
def test_a_control_stands_out_only_where_it_is_one(changes: dict[str, Any], said: str) -> None:
    sentence = audit(**changes).finding.sentence()
    assert sentence.endswith(f".{said} Try: featvis audit ... --culprits.")
    assert ("Control" in sentence) == bool(said)


def test_a_grid_that_drifts_and_is_the_strongest_is_what_is_said_first() -> None:
    drifting, whole = (
        Found(None, (0.32, 0.32), None, 1e-9),
        Found((11, 18), (0.45, 0.0), Estimate(0.0152, 0.0005), 1e-9),
    )
    changes: dict[str, Any] = {
        "energy": {},
        "exact_periods": {},
        "culprits": (),
        "controls": {},
        "total_stride": 1,
        "traced": None,
    }
    grid = "A grid drifts over the picture: it repeats after no whole number of pixels"
    period = "E(11 x 18) = 0.01520 ± 0.00050: weak, not visible in a single map; no layer that was traced explains it"
    assert audit(**changes, found=(drifting,)).finding.sentence() == f"{grid}."
    assert audit(**changes, found=(drifting, whole)).finding.short() == f"{grid}; beside that {period}."
    first = audit(**changes, found=(whole, drifting)).finding.sentence()
    assert first.startswith(f"Period 11 x 18, {period}")
    assert "A grid drifts over the picture beside it." in first


def test_the_verdict_names_the_best_variant_unless_it_is_the_first() -> None:
    said = replace(audit().finding, remedy=comparison("plain", "blurpool").remedy()).short()
    assert said.endswith("make 95% of it; blurpool leaves 0.00380 ± 0.00020, invisible.")
    assert replace(audit().finding, remedy=comparison("plain").remedy()).short().endswith("make 95% of it.")


def test_the_verdict_of_a_comparison_goes_by_the_paired_errors() -> None:
    found = comparison("plain", "blurpool", "low-pass")
    assert found.verdict() == (
        "plain: Period 4, E(4) = 0.19000 ± 0.00020: weak, hard to see in a single map; low-pass leaves 0.00008 ± 0.00020, "
        "not distinguishable from 0 (below 0.00048). Try: featvis fix ... --with low-pass --save FILE."
    )
    in_doubt = tuple(replace(row, difference={4: Estimate(-0.1, 0.06)}) for row in found.rows)
    assert replace(found, rows=in_doubt).finding.short().endswith("single map; no variant lowers it beyond the error.")
    noise = audit(energy={4: Estimate(0.001, 0.002)}, exact_periods={4: Estimate(0.001, 0.002)})
    rows = tuple(replace(row, audit=noise) for row in in_doubt)
    said = "plain: No checkerboard found: E(4) = 0.0010 ± 0.0020, not distinguishable from 0 with 12 pictures (below 0.005)."
    assert replace(found, rows=rows).verdict() == said
    even = tuple(
        replace(row, audit=audit(energy={}, exact_periods={}, traced=(1, 1)), difference={}) for row in found.rows
    )
    assert replace(found, rows=even).verdict().startswith("plain: No layer has a stride")


def judged(longest: int, **chances: float) -> Verdict:
    return Verdict(longest, {int(name.removeprefix("p")): chance for name, chance in chances.items()})


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (
            judged(4, p2=0.0005, p4=0.0005),
            "Period 4, E(4) = 0.1900 ± 0.0060: weak, hard to see in a single map.",
        ),
        (
            judged(4, p2=0.2, p4=0.04),
            "No checkerboard found: E(4) = 0.1900 ± 0.0060, no more than the frequencies beside it hold.",
        ),
        (
            judged(2, p2=0.0005),
            "Period 2, E(2) = 0.0500 ± 0.0040: weak, not visible in a single map. No period above 2 fits four times into the "
            "pictures: what these hold may be content in the same place.",
        ),
        (
            judged(1),
            "Nothing can be told at this size: E(4) = 0.1900 ± 0.0060. No period fits four times into the pictures: "
            "what they hold may be content in the same place.",
        ),
    ],
)
def test_a_finding_beside_the_frequencies_around(verdict: Verdict, said: str) -> None:
    assert Finding.judged_beside(audit(), verdict).sentence() == said


def test_one_audit_reads_the_same_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audit()
    said = found.finding.headline()
    assert said == "E(4) = 0.1900 ± 0.0060"
    print_audit(found, "a network")
    assert said in capsys.readouterr().out
    (tmp_path / "audit.json").write_text(found.to_json())
    printed("report", tmp_path / "audit.json", "--out", tmp_path / "page.html")
    for page in (report_html(found), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert said in headline(page)
        assert "<td>0.1900 ± 0.0060</td>" in page
    gradient = np.random.default_rng(0).standard_normal((3, 32, 32))
    view = GradientView("gradient", gradient, np.array(found.profile), found.energy, found.controls, 4)
    assert said in [text for text, _ in texts(gradient_figure(np.ones((32, 32)), [view], "A title"))]
    assert exceeded(found, 0.05)[0].startswith(f"{said} is above 0.05")
