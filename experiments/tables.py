"""Tables of the studies: CSV files that grow row by row, and Markdown put into pages, so that no figure is typed by hand."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from featvis.files import write_text

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = Path(__file__).parent / "results"


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, none where there is no file yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
    """Write rows to a CSV file, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with one line for each row."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def put_table(page: Path, name: str, table: str) -> None:
    """Replace what stands between `<!-- table: NAME -->` and `<!-- end: NAME -->` in a page.

    Raises ValueError if the page does not have both markers once.
    """
    begin, end = f"<!-- table: {name} -->", f"<!-- end: {name} -->"
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page.name} must hold {begin} and {end} once each")
    replaced = re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    write_text(page, replaced)
