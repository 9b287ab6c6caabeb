"""What an audit of a million pictures on many GPUs costs, on paper, from measured reading time and state size.

    python -m benchmarks.cost_model

Reads benchmarks/results/scaling.json and puts its table into docs/large_runs.md. The rate of a GPU is a column, not a
measurement: `featvis audit --limit 500` prints yours.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from experiments.shared.tables import DOCS, markdown_table, put_table

RESULTS = Path(__file__).parent / "results" / "scaling.json"
PICTURES, GPUS = 1_000_000, 64
RATES = (200, 500, 1000, 2000)
"""Gradients a second of one GPU."""
TOTAL_STRIDE = "32"
LINK = 1e9
"""Bytes a second between machines: ten gigabits, with room to spare."""


def main() -> None:
    measured = json.loads(RESULTS.read_text())
    read, state = measured["reading"]["milliseconds"] / 1000, measured["state_bytes"][TOTAL_STRIDE]
    # A tree of sums: each step sends one state.
    reduction = math.ceil(math.log2(GPUS)) * state / LINK
    rows = [
        (
            rate,
            f"{PICTURES / GPUS / rate:.0f} s",
            f"{rate * read:.1f}",
            f"{reduction * 1000:.0f} ms",
            f"{GPUS * state / 2**20:.0f} MiB",
        )
        for rate in RATES
    ]
    header = (
        "gradients a second of a GPU",
        "time",
        "cores that read, for each GPU",
        "one reduction",
        "saved states, all together",
    )
    put_table(DOCS / "large_runs.md", "cost", markdown_table(header, rows))


if __name__ == "__main__":
    main()
