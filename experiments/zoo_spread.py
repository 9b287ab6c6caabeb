"""How far twins that differ in their seed alone lie apart, in accuracy and in measured E(8).

    python experiments/train_classifier.py ARCHIVE --out build/short --twins all --seeds 0,1,2 --epochs 4 --bfloat16 --snapshots
    python experiments/zoo_spread.py ARCHIVE --trained build/short

Every twin of which two seeds or more are trained; E of the gradient of the top logit at 1,000 test pictures, as in zoo_audit.py. Writes
experiments/results/twins_spread.csv and the table of docs/zoo.md; what is measured already is kept.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from tables import DOCS, RESULTS, markdown_table, put_table, read_rows, write_rows
from torch import Tensor
from train_classifier import LOG, WEIGHTS, accuracy, read_split
from zoo_audit import PICTURES, energies_of, mean_over, rolled, some

from featvis.checkpoints import load_strictly, read_checkpoint
from featvis.models import Model
from featvis.zoo import ZOO
from featvis.zoo.classifiers import DOWNSAMPLING

TABLE, PERIOD = RESULTS / "twins_spread.csv", 8
COLUMNS = ("twin", "seed", "epochs", "accuracy", "measured", "error")


def measured(folder: Path, twin: str, data: tuple[Tensor, Tensor], pictures: Tensor) -> tuple[int, float, float, float]:
    """Epochs, accuracy with float16 weights, E(8) and its error over pictures."""
    card = ZOO[f"twin-{twin}"]
    network = card.architecture().eval()
    load_strictly(network, read_checkpoint(folder / WEIGHTS), str(folder))
    energy = energies_of(Model(network, mean=card.mean, std=card.std), pictures).energy[PERIOD]
    return len(read_rows(folder / LOG)), accuracy(network, *data), energy.value, energy.error or 0.0


def measure_all(trained: Path, data: tuple[Tensor, Tensor]) -> list[dict[str, str]]:
    """A row for each trained twin and seed."""
    rows = read_rows(TABLE)
    done = {(row["twin"], row["seed"]) for row in rows}
    pictures = rolled(some(data[0], PICTURES))
    for twin in DOWNSAMPLING:
        for folder in sorted(trained.glob(f"{twin}-[0-9]*")):
            seed = folder.name.removeprefix(f"{twin}-")
            if (twin, seed) in done or not (folder / WEIGHTS).exists():
                continue
            epochs, *values = measured(folder, twin, data, pictures)
            rows.append(dict(zip(COLUMNS, (twin, seed, str(epochs), *(f"{v:.6f}" for v in values)), strict=True)))
            print(rows[-1], flush=True)
            write_rows(TABLE, COLUMNS, rows)
    return rows


def table(rows: list[dict[str, str]]) -> str:
    """Mean, standard error and standard deviation over seeds, and the error that one network has over pictures."""
    lines = []
    for twin in DOWNSAMPLING:
        its = [row for row in rows if row["twin"] == twin]
        if len(its) < 2:
            continue
        cells = [f"`twin-{twin}`", str(len(its)), "/".join(sorted({row["epochs"] for row in its}))]
        for column in ("accuracy", "measured"):
            values = [float(row[column]) for row in its]
            mean = mean_over(values)
            cells += [f"{mean.value:.4f} ± {mean.error:.4f}", f"{statistics.stdev(values):.4f}"]
        lines.append((*cells, f"{statistics.fmean(float(row['error']) for row in its):.4f}"))
    header = ("twin", "seeds", "epochs", "accuracy", "spread", "measured E(8)", "spread", "error of one network")
    return markdown_table(header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--trained", type=Path, default=Path("build/short"))
    arguments = parser.parse_args()
    rows = measure_all(arguments.trained, read_split(arguments.archive, "test"))
    put_table(DOCS / "zoo.md", "spread", table(rows))


if __name__ == "__main__":
    main()
