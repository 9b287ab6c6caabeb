"""What commands print: sentences and tables that know the width that there is."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence

import click

from featvis.commands.terminal import as_shown, room

GAP = "   "
"""Between two columns."""


def show(part: Callable[[int | None], Sequence[str]], bold: bool = False) -> None:
    """Print lines; all that a command prints goes through here. part: gives them for a width, or for none."""
    bold = bold and not os.environ.get("NO_COLOR")
    for line in part(room()):
        # To the stream by name: where its encoding is ASCII, click would write UTF-8.
        click.echo(click.style(line, bold=True) if bold and line else line, file=sys.stdout)


def say(text: object = "", bold: bool = False) -> None:
    """A sentence in lines that fit, broken between words only; what follows the first line is set in."""
    said = as_shown(text)
    show(lambda width: wrapped(said, width), bold)


def say_pairs(pairs: Mapping[str, object], indent: str = "") -> None:
    """A line for each label and what is said of it, below one another."""
    broad = max(map(_size, pairs), default=0) + 2
    lines = [(f"{indent}{label}{' ' * (broad - _size(label))}", as_shown(text)) for label, text in pairs.items()]
    show(lambda width: [line for label, text in lines for line in wrapped(text, width, label, " " * _size(label))])


def say_command(words: Sequence[str]) -> None:
    """A command line that can be copied as it stands, however many lines it takes."""

    def broken(width: int | None) -> list[str]:
        lines = wrapped(" ".join(map(as_shown, words)), width and width - len(" \\"), "  ", "    ")
        return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]

    show(broken)


def wrapped(text: str, width: int | None, first: str = "", later: str | None = None) -> list[str]:
    """Text in lines between words; numbers stay with their errors, and a text's own indent is kept."""
    if width is None:
        return [first + text]
    body = text.lstrip()
    first += text[: len(text) - len(body)]
    later = f"{first}  " if later is None else later
    together = re.sub(r" (±|\+-|=) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", body)
    lines = textwrap.wrap(
        together, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] or [""]


def print_notes(notes: Iterable[str], skipped: Sequence[str] = ()) -> None:
    """A line for each note, once, after one for the pictures that could not be read."""
    if skipped:
        say(f"skipped {len(skipped)} pictures that could not be read; the first: {skipped[0]}")
    for note in dict.fromkeys(notes):
        say(f"note: {note}")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], least: Sequence[str] = ()
) -> None:
    """A table on standard output; the first column to the left, the others to the right; None is written as "-".

    Where there is no limit every column stands whole. Within a width heads are broken between words, a table that is still too wide is
    turned on its side, and one that does not fit so either loses columns and says which: those of `least`, its first one first, and then
    the widest. Cells and names are never broken.
    """
    heads = [as_shown(column) for column in columns]
    cells = [[as_shown("-" if cell is None else cell) for cell in row] for row in rows]
    say(title, bold=True)
    show(lambda width: table_lines(heads, cells, width, least))


def table_lines(
    heads: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, least: Sequence[str] = ()
) -> list[str]:
    """The lines of a table that has `width` characters, or as many as it needs where that is None; least: see `print_table`."""
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
    return _cut(heads, rows, width, least)


def _cut(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int, least: Sequence[str]) -> list[str]:
    """The table without as many columns as must go, and a line that names these; the first column stays."""
    columns = _columns(heads, rows)
    broken = [_broken(head, column) for head, column in zip(heads, columns, strict=True)]
    sizes = [max(map(_size, [*head, *column])) for head, column in zip(broken, columns, strict=True)]
    kept = list(range(len(heads)))
    goes = [heads.index(head) for head in least if head in heads]
    goes += sorted({*kept[1:]} - {*goes}, key=lambda place: (sizes[place], place), reverse=True)
    for place in goes:
        if sum(sizes[place] + len(GAP) for place in kept) <= width:
            break
        kept.remove(place)
    lines = _lines([broken[place] for place in kept], [[row[place] for place in kept] for row in rows])
    left_out = ", ".join(head for place, head in enumerate(heads) if place not in kept)
    said = f"  {width} characters have no room for {left_out}; --wide shows all"
    return [*lines[:-1], *wrapped(said, width, later="  "), lines[-1]]


def _columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[row[place] for row in rows] for place in range(len(heads))]


def _broken(head: str, column: Sequence[str]) -> list[str]:
    """A head in lines no wider than its column needs, broken between words only; a short one stays whole."""
    widest = max([len("k mod s"), *map(_size, column), *map(_size, head.split())])
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
