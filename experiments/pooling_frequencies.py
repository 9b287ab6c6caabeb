"""Max-pooling's unorganised high frequencies: does the gradient behind it keep what no comb explains, and does training change that?

    python experiments/pooling_frequencies.py cifar10_jpeg.zip

The share of high frequencies in the input gradient, beside E and S, in three places: behind a single layer that reads white noise, with
random signs as its output's gradient; in the zoo's classifier twins with random weights, eight seeds; and trained. The networks read 512
test pictures (64 for each of the eight seeds), cropped at random as in training. Writes experiments/results/pooling_frequencies.csv,
docs/studies/pooling_frequencies.png and the table of its page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from shared.archive import cropped_test_pictures
from shared.averages import mean_of
from shared.classifiers import trained_twins
from shared.command_line import archive_argument
from shared.figures import BLUE, GREY, LINE, RED, draw_estimates, open_box
from shared.tables import RESULTS, STUDIES, estimate_in, markdown_table, put_table, row_of, write_rows
from torch import Tensor, nn

from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate, words
from featvis.measure.sums import checkerboard_energy
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.plots import save_figure
from featvis.repair.layers import BlurPool2d, L2Pool2d

TABLE = RESULTS / "pooling_frequencies.csv"
PAGE, FIGURE = STUDIES / "pooling_frequencies.md", STUDIES / "pooling_frequencies.png"
COLUMNS = ("downsampling", "place", "what", "value", "error")

PICTURES, SEEDS, BATCH = 512, 8, 64
CHANNELS, SIDE = 16, 64
"""Of the white noise that a single layer reads, in pixels."""

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "max2": lambda: nn.MaxPool2d(2),
    "max3": lambda: nn.MaxPool2d(3, 2, padding=1),
    "l2": lambda: L2Pool2d(2),
    "average": lambda: nn.AvgPool2d(2),
    "blur": lambda: BlurPool2d(4),
    "k3s2": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, 2, padding=1, bias=False),
    "k4s2": lambda: nn.Conv2d(CHANNELS, CHANNELS, 4, 2, padding=1, bias=False),
}
"""What halves the resolution in each twin, alone; the twins of pooling have a stride-1 convolution before it."""

PLACES = ("one layer", "random weights", "trained")
QUANTITIES = ("high_frequency_share", "energy", "signed_comb")
"""What is measured."""


class Found(NamedTuple):
    """What a gradient measures at its total stride, and its mean spectrum, (bins, bins) from -1/2 cycle a pixel on, mean 1."""

    share: Estimate
    energy: Estimate
    comb: Estimate
    spectrum: Tensor


def found_in(gradients: Tensor, stride: int) -> Found:
    """What these gradients measure."""
    energies = checkerboard_energy(gradients, stride)
    return Found(
        energies.high_frequency_share, energies.energy[stride], energies.signed_comb[stride], spectrum(gradients)
    )


def spectrum(gradients: Tensor) -> Tensor:
    """The mean power of gradients (N, C, H, W), each relative to its mean, through a Hann window."""
    window = torch.hann_window(gradients.shape[-1], dtype=torch.float64)
    power = torch.fft.fft2(gradients.double() * window * window[:, None]).abs().square().sum(1)
    return torch.fft.fftshift((power / power.mean((1, 2), keepdim=True)).mean(0))


def of_layer(make: Callable[[], nn.Module]) -> Found:
    """A layer alone, drawn anew for each of as many replicates as there are pictures in a batch."""
    torch.manual_seed(0)
    gradients = []
    for _ in range(BATCH):
        noise = torch.randn(1, CHANNELS, SIDE, SIDE, requires_grad=True)
        output = make()(noise)
        gradients += torch.autograd.grad(output, noise, torch.randint(0, 2, output.shape) * 2.0 - 1)
    return found_in(torch.cat(gradients), 2)


def of_network(model: Model, pictures: Tensor) -> Found:
    """The gradient of the top logit at pictures (N, 3, 32, 32) in [0, 1]; errors over the pictures."""
    engine = GradientEngine(model)
    gradients = torch.cat([engine(model.normalise(batch)) for batch in pictures.split(BATCH)])
    return found_in(gradients, engine.total_stride)


def of_seeds(spec: str, pictures: Tensor) -> Found:
    """A network with random weights, as many pictures for each seed; errors over the seeds."""
    each = [
        of_network(load_model(spec, "none", seed=seed), part)
        for seed, part in enumerate(pictures.split(len(pictures) // SEEDS))
    ]
    share, energy, comb = (mean_of(torch.tensor([found[column].value for found in each])) for column in range(3))
    return Found(share, energy, comb, torch.stack([found.spectrum for found in each]).mean(0))


def figure(found: dict[tuple[str, str], Found]) -> Figure:
    """Spectra of the twins' gradients, and the three numbers."""
    names = list(dict.fromkeys(name for name, _ in found))
    drawn = Figure(figsize=(13, 9), layout="constrained")
    upper, lower = drawn.subfigures(2, 1, height_ratios=(1.15, 1))
    panels = upper.subplots(2, len(names), squeeze=False)
    for row, place in zip(panels, PLACES[1:], strict=True):
        for axes, name in zip(row, names, strict=True):
            axes.set(xticks=[], yticks=[])
            image = axes.imshow(
                10 * found[name, place].spectrum.log10(), vmin=-20, vmax=20, cmap="viridis", interpolation="none"
            )
            if place == PLACES[1]:
                axes.set_title(name, fontsize=11)
        row[0].set_ylabel(place, fontsize=10)
    upper.suptitle(
        "Mean spectrum of the input gradient, 0 in the middle, half a cycle a pixel at the edges", fontsize=12
    )
    upper.colorbar(image, ax=panels, label="power / its mean, dB", shrink=0.8)
    heads = ("share of high frequencies", "checkerboard energy E", "signed comb S")
    for column, (axes, head) in enumerate(zip(lower.subplots(1, 3), heads, strict=True)):
        for place, marker, colour, shift in zip(PLACES, "s^o", (GREY, RED, BLUE), (-0.2, 0, 0.2), strict=True):
            places = [number + shift for number in range(len(names))]
            estimates = [found[name, place][column] for name in names]
            draw_estimates(axes, places, estimates, fmt=marker, color=colour, capsize=3, markersize=5, label=place)
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.set_title(head, fontsize=11)
        axes.axhline(0 if column else 0.75, color=LINE, linewidth=0.8)
        open_box(axes)
        if column == 1:
            axes.set_yscale("symlog", linthresh=0.001)
            axes.set_ylim(bottom=-0.0005)
    handles = lower.axes[0].get_legend_handles_labels()
    lower.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    return drawn


def rows_of(name: str, place: str, found: Found) -> list[dict[str, str]]:
    """A row for each of the three numbers."""
    return [
        row_of(COLUMNS, name, place, what, f"{value:.5f}", f"{error:.5f}")
        for what, (value, error) in zip(QUANTITIES, found[:3], strict=True)
    ]


def table(rows: list[dict[str, str]]) -> str:
    """A line for each way of downsampling, with the three numbers in each place."""
    values = {(row["downsampling"], row["place"], row["what"]): estimate_in(row, "value", "error") for row in rows}
    lines = []
    for name in dict.fromkeys(row["downsampling"] for row in rows):
        cells = [words(values[name, place, what]) for what in QUANTITIES for place in PLACES]
        lines.append([name, *cells])
    heads = [f"{what}, {place}" for what in ("high frequencies", "E", "S") for place in PLACES]
    return markdown_table(["downsampling", *heads], lines)


def main() -> None:
    archive = archive_argument(__doc__)
    torch.set_num_threads(1)
    pixels, _ = cropped_test_pictures(archive, PICTURES)
    twins = trained_twins()
    found: dict[tuple[str, str], Found] = {}
    for name, make in LAYERS.items():
        found[name, PLACES[0]] = of_layer(make)
        found[name, PLACES[1]] = of_seeds(f"zoo:twin-{name}", pixels)
        found[name, PLACES[2]] = of_network(twins[name], pixels)
    rows = [row for (name, place), its in found.items() for row in rows_of(name, place, its)]
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "pooling", table(rows))
    save_figure(figure(found), FIGURE)


if __name__ == "__main__":
    main()
