"""The tables that commands print."""

from __future__ import annotations

from collections.abc import Sequence

WIDEST = 10_000
"""Characters of a line of a table that goes into a file or a pipe: names there stay whole."""


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; the first column to the left, markup in cells taken literally, lines cut for terminals only."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDEST)
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)
