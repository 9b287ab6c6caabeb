"""Does training balance uneven overlap? Three twins over training: 3x3 kernels, which overlap unevenly, 4x4, and 3x3 with 1x1 shortcuts.

    python experiments/train_classifier.py ARCHIVE --out build/short --twins all --seeds 0,1,2 --epochs 4 --bfloat16 --snapshots
    python experiments/train_classifier.py ARCHIVE --out build/still --twins k3s2 --seeds 0,1,2 --epochs 4 --bfloat16 --padding 0
    python experiments/overlap_training.py ARCHIVE --snapshots build/short --still build/still

What each strided layer injects at its own stride, predicted from its weights, where it is the only way to the pixels, and E(8) measured
at 500 test pictures: for the weights before training and after each epoch, errors over the seeds, and for the zoo's twins, which were
trained for longer, with one seed, errors over pictures. *Still* is the short recipe without random crops. Two controls for each: every
convolution with the weights of each kernel shuffled over its positions, or with those of each position shuffled over the kernels, which
keeps how much each position weighs; three draws, 250 pictures, errors over the draws. Batch norms have the statistics of their own
network: where its weights are shuffled or untrained, measured anew at training pictures. What is measured already of the same weights
is kept.

Writes experiments/results/overlap_training.csv, docs/studies/overlap_training.png and the table of its page.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from shared.archive import STUDIED, augment, read_split, rolled, some
from shared.averages import mean_of
from shared.classifiers import WEIGHTS, epochs_in, normalise, seed_of
from shared.command_line import archive_parser
from shared.figures import BLUE, GREEN, PINK, RED, SKY, draw_estimates
from shared.measuring import PERIODS, energies_of
from shared.tables import RESULTS, STUDIES, markdown_table, put_table, read_rows, row_of, write_rows
from shared.weights import settle, with_weights
from torch import Tensor, nn

from featvis.measure.estimates import Estimate, words
from featvis.models.model import Model
from featvis.models.zoo import ZOO
from featvis.plots import save_figure
from featvis.predict.prediction import predict
from featvis.tracing.hashes import weights_hash

TABLE = RESULTS / "overlap_training.csv"
PAGE, FIGURE = STUDIES / "overlap_training.md", STUDIES / "overlap_training.png"
TWINS, PERIOD, DRAWS = ("k3s2", "k4s2", "shortcut-1x1"), PERIODS["classifier"], 3
SETTLING = 2000
"""Training pictures at which batch norms are measured."""

LAYERS = ("stem.0", "down2.0", "down3.0")
COLUMNS = ("recipe", "twin", "seed", "epoch", "weights", *LAYERS, "predicted", "measured", "error", "hash")
FULL_EPOCHS = 24

Shuffle = Callable[[Tensor, torch.Generator], Tensor]

SHUFFLES: dict[str, Shuffle | None] = {
    "trained": None,
    "positions shuffled": lambda kernels, random: _shuffled(kernels, random),
    "kernels shuffled": lambda kernels, random: _shuffled(kernels.T, random).T,
}
"""What is done to the weights of each convolution, (kernels, positions)."""


def _shuffled(rows: Tensor, random: torch.Generator) -> Tensor:
    """Each row in an order of its own."""
    return rows.gather(1, torch.rand(rows.shape, generator=random).argsort(1))


def snapshots(short: Path, still: Path) -> Iterator[tuple[str, str, int, int, Path | None]]:
    """Recipe, twin, seed, epoch and file of all weights that there are; no file for those before the full training."""
    for twin in TWINS:
        for path in sorted(short.glob(f"{twin}-*/epoch-*.safetensors")):
            yield "short", twin, seed_of(path.parent), int(re.sub(r"\D", "", path.stem)), path
        for path in sorted(still.glob(f"{twin}-*/{WEIGHTS}")):
            yield "still", twin, seed_of(path.parent), epochs_in(path.parent), path
        yield "full", twin, 0, 0, None
        yield "full", twin, 0, FULL_EPOCHS, ZOO[f"twin-{twin}"].weights


def network_at(twin: str, seed: int, path: Path | None, epoch: int, inputs: list[Tensor]) -> nn.Module:
    """A twin with the weights of a snapshot, or with those that its training started from.

    inputs: batches at which the batch norms of an untrained one are measured.
    """
    torch.manual_seed(seed)
    network = ZOO[f"twin-{twin}"].architecture().eval()
    if path is not None:
        with_weights(network, path)
    if epoch == 0:
        settle(network, inputs)
    return network


def measured(network: nn.Module, twin: str, pictures: Tensor) -> list[float]:
    """What each strided layer injects, NaN where two lie side by side, E(8) predicted and measured, and the error of that over pictures."""
    card = ZOO[f"twin-{twin}"]
    prediction = predict(network, card.input_size)
    injected = {layer.name: layer.injected for layer in prediction.layers}
    energy = energies_of(Model(network, mean=card.mean, std=card.std), pictures).energy[PERIOD]
    return [
        *(injected.get(name, math.nan) for name in LAYERS),
        prediction.energy[PERIOD],
        energy.value,
        energy.error or 0.0,
    ]


def measured_shuffled(
    network: nn.Module, twin: str, pictures: Tensor, shuffle: Shuffle, inputs: list[Tensor]
) -> list[float]:
    """The same of shuffled weights, means over draws, and the error over draws."""
    found = []
    for draw in range(DRAWS):
        twin_network = copy.deepcopy(network)
        # Another seed than those of the weights, which begin as numbers of the same generator.
        random = torch.Generator().manual_seed(1_000_000 + draw)
        for layer in twin_network.modules():
            if isinstance(layer, nn.Conv2d):
                weight = layer.weight.data
                layer.weight.data = shuffle(weight.flatten(2).flatten(0, 1), random).reshape(weight.shape)
        settle(twin_network, inputs)
        found.append(measured(twin_network, twin, pictures[::2])[:-1])
    means = [mean_of(values) for values in zip(*found, strict=True)]
    return [*(mean.value for mean in means), means[-1].error or 0.0]


def measure_all(
    trained: Iterable[tuple[str, str, int, int, Path | None]], pictures: Tensor, inputs: list[Tensor]
) -> list[dict[str, str]]:
    """A row for each snapshot and shuffle; written as they come, those of the same weights that are there already are kept."""
    rows = {tuple(row[name] for name in COLUMNS[:5]): row for row in read_rows(TABLE)}
    for recipe, twin, seed, epoch, path in trained:
        network = network_at(twin, seed, path, epoch, inputs)
        mark = weights_hash(network)
        for shuffle, change in SHUFFLES.items():
            key = (recipe, twin, str(seed), str(epoch), shuffle)
            if key in rows and rows[key]["hash"] == mark:
                continue
            values = (
                measured_shuffled(network, twin, pictures, change, inputs)
                if change
                else measured(network, twin, pictures)
            )
            numbers = ("" if math.isnan(value) else f"{value:.6f}" for value in values)
            rows[key] = row_of(COLUMNS, *key, *numbers, mark)
            print(rows[key], flush=True)
            write_rows(TABLE, COLUMNS, rows.values())
    return list(rows.values())


def estimate(rows: list[dict[str, str]], column: str) -> Estimate | None:
    """The mean over seeds with its error; of a single seed its value, and the error over pictures or draws where it was measured."""
    values = [float(row[column]) for row in rows if row[column]]
    if not values:
        return None
    if len(values) > 1:
        return mean_of(values)
    return Estimate(values[0], float(rows[0]["error"]) if column == "measured" else None)


def chosen(rows: list[dict[str, str]], recipe: str, twin: str, shuffle: str) -> dict[int, list[dict[str, str]]]:
    """The rows of all seeds by epoch."""
    found: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        if (row["recipe"], row["twin"], row["weights"]) == (recipe, twin, shuffle):
            found.setdefault(int(row["epoch"]), []).append(row)
    return dict(sorted(found.items()))


def table(rows: list[dict[str, str]]) -> str:
    lines = []
    for twin in TWINS:
        for recipe in ("short", "still", "full"):
            by_epoch = chosen(rows, recipe, twin, "trained")
            shuffled = [chosen(rows, recipe, twin, name) for name in SHUFFLES if name != "trained"]
            for epoch, its in by_epoch.items():
                cells = [words(estimate(its, name)) for name in (*LAYERS, "predicted", "measured")]
                cells += [words(estimate(other[epoch], "measured")) for other in shuffled]
                lines.append((twin, recipe, epoch, len(its), *cells))
    header = (
        "twin", "recipe", "epoch", "seeds", "stem injects", "down2 injects", "down3 injects", "predicted E(8)", "measured E(8)",
        "measured, positions shuffled", "measured, kernels shuffled",
    )  # fmt: skip
    return markdown_table(header, lines)


COLOURS = dict(zip(LAYERS, (BLUE, RED, GREEN), strict=True))
STYLES = {"k3s2": ("-", "o"), "k4s2": ("--", "s"), "shortcut-1x1": (":", "^")}


def draw(rows: list[dict[str, str]]) -> Figure:
    """What the layers inject over training, and what is measured at the pixels."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for twin in TWINS:
        for name, colour in COLOURS.items():
            _line(left, rows, twin, "trained", name, colour, f"{name.partition('.')[0]}, {twin}")
        for shuffle, colour in zip(SHUFFLES, ("#222222", PINK, SKY), strict=True):
            if shuffle == "trained" or twin in ("k3s2", "k4s2"):
                _line(right, rows, twin, shuffle, "measured", colour, f"{shuffle}, {twin}")
    left.set_title("What each strided layer injects, from its weights")
    left.set_ylabel("E at the layer's own stride")
    right.set_title("Measured at the pixels")
    right.set_ylabel("E(8), logarithmic above 0.001")
    right.set_yscale("symlog", linthresh=0.001)
    right.set_ylim(-0.0005, 1)
    last = last_epoch(rows)
    for axes in (left, right):
        axes.axvline(last + 0.5, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xticks(range(last + 2), [*map(str, range(last + 1)), "full"])
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.legend(fontsize=7, ncols=2)
    figure.supxlabel(
        "epoch of the short recipe, errors over seeds; hollow: the full recipe of 24 epochs, one seed", fontsize=9
    )
    return figure


def _line(
    axes: Axes, rows: list[dict[str, str]], twin: str, shuffle: str, column: str, colour: str, label: str
) -> None:
    """One quantity over the epochs of the short recipe, and beside it at the end of the full one."""
    style, marker = STYLES[twin]
    by_epoch = chosen(rows, "short", twin, shuffle).items()
    values = {epoch: value for epoch, its in by_epoch if (value := estimate(its, column)) is not None}
    if not values:
        return
    draw_estimates(
        axes, list(values), list(values.values()),
        color=colour, linestyle=style, marker=marker, markersize=4, linewidth=1.2, capsize=2, label=label,
    )  # fmt: skip
    end = estimate(chosen(rows, "full", twin, shuffle)[FULL_EPOCHS], column)
    if end is not None:
        last = [last_epoch(rows) + 1]
        draw_estimates(axes, last, [end], color=colour, marker=marker, markersize=6, markerfacecolor="none", capsize=2)


def last_epoch(rows: list[dict[str, str]]) -> int:
    """Of the short recipe."""
    return max(int(row["epoch"]) for row in rows if row["recipe"] == "short")


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("--snapshots", type=Path, default=Path("build/short"))
    parser.add_argument("--still", type=Path, default=Path("build/still"), help="Trained without random crops.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures, _ = read_split(arguments.archive, "test")
    training, _ = read_split(arguments.archive, "train")
    crops = augment(training[:: len(training) // SETTLING], torch.Generator().manual_seed(0))
    trained = snapshots(arguments.snapshots, arguments.still)
    rows = measure_all(trained, rolled(some(pictures, STUDIED)), list(normalise(crops).split(250)))
    save_figure(draw(rows), FIGURE)
    put_table(PAGE, "training", table(rows))


if __name__ == "__main__":
    main()
