"""What commands print: tables that know the terminal's width, and text that any terminal can show."""

from __future__ import annotations

import codecs
import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

from featvis.errors import shown

GAP = "   "
"""Between two columns."""

PLAINER = {
    "±": "+-", "×": "x", "·": "*", "−": "-", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "√": "sqrt", "─": "-",
    "“": '"', "”": '"', "’": "'", "½": "1/2", "¼": "1/4",
}  # fmt: skip
"""What stands for a character that the terminal's encoding lacks; anything else becomes a question mark."""


class _Forgiving(io.FileIO):
    """The standard output, where nobody may read on: files are still written and limits judged."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content) or 0
        except BrokenPipeError:
            return len(content)


def show_everywhere() -> None:
    """Let standard output and error take every text, whatever their encoding."""
    codecs.register_error("featvis", _plainer)
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        raw = _Forgiving(sys.stdout.fileno(), "wb", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=sys.stdout.encoding, line_buffering=sys.stdout.line_buffering
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="featvis")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(PLAINER.get(letter, "?") for letter in text), error.end


def print_notes(notes: Iterable[str], skipped: Sequence[str] = ()) -> None:
    """A line for each note, once, after one for the pictures that could not be read."""
    if skipped:
        click.echo(f"skipped {len(skipped)} pictures that could not be read; the first: {shown(skipped[0])}")
    for note in dict.fromkeys(notes):
        click.echo(f"note: {shown(note)}")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; the first column to the left, the others to the right; None is written as "-".

    In a file or a pipe every column stands whole. In a terminal heads are broken between words, a table that is still too wide is
    turned on its side, and one that does not fit so either loses its widest columns and says which. Cells and names are never broken.
    """
    heads = [shown(column) for column in columns]
    cells = [[shown("-" if cell is None else cell) for cell in row] for row in rows]
    click.secho(shown(title), bold=True)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines(heads, cells, width):
        click.echo(line)


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table that has `width` characters, or as many as it needs where that is None."""
    whole = _lines([[head] for head in heads], rows)
    if width is None or _longest(whole) <= width:
        return whole
    broken = _lines([_broken(head, column) for head, column in zip(heads, _columns(heads, rows), strict=True)], rows)
    if _longest(broken) <= width:
        return broken
    turned = [[head, *column] for head, column in zip(heads, _columns(heads, rows), strict=True)]
    sideways = _lines([[head] for head in turned[0]], turned[1:])
    if _longest(sideways) <= width:
        return sideways
    return _cut(heads, rows, width)


def _cut(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The table without its widest columns, as many of them as must go, and a line that names these; the first column stays."""
    columns = _columns(heads, rows)
    broken = [_broken(head, column) for head, column in zip(heads, columns, strict=True)]
    sizes = [max(map(_size, [*head, *column])) for head, column in zip(broken, columns, strict=True)]
    kept = list(range(len(heads)))
    while len(kept) > 1 and sum(sizes[place] + len(GAP) for place in kept) > width - 1:
        kept.remove(max(kept[1:], key=lambda place: (sizes[place], place)))
    lines = _lines([broken[place] for place in kept], [[row[place] for place in kept] for row in rows])
    left_out = ", ".join(head for place, head in enumerate(heads) if place not in kept)
    said = f"{width} characters have no room for {left_out}; a wider window shows all, and so does | cat"
    return [*lines[:-1], *textwrap.wrap(said, width, initial_indent="  ", subsequent_indent="  "), lines[-1]]


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[row[place] for row in rows] for place in range(len(heads))]


def _broken(head: str, column: Sequence[str]) -> list[str]:
    """A head in lines no wider than its column needs, broken between words only."""
    widest = max([1, *map(_size, column), *map(_size, head.split())])
    return textwrap.wrap(head, widest, break_long_words=False, break_on_hyphens=False) or [""]


def _lines(heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """Heads, a rule and the rows, with an empty line before and after."""
    height = max(map(len, heads))
    upper = [[""] * (height - len(head)) + [*head] for head in heads]
    block = [[head[line] for head in upper] for line in range(height)]
    widths = [max(_size(row[place]) for row in [*block, *rows]) for place in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        gaps = [" " * (size - _size(cell)) for cell, size in zip(row, widths, strict=True)]
        return f"  {GAP.join([row[0] + gaps[0], *map(str.__add__, gaps[1:], row[1:])])}".rstrip()

    rule = " " + "─" * (sum(widths) + len(GAP) * (len(widths) - 1) + 2)
    return ["", *map(line, block), rule, *map(line, rows), ""]


def _longest(lines: Sequence[str]) -> int:
    return max(map(_size, lines))


def _size(text: str) -> int:
    """The places that a text takes in a terminal."""
    from rich.cells import cell_len

    return cell_len(text)
