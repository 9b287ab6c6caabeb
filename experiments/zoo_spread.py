"""How far twins that differ in their seed alone lie apart, in accuracy and in measured energy.

    python experiments/train_classifier.py ARCHIVE --out build/short --twins all --seeds 0,1,2 --epochs 4 --bfloat16 --snapshots
    python experiments/train_gan.py ARCHIVE --out build/gan-1 --pairs all --steps 1000 --seed 1 --bfloat16    # and so on
    python experiments/zoo_spread.py ARCHIVE --classifiers build/short --gans build/gan-1000,build/gan-1,build/gan-2

Every classifier and discriminator of which two seeds or more are trained for as long, discriminators also before training; E of the
gradient of the top logit at 1,000 test pictures, as in zoo_audit.py. Writes experiments/results/twins_spread.csv and the table of
docs/zoo.md; what is measured already of the same weights is kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import torch
from shared.archive import read_split, rolled, some
from shared.averages import mean_of
from shared.classifiers import WEIGHTS, accuracy, epochs_in, seed_of
from shared.command_line import archive_parser, folders_in
from shared.gans import PAIRS, plain, untrained
from shared.measuring import PERIODS, PICTURES, energies_of
from shared.tables import DOCS, RESULTS, markdown_table, put_table, read_rows, row_of, write_rows
from shared.weights import steps_and_seed, with_weights
from torch import Tensor, nn

from featvis.measure.estimates import words
from featvis.models.model import Model
from featvis.models.zoo import ZOO
from featvis.models.zoo.classifiers import DOWNSAMPLING
from featvis.tracing.hashes import weights_hash

TABLE, PAGE = RESULTS / "twins_spread.csv", DOCS / "zoo.md"
COLUMNS = ("network", "seed", "training", "accuracy", "measured", "error", "hash")

Trained = tuple[str, int, str, nn.Module]
"""Name in the zoo, seed, how long it was trained, and the network."""


def loaded(name: str, weights: Path) -> nn.Module:
    """A network of the zoo with weights of a file, in eval mode."""
    return with_weights(ZOO[name].architecture(), weights)


def classifiers(folder: Path) -> Iterator[Trained]:
    """What train_classifier.py trained to the end."""
    for twin in DOWNSAMPLING:
        for weights in sorted(folder.glob(f"{twin}-[0-9]*/{WEIGHTS}")):
            name, folder_of_seed = f"twin-{twin}", weights.parent
            yield name, seed_of(folder_of_seed), f"{epochs_in(folder_of_seed)} epochs", loaded(name, weights)


def discriminators(folders: list[Path]) -> Iterator[Trained]:
    """What train_gan.py trained to the end, in each pair that the zoo takes its discriminator from, and what it began with."""
    for pair, (upsampling, downsampling) in PAIRS.items():
        for folder in folders if upsampling == "nearest" else ():
            if (weights := folder / pair / "discriminator.safetensors").exists():
                steps, seed = steps_and_seed(weights)
                name = f"discriminator-{downsampling}"
                yield name, seed, "0 steps", plain(untrained(pair, seed)[1])
                yield name, seed, f"{steps} steps", loaded(name, weights)


def measured(trained: Trained, data: tuple[Tensor, Tensor], pictures: Tensor) -> dict[str, str]:
    """Accuracy, energy at the longest period that is measured, and its error over pictures."""
    name, seed, training, network = trained
    card = ZOO[name]
    energy = energies_of(Model(network, mean=card.mean, std=card.std), pictures).energy[PERIODS[card.kind]]
    share = f"{accuracy(network, *data):.4f}" if card.kind == "classifier" else ""
    mark = weights_hash(network)
    return row_of(COLUMNS, name, seed, training, share, f"{energy.value:.6f}", f"{energy.error or 0.0:.6f}", mark)


def measure_all(networks: Iterable[Trained], data: tuple[Tensor, Tensor]) -> list[dict[str, str]]:
    """A row for each network and seed."""
    rows = {tuple(row[name] for name in COLUMNS[:3]): row for row in read_rows(TABLE)}
    pictures = rolled(some(data[0], PICTURES))
    for name, seed, training, network in networks:
        key = (name, str(seed), training)
        if key not in rows or rows[key]["hash"] != weights_hash(network):
            rows[key] = measured((name, seed, training, network), data, pictures)
            print(rows[key], flush=True)
            write_rows(TABLE, COLUMNS, rows.values())
    return list(rows.values())


def table(rows: list[dict[str, str]]) -> str:
    """Mean, standard error and standard deviation over seeds, and the error that one network has over pictures."""
    lines = []
    kinds = dict.fromkeys((row["network"], row["training"]) for row in rows)
    for name, training in sorted(kinds, key=lambda kind: list(ZOO).index(kind[0])):
        its = [row for row in rows if (row["network"], row["training"]) == (name, training)]
        if len(its) < 2:
            continue
        cells = [f"`{name}`", training, str(len(its))]
        for column in ("accuracy", "measured"):
            values = [float(row[column]) for row in its if row[column]]
            if not values:
                cells += ["-", "-"]
                continue
            cells += [words(mean_of(values)), f"{statistics.stdev(values):.4f}"]
        period = str(PERIODS[ZOO[name].kind])
        lines.append((*cells[:5], period, *cells[5:], f"{statistics.fmean(float(row['error']) for row in its):.4f}"))
    header = (
        "network",
        "training",
        "seeds",
        "accuracy",
        "spread",
        "P",
        "measured E(P)",
        "spread",
        "error of one network",
    )
    return markdown_table(header, lines)


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument(
        "--classifiers", type=Path, default=Path("build/short"), help="A folder of train_classifier.py."
    )
    parser.add_argument("--gans", default="", help="Comma-separated folders of train_gan.py.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = chain(classifiers(arguments.classifiers), discriminators(folders_in(arguments.gans)))
    rows = measure_all(networks, read_split(arguments.archive, "test"))
    put_table(PAGE, "spread", table(rows))


if __name__ == "__main__":
    main()
