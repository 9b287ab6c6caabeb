"""A comparison survives JSON, and joins only with what was measured in the same way."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featvis.audit.comparison import Comparison, Row
from featvis.audit.drift import Drift
from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate


def row(name: str, energy: float = 0.1) -> Row:
    energies = {2: Estimate(energy / 2, 0.01), 4: Estimate(energy, 0.004)}
    audit = Audit(
        4, energies, {3: Estimate(0.0, 0.01)}, energies, {}, Estimate(0.7, 0.1), 0.5, ((1.0,) * 4,) * 4, 9, "pictures"
    )
    drift = Drift(Estimate(1.0, None), None, 0.25, None)
    return Row(name, "forward", ("a.b",), audit, energies, drift, None, Estimate(0.9, 0.1), 3.5, 1000, 20)


def comparison(*names: str, **changes: Any) -> Comparison:
    resolved = {
        "score": "top",
        "pixels_hash": "abc",
        "input_size": (3, 8, 8),
        "batch_size": 8,
        "versions": {"torch": "2"},
    }
    found = Comparison(tuple(row(name) for name in names), 4, 9, ("bad.png",), ("a note",), resolved)
    return replace(found, **changes)


def test_json_can_be_read_again() -> None:
    found = comparison("original", "blurpool", settings={"score": "top", "seed": 3})
    assert Comparison.from_json(found.to_json()) == found
    content = json.loads(found.to_json())
    assert content["schema"] == "featvis.compare/1"
    assert content["rows"][0]["audit"]["schema"] == "featvis.audit/1"
    assert content["rows"][1]["difference"]["4"] == {"value": 0.1, "error": 0.004}
    assert content["rows"][1]["drift"]["agreement"] == {"value": 1.0, "error": None}


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_other_json_is_refused_in_one_line(content: object) -> None:
    for document in (content, {"schema": "featvis.compare/1", "rows": content}):
        with pytest.raises(FeatvisError):
            Comparison.from_json(json.dumps(document))


def test_damaged_comparisons_are_refused() -> None:
    text = comparison("original").to_json()
    for broken in (text[:-20], text.replace("compare/1", "compare/9"), text.replace('"drift"', '"drifts"'), "[]"):
        with pytest.raises(FeatvisError):
            Comparison.from_json(broken)
    with pytest.raises(FeatvisError, match="no rows"):
        Comparison.from_json(comparison().to_json())


def test_comparisons_of_the_same_kind_join() -> None:
    whole = comparison("original", "a").joined(
        comparison("original", "b", settings={**comparison().settings, "batch_size": 1, "versions": {}})
    )
    assert [entry.name for entry in whole.rows] == ["original", "a", "b"]
    assert "joined from several runs" in whole.notes[-1]
    # Tuples become lists in a file; that is no difference.
    read = Comparison.from_json(comparison("original", "b").to_json())
    assert len(comparison("original", "a").joined(read).rows) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": {**comparison().settings, "pixels_hash": "xyz"}},
            "pixels_hash is 'abc' in one and 'xyz'",
        ),
        ({"settings": {**comparison().settings, "score": "seeds"}}, "score is 'top' in one and 'seeds'"),
        ({"settings": {**comparison().settings, "seed": 1}}, "seed is None in one and 1"),
        ({"pictures": 8}, "number of pictures is 9 in one and 8"),
        ({"total_stride": 8}, "total stride is 4 in one and 8"),
        ({"rows": (row("else"), row("b"))}, "first variant is 'original' in one and 'else'"),
        ({"rows": (row("original"), row("a"))}, "the variant 'a' is in both"),
    ],
)
def test_other_pictures_and_settings_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        comparison("original", "a").joined(comparison("original", "b", **changes))


def test_the_period_is_the_one_that_the_finding_names() -> None:
    assert comparison("original").period == 4
    noisy = replace(
        row("original").audit,
        energy={2: Estimate(0.05, 0.001), 4: Estimate(0.1, 0.09)},
        exact_periods={2: Estimate(0.05, 0.001), 4: Estimate(0.05, 0.09)},
    )
    assert comparison(rows=(replace(row("original"), audit=noisy),)).period == 2
    single = replace(
        row("original").audit,
        energy={2: Estimate(0.2, None), 4: Estimate(0.1, None)},
        exact_periods={2: Estimate(0.2, None), 4: Estimate(-0.1, None)},
    )
    assert comparison(rows=(replace(row("original"), audit=single),)).period == 2
    assert (
        comparison(rows=(replace(row("original"), audit=replace(single, energy={}, exact_periods={})),)).period is None
    )
