"""What the pages say in a sentence, and the command lines that they give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.findings import audit, comparison, dreams, headline

from featvis.errors import FeatvisError
from featvis.measure.estimates import words
from featvis.report import dreams_html
from featvis.report.words import command_of, comparison_command_of


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
    energy = words(found[0].picture.energy[2])
    assert f"Period 2, E(2) = {energy}: strong, plain to see{said}" in headline(dreams_html(found))


def test_a_dream_that_is_too_small_is_said() -> None:
    said = headline(dreams_html(dreams("dream", size=3)))
    assert said == "What the dream drew is too small or too even for a checkerboard to be measured."
    with pytest.raises(FeatvisError, match="none was given"):
        dreams_html([])


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
