"""Tables are put where their markers are, and rows of results come back as they were written."""

import pytest
from shared.tables import add_rows, estimate_in, markdown_table, put_table, read_rows, table_in, write_rows


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


def test_rows_are_added_below_one_header(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    for number in range(3):
        add_rows(path, ("a", "b"), [{"a": number, "b": "x, y"}, {"a": -number}])
    assert path.read_text().splitlines()[:3] == ["a,b", '0,"x, y"', "0,"]
    assert [row["a"] for row in read_rows(path)] == ["0", "0", "1", "-1", "2", "-2"]


def test_an_estimate_comes_from_its_columns():
    row = {"E": "0.5", "E_error": "0.1", "S": "2", "error": "", "none": ""}
    assert estimate_in(row, "E") == (0.5, 0.1)
    assert estimate_in(row, "S", "error") == (2.0, None)
    assert estimate_in(row, "none") is None
