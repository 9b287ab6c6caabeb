"""Predicted beside measured checkerboard of every torchvision classification model, with random weights.

    python experiments/census.py            # resumes where it stopped; about half an hour on two cores

Each model runs in a process of its own: built with seed 0, predicted from its own weights, then measured at 8 pictures of white noise
with random signs on the logits. Writes experiments/results/census.csv, draws docs/census.png and prints the tables of docs/prediction.md.
"""

from __future__ import annotations

import json
import resource
import time

import numpy as np
import torch
from matplotlib.figure import Figure
from shared.averages import rank_correlation
from shared.classifiers import random_torchvision
from shared.command_line import parser_of
from shared.processes import examine_each
from shared.tables import DOCS, RESULTS, estimate_in, markdown_table, read_rows

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import words
from featvis.measure.metric import CheckerboardEnergy
from featvis.plots import save_figure
from featvis.predict.prediction import predict

TABLE, FIGURE = RESULTS / "census.csv", DOCS / "census.png"
PICTURES = 8
WORTH = 0.005
"""Relative errors are taken where the measured energy is above this."""

COLUMNS = (
    "model", "period", "total_stride", "predicted", "measured", "error",
    "predict_seconds", "gradient_seconds", "measure_seconds", "peak_mib", "fault",
)  # fmt: skip


def examine(name: str) -> list[dict[str, object]]:
    """The rows of one model, one for each period; a single row with the fault where it cannot be predicted."""
    torch.set_num_threads(2)
    model = random_torchvision(name)
    size = model.input_size
    started = time.perf_counter()
    try:
        prediction = predict(model.module, size)
    except FeatvisError as error:
        return [{"model": name, "fault": str(error)}]
    predicted_in = time.perf_counter() - started
    engine = GradientEngine(model, "seeds", prepare=False)
    images = torch.randn(PICTURES, *size, generator=torch.Generator().manual_seed(0))
    engine(images[:1])
    started = time.perf_counter()
    engine(images[:1])
    one_gradient = time.perf_counter() - started
    metric = CheckerboardEnergy(engine.total_stride)
    started = time.perf_counter()
    for number in range(PICTURES):
        metric.update(engine(images[number : number + 1], [number]), [number])
    measured_in = time.perf_counter() - started
    measured = metric.compute().energy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        {
            "model": name,
            "period": period,
            "total_stride": engine.total_stride,
            "predicted": round(prediction.energy[period], 6),
            "measured": round(measured[period].value, 6),
            "error": round(measured[period].error or 0.0, 6),
            "predict_seconds": round(predicted_in, 2),
            "gradient_seconds": round(one_gradient, 2),
            "measure_seconds": round(measured_in, 2),
            "peak_mib": round(peak),
        }
        for period in measured
    ]


def summarise(rows: list[dict[str, str]]) -> None:
    """Prints the agreement and the table, and draws the scatter plot."""
    known = [row for row in rows if not row["fault"]]
    whole = [row for row in known if row["period"] == row["total_stride"]]
    predicted, measured = (np.array([float(row[key]) for row in whole]) for key in ("predicted", "measured"))
    correlation = rank_correlation(predicted, measured)
    pairs = np.array([(float(row["predicted"]), float(row["measured"])) for row in known])
    strong = pairs[pairs[:, 1] > WORTH]
    relative = np.abs(strong[:, 0] / strong[:, 1] - 1)
    print(f"{len(whole)} models; rank correlation of E(total stride) {correlation:.3f}")
    print(f"{len(strong)} energies above {WORTH}: median relative error {np.median(relative):.1%}")
    for row in rows:
        if row["fault"]:
            print(f"  {row['model']}: {row['fault']}")
        elif row in whole and float(row["measured"]) > WORTH:
            miss = float(row["predicted"]) / float(row["measured"]) - 1
            if abs(miss) > 0.3:
                print(f"  misses by {miss:+.0%}: {row['model']}, {row['predicted']} for {row['measured']}")
    whole.sort(key=lambda row: -float(row["measured"]))
    lines = [
        (
            row["model"],
            row["total_stride"],
            f"{float(row['predicted']):.4f}",
            words(estimate_in(row, "measured", "error")),
        )
        for row in (*whole[:10], *whole[-10:])
    ]
    print(f"\n{markdown_table(('model', 'P', 'predicted E(P)', 'measured E(P)'), lines)}")

    figure = Figure(figsize=(6.5, 6), layout="constrained")
    axes = figure.add_subplot()
    # Smaller values, and negative ones, are drawn at the edge.
    limits = [1e-5, 200]
    axes.plot(limits, limits, color="0.7", linewidth=1)
    for stride, marker in (("14", "^"), ("16", "s"), ("32", "o")):
        group = [row for row in whole if row["total_stride"] == stride]
        axes.errorbar(
            [max(float(row["predicted"]), limits[0]) for row in group],
            [max(float(row["measured"]), limits[0]) for row in group],
            [float(row["error"]) for row in group],
            fmt=marker,
            markersize=5,
            label=f"total stride {stride}",
        )
    axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits)
    axes.set(xlabel="predicted E(total stride)", ylabel="measured E(total stride), random weights")
    axes.set_title(f"{len(whole)} torchvision models, rank correlation {correlation:.3f}")
    axes.legend()
    save_figure(figure, FIGURE)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("model", nargs="?", help="Examine this one alone, in this process, and print its rows.")
    if alone := parser.parse_args().model:
        print(json.dumps(examine(alone)))
        return
    models = import_torchvision().models
    examine_each(__file__, models.list_models(module=models), TABLE, COLUMNS, "fault")
    summarise(read_rows(TABLE))


if __name__ == "__main__":
    main()
