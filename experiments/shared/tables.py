"""Tables of the studies: CSV files that grow row by row, and Markdown put into pages, so that no figure is typed by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from featvis.files import write_text
from featvis.measure.estimates import Estimate

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = Path(__file__).parents[1] / "results"
STUDIES = DOCS / "studies"
"""A page for each study, where its figure stands too."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows to a CSV file, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def add_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Append rows to a CSV file, which begins with its header."""
    if not path.exists():
        write_rows(path, columns, [])
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.DictWriter(file, columns, lineterminator="\n").writerows(rows)


def row_of(columns: Sequence[str], *cells: object) -> dict[str, str]:
    """A row of as many cells as there are columns, as texts."""
    return dict(zip(columns, map(str, cells), strict=True))


def estimate_in(row: Mapping[str, str], column: str, error: str | None = None) -> Estimate | None:
    """The estimate in a column, its error in the column `error` or in one that ends on `_error`; None where it is empty."""
    if not row[column]:
        return None
    its_error = row[error or f"{column}_error"]
    return Estimate(float(row[column]), float(its_error) if its_error else None)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with one line for each row."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def table_in(page: Path, name: str) -> str:
    """What stands between `<!-- table: NAME -->` and `<!-- end: NAME -->` in a page.

    Raises ValueError if the page does not have both markers once.
    """
    return _around(page, name)[1]


def put_table(page: Path, name: str, table: str) -> None:
    """Replace the table of this name in a page; raises what `table_in` raises."""
    before, _, after = _around(page, name)
    write_text(page, f"{before}{table}{after}")


def _around(page: Path, name: str) -> tuple[str, str, str]:
    """What comes before a table, the table, and what comes after it."""
    begin, end = f"<!-- table: {name} -->\n", f"\n<!-- end: {name} -->"
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page.name} must hold {begin.strip()} and {end.strip()} once each, on lines of their own")
    before, _, rest = text.partition(begin)
    table, _, after = rest.partition(end)
    return before + begin, table, end + after
