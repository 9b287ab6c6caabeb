"""Records are read strictly: whatever is done to one, it is read as it is or refused in one line."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.findings import audit, comparison
from torch import nn

from featvis.audit.gate import exceeded, grown
from featvis.audit.record import Audit, load_profile, save_profile
from featvis.commands.report import _parsed
from featvis.errors import FeatvisError
from featvis.gradients.compensations import Equalise
from featvis.gradients.engine import GradientEngine
from featvis.report import report_html

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 10**30, -(10**30), 1e308, float("nan"), float("inf"), 1e-320),
    *("", "x" * 50, "\x1b[31m", "</script>", [], [[]], {}, {"value": 1}, [1, 2, 3], "nan", "4", "-1"),
]
SEED, MUTATIONS = 0, 400
"""Of the same mutations 5,000 were tried with other seeds; see docs/large_runs.md."""


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value within a document."""
    if at:
        yield at
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*at, key))


def mutated(text: str, draw: random.Random) -> str:
    """The document, cut, with another letter, or with values that are gone, renamed, repeated, wrapped or replaced."""
    kind = draw.randrange(12)
    if kind < 2:
        place = draw.randrange(len(text))
        return text[:place] + ("" if kind == 0 else chr(draw.randrange(32, 127)) + text[place + 1 :])
    content = json.loads(text)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        *way, last = draw.choice(list(places(content)))
        holder = content
        for key in way:
            holder = holder[key]
        value = holder[last]
        replaced = [None, draw.choice(VALUES), {"a": value}, [value], str(value)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            replaced.append(value * draw.choice((-1, 1e10, 1e300, 0, 1.5)))
        if isinstance(value, list):
            replaced.append(value * draw.choice((0, 2, 50)))
        if isinstance(holder, dict) and draw.random() < 0.3:
            del holder[last]
            if draw.random() < 0.5:
                holder[draw.choice(("extra", "7", "-3", "1000000"))] = value
        else:
            holder[last] = copy.deepcopy(draw.choice(replaced))
    return json.dumps(content)


def test_no_mutation_of_a_record_ends_in_a_traceback() -> None:
    draw = random.Random(SEED)
    before = audit(culprits=())
    whole = [audit(culprits=()).to_json(), comparison("plain", "blurpool").to_json()]
    read = refused = 0
    for _ in range(MUTATIONS):
        try:
            kind, result = _parsed(mutated(draw.choice(whole), draw))
            report_html(**{kind: result})
            if isinstance(result, Audit):
                grown(result, before)
                exceeded(result, 0.05)
            read += 1
        except FeatvisError:
            refused += 1
    assert min(read, refused) > 20


def test_no_mutation_of_a_profile_ends_in_a_traceback(tmp_path: Path) -> None:
    draw, path = random.Random(SEED), tmp_path / "profile.json"
    whole = save_profile(audit(culprits=()), path).read_text(encoding="utf-8")
    torch.manual_seed(0)
    images, engine = (
        torch.randn(1, 3, 16, 16),
        GradientEngine(nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in "ab")), "seeds"),
    )
    read = refused = 0
    for _ in range(MUTATIONS):
        path.write_text(mutated(whole, draw), encoding="utf-8")
        try:
            profile, settings = load_profile(path)
            assert isinstance(settings, dict)
            assert Equalise().with_profile(profile)(engine, images).isfinite().all()
            read += 1
        except FeatvisError:
            refused += 1
    assert min(read, refused) > 20


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("energy", "4", "value"), float("nan")),
        (("energy", "4", "error"), float("inf")),
        (("energy", "4", "error"), -0.1),
        (("energy", "4", "value"), "0.2"),
        (("energy", "4"), None),
        (("energy",), {"4": {"value": 0.1, "error": 0.1}}),
        (("total_stride",), 10**30),
        (("total_stride",), 4.0),
        (("total_stride",), True),
        (("pictures",), 0),
        (("profile",), [[1.0, 1.0], [1.0]]),
        (("replicates",), "guesses"),
        (("settings", "input_size"), [3]),
        (("settings", "weights"), ["a"]),
        (("more",), 1),
        (("notes",), "a note"),
    ],
)
def test_what_is_no_audit_is_refused(way: tuple[str, ...], value: Any) -> None:
    content = json.loads(audit(culprits=()).to_json())
    holder = content
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = value
    with pytest.raises(FeatvisError, match=r"damaged|not JSON"):
        Audit.from_json(json.dumps(content))
