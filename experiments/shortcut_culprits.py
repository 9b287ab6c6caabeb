"""What did training do about a 1x1 stride-2 shortcut? The culprits of zoo:twin-shortcut-1x1.

    python experiments/shortcut_culprits.py cifar10_jpeg.zip

E(8) that is left when each layer alone passes its gradient back evenly, as `featvis audit --culprits` measures it, at the 500 test pictures
of overlap_training.py. Writes experiments/results/shortcut_culprits.csv and a table of docs/studies/overlap_training.md.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image
from shared.archive import STUDIED, read_split, rolled, some
from shared.command_line import archive_argument
from shared.measuring import PERIODS
from shared.tables import RESULTS, STUDIES, estimate_in, markdown_table, put_table, row_of, write_rows

from featvis.audit.culprits import find_culprits
from featvis.audit.run import audit_pictures
from featvis.measure.estimates import Estimate, words
from featvis.models.specs import load_model

TABLE, PAGE = RESULTS / "shortcut_culprits.csv", STUDIES / "overlap_training.md"
NETWORK, PERIOD = "zoo:twin-shortcut-1x1", PERIODS["classifier"]
COLUMNS = ("layer", "kernel", "own", "own_error", "left", "left_error")


def measure(paths: list[Path]) -> list[dict[str, str]]:
    """A row for the network as it is, and one for each layer, the one that takes most away first."""
    model = load_model(NETWORK, device="cpu")
    audit = audit_pictures(model, paths)
    rows = [row_for("none", "", None, audit.energy[PERIOD])]
    culprits, _ = find_culprits(model, paths, audit)
    for one in sorted(culprits, key=lambda culprit: culprit.left[PERIOD]):
        rows.append(row_for(one.layer, "x".join(map(str, one.kernel)), one.measured, one.left[PERIOD]))
    return rows


def row_for(layer: str, kernel: str, own: Estimate | None, left: Estimate) -> dict[str, str]:
    numbers = [f"{number:.5f}" for number in left]
    return row_of(COLUMNS, layer, kernel, *([f"{number:.5f}" for number in own] if own else ("", "")), *numbers)


def table(rows: list[dict[str, str]]) -> str:
    lines = [
        (row["layer"], row["kernel"], words(estimate_in(row, "own")), words(estimate_in(row, "left"))) for row in rows
    ]
    return markdown_table(("made even", "kernel", "its own E(2)", "E(8) left"), lines)


def main() -> None:
    pictures, _ = read_split(archive_argument(__doc__), "test")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:03}.png" for number in range(STUDIED)]
        for path, picture in zip(paths, rolled(some(pictures, STUDIED)), strict=True):
            Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
        rows = measure(paths)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "shortcut-culprits", table(rows))


if __name__ == "__main__":
    main()
