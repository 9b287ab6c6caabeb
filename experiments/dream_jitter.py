"""Does a different position at each step cancel part of the checkerboard that DeepDream draws, and how far must it move?

    python experiments/dream_jitter.py PICTURES --weights mobilenet_v2.pth      # resumes where it stopped; a quarter of an hour

DeepDreams of photographs through MobileNetV2 (ImageNet, trained and with random weights) and the zoo's classifier: at a fixed position,
with jitter of growing range, equalised without any jitter, and for growing numbers of channels at once. Writes
experiments/results/dream_jitter.csv, draws docs/dream_jitter.png and prints the tables of docs/dream.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from shared.averages import mean_of
from shared.command_line import mobilenet_arguments
from shared.figures import BLUE, RED, draw_estimates
from shared.tables import DOCS, RESULTS, add_rows, markdown_table, read_rows
from torch import Tensor

from featvis.data.pictures import find_pictures
from featvis.dream.activations import Activations
from featvis.dream.comparison import Measured, timed_dream
from featvis.dream.objectives import parse_objective
from featvis.measure.estimates import words
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.plots import save_figure

TABLE, FIGURE = RESULTS / "dream_jitter.csv", DOCS / "dream_jitter.png"
STEPS = 20
CHANNELS = (1, 8, 64)
SHIFTS = 8
"""Random circular shifts at which a finished picture is shown to the network again."""

COLUMNS = (
    *("network", "varied", "value", "seed", "period", "picture", "signed", "gradient", "gradient_signed", "control"),
    *("objective", "shifted"),
)


@dataclass(frozen=True)
class Subject:
    """A network and the layer that is dreamt of. periods: the two that are shown."""

    name: str
    spec: str
    layer: str
    channels: int
    size: int
    total_stride: int
    periods: tuple[int, int]
    seeds: int
    trained: bool = True

    def load(self, weights: str) -> Model:
        side = (self.size, self.size)
        if self.spec.startswith("zoo:"):
            return load_model(self.spec, size=side, device="cpu")
        return load_model(
            self.spec, weights if self.trained else "none", mean=[0.5], std=[0.5], size=side, device="cpu"
        )


SUBJECTS = (
    Subject("MobileNetV2, trained", "mobilenet_v2", "features.17", 320, 160, 32, (4, 8), 8),
    Subject("MobileNetV2, random weights", "mobilenet_v2", "features.17", 320, 160, 32, (4, 32), 8, trained=False),
    Subject("zoo:cifar-k3s2, trained", "zoo:cifar-k3s2", "stage3", 128, 96, 8, (2, 8), 16),
)


def runs(subject: Subject) -> Iterator[tuple[str, int, dict[str, object]]]:
    """What is varied, its value, and the settings."""
    reach = [2**power for power in range(int(math.log2(subject.total_stride)) + 1)]
    for jitter in sorted({0, *reach, 32}):
        yield "jitter", jitter, {"jitter": jitter}
    yield "equalised", 0, {"compensation": "equalise"}
    for count in CHANNELS:
        yield "channels", count, {}


def channels_at_once(subject: Subject, count: int, seed: int) -> str:
    """An objective of so many channels of the layer, drawn with the seed."""
    drawn = np.random.default_rng(seed).permutation(subject.channels)[:count]
    return " + ".join(f"{subject.layer}:{number}" for number in drawn)


class Response:
    """The layer's mean square at a finished picture: where it is, and the mean over random circular shifts of it."""

    def __init__(self, model: Model, layer: str, example: Tensor) -> None:
        self.model = model
        pixels = model.normalise(example.unsqueeze(0))
        self.activations = Activations(model.module, parse_objective(layer, model), pixels, example.unsqueeze(0))
        self.shifts = torch.randint(
            0, min(example.shape[1:]), (SHIFTS, 2), generator=torch.Generator().manual_seed(0)
        ).tolist()

    def __call__(self, picture: Tensor) -> tuple[float, float]:
        shown = [picture, *(picture.roll(tuple(shift), (1, 2)) for shift in self.shifts)]
        with torch.no_grad():
            values = [
                -float(self.activations(self.model.normalise(one.unsqueeze(0)), one.unsqueeze(0))) for one in shown
            ]
        return values[0], sum(values[1:]) / SHIFTS


def rows_of(measured: Measured, answers: tuple[float, float]) -> Iterator[dict[str, object]]:
    """One row for each period."""
    gradient, picture = measured.gradient, measured.picture
    if gradient is None or picture is None:
        raise SystemExit(f"nothing measured: {'; '.join(measured.notes)}")
    controls = [estimate.value for estimate in picture.controls.values()]
    for period in picture.energy:
        numbers = (
            *(picture.energy[period].value, picture.signed_comb[period].value),
            *(gradient.energy[period].value, gradient.signed_comb[period].value),
            *(sum(controls) / len(controls), *answers),
        )
        yield {"period": period, **dict(zip(COLUMNS[5:], (f"{number:.6g}" for number in numbers), strict=True))}


def experiment(subject: Subject, weights: str, pictures: list[Path], done: set[tuple[str, ...]]) -> None:
    model = subject.load(weights)
    chosen = pictures[:: max(1, len(pictures) // subject.seeds)][: subject.seeds]
    starts = [model.load(path)[1] for path in chosen]
    response = Response(model, subject.layer, starts[0])
    for seed, start in enumerate(starts):
        for varied, value, settings in runs(subject):
            if (subject.name, varied, str(value), str(seed)) in done:
                continue
            objective = channels_at_once(subject, value, seed) if varied == "channels" else subject.layer
            measured = timed_dream(varied, model, objective, start, steps=STEPS, seed=seed, **settings)
            rows = rows_of(measured, response(measured.dream.picture))
            dreamt = {"network": subject.name, "varied": varied, "value": value, "seed": seed}
            add_rows(TABLE, COLUMNS, [{**dreamt, **row} for row in rows])
            print(subject.name, varied, value, seed, f"{measured.seconds:.1f} s", flush=True)


class Table:
    """The results by network, what is varied, value and period."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.rows = rows

    def values(self, network: str, varied: str, value: int, period: int, column: str) -> np.ndarray:
        """One number for each seed, in order."""
        wanted = (network, varied, str(value), str(period))
        found = {
            int(row["seed"]): float(row[column])
            for row in self.rows
            if (row["network"], row["varied"], row["value"], row["period"]) == wanted
        }
        return np.array([found[seed] for seed in sorted(found)])

    def settings(self, network: str, varied: str) -> list[int]:
        return sorted({int(row["value"]) for row in self.rows if (row["network"], row["varied"]) == (network, varied)})


def summarise(table: Table) -> None:
    """Prints a table for each network, and the paired comparisons."""
    for subject in SUBJECTS:
        name, (short, long) = subject.name, subject.periods
        shown = (
            *((f"E({short}), picture", short, "picture"), (f"E({long}), picture", long, "picture")),
            *((f"S({long}), picture", long, "signed"), (f"E({short}), gradient", short, "gradient")),
            *((f"E({long}), gradient", long, "gradient"), ("control, picture", short, "control")),
        )
        header = ("", *(head for head, *_ in shown), "response", "after shifts")
        lines = []
        for varied in ("jitter", "equalised", "channels"):
            for value in table.settings(name, varied):
                cells = [
                    words(mean_of(table.values(name, varied, value, period, column))) for _, period, column in shown
                ]
                for column in ("objective", "shifted"):
                    fixed = table.values(name, "jitter", 0, short, column)
                    relative = table.values(name, varied, value, short, column) / fixed
                    cells.append("" if varied == "channels" else words(mean_of(relative)))
                lines.append((f"{varied} {value}" if varied != "equalised" else varied, *cells))
        print(f"\n{name}, {subject.layer}\n\n{markdown_table(header, lines)}")
        for period in subject.periods:
            for column, letter in (("picture", "E"), ("signed", "S")):
                fixed = table.values(name, "jitter", 0, period, column)
                for varied, value in (("jitter", 32), ("equalised", 0)):
                    mean, error = mean_of(table.values(name, varied, value, period, column) - fixed)
                    left = 1 + mean / fixed.mean()
                    print(f"{letter}({period}), {varied} - fixed, paired: {mean:+.4f} ± {error:.4f}, {left:.0%} left")


def draw(table: Table) -> None:
    """The comb against the range of the jitter, and equalised: energy above, signed comb below, a column for each network."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplots(2, len(SUBJECTS))
    rows = (("energy E", "picture", "gradient"), ("signed comb S", "signed", "gradient_signed"))
    for column, subject in enumerate(SUBJECTS):
        reach = table.settings(subject.name, "jitter")
        settings = [*(("jitter", jitter) for jitter in reach), ("equalised", 0)]
        # The last one stands apart: it has no jitter.
        places = [*range(len(reach)), len(reach) + 0.5]
        for axes, (title, *measured) in zip(panels[:, column], rows, strict=True):
            for period, colour in zip(subject.periods, (BLUE, RED), strict=True):
                for which, line, marker, what in zip(measured, "-:", "os", ("picture", "last gradient"), strict=True):
                    points = [mean_of(table.values(subject.name, *one, period, which)) for one in settings]
                    style = {"color": colour, "marker": marker, "markersize": 4, "capsize": 3}
                    label = f"period {period}, {what}"
                    draw_estimates(axes, places[:-1], points[:-1], linestyle=line, label=label, **style)
                    draw_estimates(axes, places[-1:], points[-1:], linestyle="none", **style)
            axes.axhline(0, color="0.8", linewidth=1, zorder=0)
            axes.axvline(len(reach) - 0.25, color="0.8", linewidth=1, linestyle="--", zorder=0)
            axes.set_xticks(places, [*map(str, reach), "0,\nequalised"])
            axes.set_xlabel("largest shift of a step, pixels")
            axes.set_title(f"{subject.name}: {title}", fontsize=10)
        panels[1, column].legend(loc="upper center", bbox_to_anchor=(0.45, -0.24), ncols=2, fontsize=8, frameon=False)
    save_figure(figure, FIGURE)


def main() -> None:
    arguments = mobilenet_arguments(__doc__)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # random weights make gradients so small that they are slow
    pictures = find_pictures([arguments.pictures])
    done = {(row["network"], row["varied"], row["value"], row["seed"]) for row in read_rows(TABLE)}
    for subject in SUBJECTS:
        experiment(subject, arguments.weights, pictures, done)
    table = Table(read_rows(TABLE))
    summarise(table)
    draw(table)


if __name__ == "__main__":
    main()
