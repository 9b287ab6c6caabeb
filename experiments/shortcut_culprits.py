"""What did training do about a 1x1 stride-2 shortcut? The culprits of zoo:twin-shortcut-1x1.

    python experiments/shortcut_culprits.py cifar10_jpeg.zip

E(8) that is left when each layer alone passes its gradient back evenly, as `featvis audit --culprits` measures it, at the 500 test pictures
of study 1. Writes experiments/results/shortcut_culprits.csv and a table of docs/studies.md.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from averages import said
from overlap_training import PERIOD, PICTURES
from PIL import Image
from tables import DOCS, RESULTS, markdown_table, put_table, write_rows
from train_classifier import archive_argument, read_split
from zoo_audit import rolled, some

from featvis.audit.culprits import find_culprits
from featvis.audit.run import audit_pictures
from featvis.measure.estimates import Estimate
from featvis.models.specs import load_model

TABLE = RESULTS / "shortcut_culprits.csv"
NETWORK = "zoo:twin-shortcut-1x1"
COLUMNS = ("layer", "kernel", "own", "own_error", "left", "left_error")


def measure(paths: list[Path]) -> list[dict[str, str]]:
    """A row for the network as it is, and one for each layer, the one that takes most away first."""
    model = load_model(NETWORK, device="cpu")
    audit = audit_pictures(model, paths)
    rows = [row_of("none", "", None, audit.energy[PERIOD])]
    culprits, _ = find_culprits(model, paths, audit)
    for one in sorted(culprits, key=lambda culprit: culprit.left[PERIOD]):
        rows.append(row_of(one.layer, "x".join(map(str, one.kernel)), one.measured, one.left[PERIOD]))
    return rows


def row_of(layer: str, kernel: str, own: Estimate | None, left: Estimate) -> dict[str, str]:
    numbers = [f"{number:.5f}" for number in left]
    cells = (layer, kernel, *([f"{number:.5f}" for number in own] if own else ("", "")), *numbers)
    return dict(zip(COLUMNS, cells, strict=True))


def table(rows: list[dict[str, str]]) -> str:
    lines = []
    for row in rows:
        own = Estimate(float(row["own"]), float(row["own_error"])) if row["own"] else None
        left = Estimate(float(row["left"]), float(row["left_error"]))
        lines.append((row["layer"], row["kernel"], said(own), said(left)))
    return markdown_table(("made even", "kernel", "its own E(2)", "E(8) left"), lines)


def main() -> None:
    pictures, _ = read_split(archive_argument(__doc__), "test")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number:03}.png" for number in range(PICTURES)]
        for path, picture in zip(paths, rolled(some(pictures, PICTURES)), strict=True):
            Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
        rows = measure(paths)
    write_rows(TABLE, COLUMNS, rows)
    put_table(DOCS / "studies.md", "shortcut-culprits", table(rows))


if __name__ == "__main__":
    main()
