"""Tables of pages come from committed results, and what stands around them is left alone."""

import importlib
import json

import pytest
from tables import DOCS, markdown_table, put_table, read_rows, table_in, write_rows
from zoo_audit import README, list_of_all, table

from featvis.models.zoo.cards import FIGURES

STUDIES = {
    "overlap_training": "training",
    "shortcut_culprits": "shortcut-culprits",
    "trained_generators": "trained-generators",
    "resize_modes": "resize-modes",
    "strong_colours": "strong-colours",
    "adversary": "adversary",
    "pooling_frequencies": "pooling",
    "audio": "audio",
}
"""Each study, and the name of its table in docs/studies.md."""


@pytest.mark.parametrize("module", STUDIES)
def test_the_table_of_a_study_is_that_of_its_committed_results(module):
    study = importlib.import_module(module)
    assert table_in(DOCS / "studies.md", STUDIES[module]) == study.table(read_rows(study.TABLE))


def test_the_spread_over_seeds_is_that_of_its_committed_results():
    study = importlib.import_module("zoo_spread")
    assert table_in(DOCS / "zoo.md", "spread") == study.table(read_rows(study.TABLE))


def test_the_tables_of_the_zoo_are_those_of_its_figures():
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert table_in(README, "zoo") == table(figures)
    assert table_in(DOCS / "zoo.md", "networks") == list_of_all(figures)


def test_a_table_is_put_where_its_markers_are(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: one -->\nold\n<!-- end: one -->\nafter\n")
    new = markdown_table(("a", "b"), [(1, r"\2")])
    put_table(page, "one", new)
    assert page.read_text() == f"before\n<!-- table: one -->\n{new}\n<!-- end: one -->\nafter\n"
    assert table_in(page, "one") == new


@pytest.mark.parametrize("text", ["", "<!-- table: one -->\n", "<!-- table: one -->\n\n<!-- end: one -->\n" * 2])
def test_a_page_without_both_markers_once_is_refused(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="once each"):
        put_table(page, "one", "new")
    assert page.read_text() == text


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [{"a": "1", "b": 'x, "y"'}, {"a": "", "b": "ü"}]
    write_rows(tmp_path / "rows.csv", ("a", "b"), rows)
    assert read_rows(tmp_path / "rows.csv") == rows
    assert read_rows(tmp_path / "none.csv") == []
