"""Is bilinear resize-convolution harder to train than nearest-neighbour, as the article found?

    python experiments/resize_modes.py cifar10_jpeg.zip

The zoo's generators, which differ in how they upsample: Frechet distance, losses, checkerboard energy and comb of their fine detail, and
their fine detail itself, beside CIFAR-10's test pictures. Reads experiments/results/gan_training.csv, writes
experiments/results/resize_modes.csv, docs/studies/resize_modes.png and the table of its page.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from shared import gans
from shared.archive import read_split
from shared.averages import mean_of
from shared.command_line import archive_argument
from shared.figures import BLUE, GREY, RED, open_box
from shared.tables import RESULTS, STUDIES, estimate_in, markdown_table, put_table, read_rows, row_of, write_rows

from featvis.gan import PictureAudit, fine_detail, measure_pictures, power_beside
from featvis.measure.estimates import Estimate, words
from featvis.plots import save_figure

TABLE = RESULTS / "resize_modes.csv"
PAGE, FIGURE = STUDIES / "resize_modes.md", STUDIES / "resize_modes.png"
DRAWS = 3
"""Draws of 5,000 samples each, whose distances give an error."""

REAL = "CIFAR-10"
COLOURS = {"nearest": BLUE, "bilinear": RED}
COMMON_STEPS = 1000
"""Steps of the seeds that were trained for less time."""

LAST_STEPS = 500
"""Steps at the end of training over which losses are averaged."""

COLUMNS = ("generator", "quantity", "value", "error")

SHOWN = {
    "distance": "Frechet distance",
    "over_seeds": "over seeds, 1000 steps",
    "discriminator_loss": "discriminator's loss",
    "generator_loss": "generator's loss",
    "E(2)": "E(2)",
    "E of exactly 4": "E of exactly 4",
    "S(2)": "S(2)",
    "S(4)": "S(4)",
    "largest_control": "largest control",
    "high_frequency_share": "high-frequency share",
    "fine_detail": "power above 1/4 cycle",
}
"""What is measured, and its title. distance: of seed 0, with the error over draws of samples; losses: over the last 500
steps; what was measured of no generator has no column."""


def distances_of_seeds(log: list[dict[str, str]], name: str) -> list[float]:
    """The distance after as many steps as all seeds have, of each seed."""
    return [float(row["distance"]) for row in log if (row["pair"], row["step"]) == (name, str(COMMON_STEPS))]


def of_pictures(audit: PictureAudit) -> dict[str, Estimate]:
    """What the pictures alone tell."""
    detail = audit.high_passed
    return {
        "E(2)": detail.energy[2],
        "E of exactly 4": detail.exact_periods[4],
        "S(2)": detail.signed_comb[2],
        "S(4)": detail.signed_comb[4],
        "largest_control": max(detail.controls[period] for period in gans.CONTROLS),
        "high_frequency_share": audit.raw.high_frequency_share,
        "fine_detail": Estimate(fine_detail(audit), None),
    }


def of_training(log: list[dict[str, str]], name: str) -> dict[str, Estimate]:
    """Means of both losses over the last steps, with errors from the log's rows, which are means over 50 steps each."""
    own = [row for row in log if (row["pair"], row["seed"]) == (name, "0")]
    last = int(own[-1]["step"]) - LAST_STEPS
    return {
        column: mean_of([float(row[column]) for row in own if int(row["step"]) > last])
        for column in ("discriminator_loss", "generator_loss")
    }


def rows_of(name: str, found: dict[str, Estimate]) -> list[dict[str, str]]:
    """A row for each quantity."""
    return [
        row_of(COLUMNS, name, key, f"{value:.6g}", "" if error is None else f"{error:.3g}")
        for key, (value, error) in found.items()
    ]


def table(rows: list[dict[str, str]]) -> str:
    """A line for each generator, real pictures last."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["quantity"] in SHOWN:
            value = words(estimate_in(row, "value", "error"))
            cells.setdefault(row["generator"], {})[row["quantity"]] = value
    columns = {key: title for key, title in SHOWN.items() if any(key in its for its in cells.values())}
    names = sorted(cells, key=lambda name: name == REAL)
    lines = [(name, *(cells[name].get(key, "") for key in columns)) for name in names]
    return markdown_table(("generator", *columns.values()), lines)


def figure_of(log: list[dict[str, str]], audits: dict[str, PictureAudit], real: PictureAudit) -> Figure:
    """Distance and the discriminator's loss over training, and power by frequency relative to real pictures; the two modes in colour."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for name in sorted(audits, key=lambda name: name in COLOURS):
        colour, width = COLOURS.get(name, GREY), 2.0 if name in COLOURS else 0.8
        for seed in sorted(
            {row["seed"] for row in log if row["pair"] == name and (name in COLOURS or row["seed"] == "0")}
        ):
            label = name if name in COLOURS and seed == "0" else "_"
            for axes, column in zip(panels, ("distance", "discriminator_loss"), strict=False):
                own = [row for row in log if (row["pair"], row["seed"]) == (name, seed) and row[column]]
                points = [(int(row["step"]), float(row[column])) for row in own]
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, label=label)
        panels[2].plot(*zip(*power_beside(audits[name], real), strict=True), color=colour, linewidth=width)
    panels[0].plot([], [], color=GREY, linewidth=0.8, label="the other generators")
    panels[0].legend(frameon=False)
    panels[0].set_title("Frechet distance")
    panels[1].set_title("The discriminator's hinge loss")
    panels[2].set_title("Power of samples over that of CIFAR-10")
    panels[2].set_yscale("log")
    panels[2].axhline(1, color="black", linewidth=0.6)
    panels[2].set_xlabel("cycles per pixel")
    for axes in panels[:2]:
        axes.set_xlabel("step")
    for axes in panels:
        open_box(axes)
    return figure


def main() -> None:
    archive = archive_argument(__doc__)
    torch.set_num_threads(1)
    judge = gans.judge_of(read_split(archive, "test")[0])
    real = measure_pictures(gans.real_pictures(archive), gans.PERIOD)
    log, audits, rows = read_rows(gans.TRAINING), {}, rows_of(REAL, of_pictures(real))
    shipped = gans.shipped_generators()
    for name in sorted(shipped, key=lambda name: list(COLOURS).index(name) if name in COLOURS else len(COLOURS)):
        generator = gans.trained_generator(name, shipped[name])
        audits[name] = measure_pictures(gans.pictures_of(generator, gans.MEASURED_SAMPLES), gans.PERIOD)
        found = {"distance": mean_of([gans.distance(judge, generator, seed) for seed in range(DRAWS)])}
        if len(seeds := distances_of_seeds(log, name)) > 1:
            found["over_seeds"] = mean_of(seeds)
        rows += rows_of(name, found | of_training(log, name) | of_pictures(audits[name]))
        print(name, f"{seeds} after {COMMON_STEPS} steps", found, flush=True)
    for name, audit in audits.items():
        ratios = {f"power over CIFAR-10 at {at:.3f}": Estimate(ratio, None) for at, ratio in power_beside(audit, real)}
        rows += rows_of(name, ratios)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "resize-modes", table(rows))
    save_figure(figure_of(log, audits, real), FIGURE)


if __name__ == "__main__":
    main()
