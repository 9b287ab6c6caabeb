"""What the pages say in a sentence, and the command lines that they give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from findings import audit, comparison, culprit, dreams, headline

from featvis.errors import FeatvisError
from featvis.estimates import Estimate
from featvis.report import dreams_html
from featvis.report.words import command_of, comparison_command_of, comparison_verdict, remedy, verdict, words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Period-4 checkerboard, E(4) = 0.190 ± 0.006, 95 % from conv1 and conv2."),
        (
            {"culprits": (culprit("a", 0.95), culprit("b", -0.2))},
            "Period-4 checkerboard, E(4) = 0.190 ± 0.006, 95 % from a.",
        ),
        ({"culprits": (culprit("b", -0.2),)}, "Period-4 checkerboard, E(4) = 0.190 ± 0.006."),
        (
            {
                "exact_periods": {2: Estimate(0.001, 0.004), 4: Estimate(0.002, 0.005)},
                "energy": {4: Estimate(0.003, 0.006)},
            },
            "No checkerboard above the noise: E(4) = 0.003 ± 0.006.",
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
    assert said.endswith("conv2; blurpool leaves 0.0038 ± 0.0002.")
    assert verdict(audit(), remedy(comparison("plain"))).endswith("conv2.")


def test_the_verdict_of_a_comparison_goes_by_the_paired_errors() -> None:
    found = comparison("plain", "blurpool", "low-pass")
    assert comparison_verdict(found) == (
        "Period-4 checkerboard, E(4) = 0.1900 ± 0.0002 with plain; low-pass leaves none beyond the error, 0.0001 ± 0.0002."
    )
    in_doubt = tuple(replace(row, difference={4: Estimate(-0.1, 0.06)}) for row in found.rows)
    assert comparison_verdict(replace(found, rows=in_doubt)).endswith("plain; no variant lowers it beyond the error.")
    noise = audit(energy={4: Estimate(0.001, 0.002)}, exact_periods={4: Estimate(0.001, 0.002)})
    rows = tuple(replace(row, audit=noise) for row in in_doubt)
    said = "No checkerboard above the noise: E(4) = 0.001 ± 0.002 with plain."
    assert comparison_verdict(replace(found, rows=rows)) == said
    even = tuple(replace(row, audit=audit(energy={}, exact_periods={}), difference={}) for row in found.rows)
    assert comparison_verdict(replace(found, rows=even)).startswith("No layer has a stride")


@pytest.mark.parametrize(
    ("titles", "said"),
    [
        (("dream",), " in the fine detail of what the dream drew."),
        (
            ("fixed position", "jitter 32"),
            " in the fine detail of what the dream drew at a fixed position; “jitter 32” leaves ",
        ),
    ],
)
def test_the_verdict_of_a_dream(titles: tuple[str, ...], said: str) -> None:
    found = dreams(*titles, size=64)
    assert f"Period-2 checkerboard, E(4) = {words(found[0].picture.energy[4])}{said}" in headline(dreams_html(found))


def test_a_dream_that_is_too_small_is_said() -> None:
    said = headline(dreams_html(dreams("dream", size=3)))
    assert said == "What the dream drew is too small or too even for a checkerboard to be measured."
    with pytest.raises(FeatvisError, match="none was given"):
        dreams_html([])


def test_words_have_no_negative_zero() -> None:
    assert words(Estimate(-0.00002, 0.001)) == "0.000 ± 0.001"
    assert words(Estimate(-0.002, 0.001)) == "−0.002 ± 0.001"
    assert words(None) == "–"


def test_the_command_repeats_the_audit() -> None:
    settings = {"model": "m", "weights": "w x.pth", "score": "top", "method": "smoothgrad", "compensation": "none"}
    settings |= {"seed": 1, "skip_bad": True, "input_size": [3, 32, 48]}
    expected = (
        "featvis audit m 'a b.png' --size 32x48 --method smoothgrad --seed 1 --weights 'w x.pth' --skip-bad --culprits"
    )
    assert command_of(audit(settings=settings), ["a b.png"]) == expected
    drawn = command_of(audit(settings={"model": "m", "weights": "random"}, culprits=()))
    assert drawn == "featvis audit m PICTURES --weights none"
    assert command_of(audit(settings={"model": "m", "weights": "zoo"}, culprits=())) == "featvis audit m PICTURES"


def test_the_command_repeats_the_comparison() -> None:
    found = comparison("original", "blurpool", "smoothgrad", "jitter", "net.py:other=w.pth")
    for number, (kind, settings) in enumerate(
        [("", {}), ("forward", {}), ("", {"method": "smoothgrad"}), ("", {"compensation": "jitter"}), ("", {})]
    ):
        row = replace(found.rows[number], kind=kind, audit=audit(settings=settings))
        found = replace(found, rows=(*found.rows[:number], row, *found.rows[number + 1 :]))
    assert comparison_command_of(found, ["a b"]) == (
        "featvis compare zoo:cifar-k3s2 'a b' --seed 3 --with blurpool --method smoothgrad --compensate jitter "
        "--also net.py:other=w.pth"
    )
