"""Networks that are examined one by one, each in a process of its own: what one of them breaks or uses up, the next does not feel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from shared.tables import add_rows, read_rows


def examine_each(
    script: str, names: Iterable[str], table: Path, columns: Sequence[str], fault: str, limit: float | None = None
) -> None:
    """Append to a table the rows that `python script NAME` prints as JSON, for each name that is not in its first column yet.

    A process that fails, or takes longer than limit seconds, leaves a row with what it said last in the column `fault`.
    """
    done = {row[columns[0]] for row in read_rows(table)}
    for name in names:
        if name in done:
            continue
        try:
            child = subprocess.run(
                [sys.executable, script, name], capture_output=True, text=True, check=False, timeout=limit
            )
            said = "" if child.returncode == 0 else (child.stderr.strip().splitlines() or ["killed"])[-1]
        except subprocess.TimeoutExpired:
            said = f"stopped after {limit:g} seconds"
        rows = [{columns[0]: name, fault: said}] if said else json.loads(child.stdout.strip().splitlines()[-1])
        add_rows(table, columns, rows)
        print(*(f"{value}" for value in rows[-1].values()), flush=True)
