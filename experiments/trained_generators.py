"""What does training do to the checkerboard of a generator's pictures, by how it upsamples?

    python experiments/trained_generators.py cifar10_jpeg.zip --more build/gan,build/gan-1,build/gan-2

The pictures of the zoo's generators with random weights (16 networks each) and trained, and CIFAR-10's test pictures, shifted at random:
checkerboard energy E and signed comb S by period, of the pictures minus their 3x3 blur, and whether a period stands out from the
frequencies beside it, in sets of 256 pictures: one of each random network, 16 of each trained one. --more names folders of
experiments/train_gan.py with other seeds, steps or discriminators. Writes experiments/results/trained_generators.csv,
docs/studies/trained_generators.png and the table of its page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from matplotlib.figure import Figure
from shared.averages import mean_of
from shared.command_line import archive_parser, folders_in
from shared.figures import BLUE, GREY, RED, draw_estimates, open_box
from shared.gans import (
    CONTROLS,
    GENERATORS,
    MEASURED_SAMPLES,
    PAIRS,
    PERIOD,
    pictures_of,
    random_generator,
    real_pictures,
    shipped_generators,
    shipped_weights,
    trained_generator,
)
from shared.tables import RESULTS, STUDIES, estimate_in, markdown_table, put_table, row_of, write_rows
from shared.weights import steps_and_seed
from torch import Tensor

from featvis.gan import measure_pictures
from featvis.measure.estimates import Estimate
from featvis.plots import save_figure

TABLE = RESULTS / "trained_generators.csv"
PAGE, FIGURE = STUDIES / "trained_generators.md", STUDIES / "trained_generators.png"
NETWORKS, NETWORK_SAMPLES = 16, 256
"""Networks with random weights of each kind, and pictures of each and in each set."""

COLUMNS = ("generator", "weights", "steps", "seed", "period", "energy", "energy_error", "exact", "exact_error", "comb", "comb_error",
           *(f"control_{period}{end}" for period in CONTROLS for end in ("", "_error")), "sets", "stands_out")  # fmt: skip
Row = dict[str, str]
Kind = tuple[str, str, int]
"""Generator, weights and steps of training."""

SHOWN = 3
LOOKS = ((RED, "s", True), (BLUE, "o", False), (BLUE, "o", True))
"""Colour, marker and whether it is filled, by how long the networks are trained."""


def networks(more: list[Path]) -> Iterator[tuple[str, str, Path]]:
    """Name, upsampling and weights of every trained generator: the zoo's, and those of the folders with other seeds, steps or opponents."""
    for pair, (upsampling, _) in PAIRS.items():
        shipped = shipped_weights(pair) if pair in GENERATORS else None
        files = [file for folder in more if (file := folder / pair / "generator.safetensors").exists()]
        label = pair if pair in GENERATORS else f"{upsampling}, against {pair}"
        distinct = {steps_and_seed(file): file for file in [*files, *([shipped] if shipped else [])]}
        yield from ((label, upsampling, file) for file in distinct.values())


def rows_of(name: str, weights: str, steps: int, seed: int, pictures: Tensor) -> list[Row]:
    """A row for each period, of the fine detail of pictures (N, 3, 32, 32)."""
    detail = measure_pictures(pictures, PERIOD).high_passed
    sets = [measure_pictures(each, PERIOD).verdict for each in pictures.split(NETWORK_SAMPLES)]
    rows: list[Row] = []
    for period, energy in detail.energy.items():
        controls = (detail.controls[control] for control in CONTROLS)
        estimates = (energy, detail.exact_periods[period], detail.signed_comb[period], *controls)
        numbers = [f"{number:.5g}" for estimate in estimates for number in estimate]
        found = sum(period in each.standing_out for each in sets)
        rows.append(row_of(COLUMNS, name, weights, steps, seed, period, *numbers, len(sets), found))
    return rows


def measure(archive: Path, more: list[Path]) -> list[Row]:
    rows = rows_of("CIFAR-10", "real", 0, 0, real_pictures(archive))
    for name in GENERATORS:
        for seed in range(NETWORKS):
            pictures = pictures_of(random_generator(name, seed, NETWORK_SAMPLES), NETWORK_SAMPLES)
            rows += rows_of(name, "random", 0, seed, pictures)
    for label, upsampling, weights in networks(more):
        pictures = pictures_of(trained_generator(upsampling, weights), MEASURED_SAMPLES)
        rows += rows_of(label, "trained", *steps_and_seed(weights), pictures)
        print(*rows[-2].values(), *rows[-1].values(), flush=True)
    write_rows(TABLE, COLUMNS, rows)
    return rows


def kind_of(row: Row) -> Kind:
    return row["generator"], row["weights"], int(row["steps"])


def kinds_of(rows: list[Row]) -> list[Kind]:
    """All kinds that were measured, other opponents and CIFAR-10 last."""
    kinds = dict.fromkeys(map(kind_of, rows))
    order = [*GENERATORS, *sorted(name for name, *_ in kinds if " against " in name), "CIFAR-10"]
    return sorted(kinds, key=lambda kind: (order.index(kind[0]), kind[2]))


def over_networks(rows: list[Row], kind: Kind, period: int, column: str) -> Estimate:
    """The mean over networks and its standard error; over samples, where there is one network alone."""
    found = [row for row in rows if kind_of(row) == kind and row["period"] == str(period)]
    estimates = [estimate for row in found if (estimate := estimate_in(row, column))]
    return mean_of([value for value, _ in estimates]) if len(estimates) > 1 else estimates[0]


def table(rows: list[Row]) -> str:
    """Means over networks of the fine detail's numbers; a line for each generator, random and trained."""
    header = ("generator", "weights", "networks", "E(2)", "E of exactly 4", "S(2)", "S(4)", "largest control",
              "sets of pictures where period 2 stands out", "4")  # fmt: skip
    lines = []
    for kind in kinds_of(rows):
        name, weights, steps = kind
        measured = ((2, "energy"), (4, "exact"), (2, "comb"), (4, "comb"))
        numbers = [over_networks(rows, kind, period, column) for period, column in measured]
        controls = [over_networks(rows, kind, PERIOD, f"control_{period}") for period in CONTROLS]
        numbers.append(max(controls))
        found = {period: [row for row in rows if kind_of(row) == kind and row["period"] == period] for period in "24"}
        out = [
            f"{sum(int(r['stands_out']) for r in its)} of {sum(int(r['sets']) for r in its)}" for its in found.values()
        ]
        label = f"{weights}, {steps} steps" if weights == "trained" else weights
        lines.append((name, label, len(found["2"]), *map(str, numbers), *out))
    return markdown_table(header, lines)


def figure_of(rows: list[Row]) -> Figure:
    """Samples of each generator, then energy and comb by period, random and trained."""
    stages = sorted({kind[1:] for kind in kinds_of(rows) if kind[0] in GENERATORS})
    shipped = shipped_generators()
    names = list(shipped)
    figure = Figure(figsize=(11, 9.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 2.1))
    grid = above.subplots(SHOWN, len(names), squeeze=False)
    for column, name in zip(grid.T, names, strict=True):
        made = pictures_of(trained_generator(name, shipped[name]), SHOWN, seed=5)
        for axes, picture in zip(column, made, strict=True):
            axes.imshow((picture / 2 + 0.5).permute(1, 2, 0).numpy(), interpolation="nearest")
            axes.set_axis_off()
        column[0].set_title(name, fontsize=9)
    above.suptitle("Samples after training (32 x 32 pixels, the same latent values in each row)", fontsize=10)
    panels = list(below.subplots(2, 2, sharex=True).flat)
    panel_kinds = (
        ("energy", 2, "E(2)"),
        ("exact", 4, "E of exactly period 4"),
        ("comb", 2, "S(2)"),
        ("comb", 4, "S(4)"),
    )
    for axes, (column, period, title) in zip(panels, panel_kinds, strict=True):
        for (weights, steps), (colour, marker, filled), shift in zip(stages, LOOKS, (-0.2, 0, 0.2), strict=False):
            found = [over_networks(rows, (name, weights, steps), period, column) for name in names]
            count = len({row["seed"] for row in rows if kind_of(row)[1:] == (weights, steps)})
            draw_estimates(
                axes, [place + shift for place in range(len(names))], found,
                fmt=marker, color=colour, markerfacecolor=colour if filled else "none", markersize=5, capsize=3,
                label=f"{f'{steps} steps' if steps else 'random weights'}: {count} network{'s' * (count != 1)}",
            )  # fmt: skip
        real = over_networks(rows, ("CIFAR-10", "real", 0), period, column)
        axes.axhline(real.value, color=GREY, linewidth=1, label="CIFAR-10")
        linear = 1e-3 if column != "comb" else 1e-2
        axes.set_yscale("symlog", linthresh=linear)
        axes.set_ylim(-linear if column != "comb" else -3 * linear, 1)
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
        open_box(axes)
    below.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    below.supylabel("of the pictures minus their 3 x 3 blur", fontsize=10)
    return figure


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("--more", default="", help="Comma-separated folders of train_gan.py.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(arguments.archive, folders_in(arguments.more))
    put_table(PAGE, "trained-generators", table(rows))
    save_figure(figure_of(rows), FIGURE)


if __name__ == "__main__":
    main()
