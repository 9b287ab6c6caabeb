"""Neutral-generator GANs: free pixels against discriminators that differ in their first layer and in nothing else.

    python experiments/gan_duel.py cifar10_jpeg.zip --seeds 6

The "generator" is 32 pictures of free pixels, which prefer no phase, so any comb in them came through the discriminator's gradient.
Setting of Schwarz, Liao and Geiger, NeurIPS 2021: Adam .01 for the pixels and .001 for the discriminator, betas (0, .99), R1 of 10,
logistic loss. Real pictures are random 28 x 28 crops, mirrored at random, so that their JPEG grid favours no phase. Variants with the
same seed and kernel size start from the same weights, so "k3 s1 blur" and "k3 s1 average" are "k3 s2" repaired. Writes one row for each
measurement into experiments/results/gan_duel.csv, run by run; finished runs are not run again. Without an archive only the
table is printed, means over seeds, their standard errors and ranges, and with --figure docs/gan_duel.png is drawn.

distance: the sliced Wasserstein distance (256 directions) between 7 x 7 patches of free pixels and of real pictures, relative to that
between two draws of real ones, so below 1 is as close as 32 pictures can tell. It sees colours and textures up to 7 pixels wide, and
nothing of what a picture shows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from shared.archive import read_split, windows
from shared.averages import mean_of
from shared.command_line import parser_of
from shared.figures import BLUE, GREEN, LINE, ORANGE, PINK, RED, open_box
from shared.tables import DOCS, RESULTS, add_rows, markdown_table, read_rows, row_of
from torch import Tensor, nn

from featvis.gan import high_pass
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import words
from featvis.measure.sums import checkerboard_energy
from featvis.plots import save_figure
from featvis.repair.layers import BlurPool2d

TABLE, FIGURE = RESULTS / "gan_duel.csv", DOCS / "gan_duel.png"

SIZE, PICTURES, WIDTH = 28, 32, 16

VARIANTS: dict[str, tuple[int, nn.Module | None]] = {
    "k3 s2": (3, None),
    "k5 s2": (5, None),
    "k4 s2": (4, None),
    "k3 s1 blur": (3, BlurPool2d(3)),
    "k3 s1 average": (3, nn.AvgPool2d(2)),
}
"""Name to the first kernel's size and what follows it where its stride is 1."""

MEASURES = ("at_free", "at_real", "control_free", "picture_energy", "picture_comb", "picture_control")

COLUMNS = (
    "variant",
    "seed",
    "step",
    *(f"{name}{end}" for name in MEASURES for end in ("", "_error")),
    "distance",
    "seconds",
)


def discriminator(variant: str, seed: int) -> nn.Module:
    """A first layer that halves the resolution, then two convolutions k4 s2 and a logit; all layers drawn in the same order."""
    torch.manual_seed(seed)
    size, pool = VARIANTS[variant]
    first = nn.Conv2d(3, WIDTH, size, 2 if pool is None else 1, (size - 1) // 2)
    # The later layers are the same for every kernel size of the first.
    torch.manual_seed(1_000_000 + seed)
    return nn.Sequential(
        first,
        nn.LeakyReLU(0.2),
        pool or nn.Identity(),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * WIDTH, 4 * WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(4 * WIDTH * 9, 1),
    )


def crops(pictures: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random crops of random pictures, mirrored at random, in [-1, 1]."""
    chosen = torch.randint(0, len(pictures), (count,), generator=generator)
    rows, columns = (
        torch.randint(0, 33 - SIZE, (count, 1), generator=generator) + torch.arange(SIZE) for _ in range(2)
    )
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return windows(pictures, chosen, rows, columns).float() / 127.5 - 1


def distance(first: Tensor, second: Tensor) -> float:
    """The sliced Wasserstein distance between the 7 x 7 patches of two sets of as many pictures (N, C, H, W)."""
    patches = [F.unfold(pictures, 7, stride=3).transpose(1, 2).flatten(0, 1) for pictures in (first, second)]
    directions = F.normalize(torch.randn(patches[0].shape[1], 256, generator=torch.Generator().manual_seed(0)), dim=0)
    one, two = ((part @ directions).sort(0).values for part in patches)
    return float((one - two).square().mean().sqrt())


def measured(network: nn.Module, free: Tensor, real: Tensor) -> list[float]:
    """Gradient energies of period 2 at free and at real pictures, the control at free ones, and the pictures' own, each with its error."""
    energies = [checkerboard_energy(GradientEngine(network, "0")(pictures), 2) for pictures in (free, real)]
    detail = checkerboard_energy(high_pass(free), 2)
    found = (
        energies[0].energy[2], energies[1].energy[2], energies[0].controls[3],
        detail.energy[2], detail.signed_comb[2], detail.controls[3],
    )  # fmt: skip
    return [float(number) for estimate in found for number in (estimate.value, estimate.error or 0.0)]


def duel(variant: str, seed: int, data: Tensor, steps: int, every: int) -> list[dict[str, str]]:
    """Train one discriminator against free pixels, and measure both as they go."""
    network = discriminator(variant, seed)
    random = torch.Generator().manual_seed(seed)
    free = (0.2 * torch.rand((PICTURES, 3, SIZE, SIZE), generator=random) - 0.1).requires_grad_()
    fixed = [crops(data, PICTURES, torch.Generator().manual_seed(10_000 + number)) for number in range(2)]
    scale = distance(*fixed)
    for_network = torch.optim.Adam(network.parameters(), 0.001, betas=(0.0, 0.99))
    for_pixels = torch.optim.Adam([free], 0.01, betas=(0.0, 0.99))
    started = time.perf_counter()
    rows: list[dict[str, str]] = []
    for step in range(steps + 1):
        if step % every == 0:
            pixels = free.detach().clone()
            found = [*measured(network, pixels, fixed[0]), distance(pixels, fixed[0]) / scale]
            numbers = (f"{value:.6f}" for value in found)
            rows.append(row_of(COLUMNS, variant, seed, step, *numbers, f"{time.perf_counter() - started:.1f}"))
        real = crops(data, PICTURES, random).requires_grad_()
        logits = network(real)
        (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        penalty = 5 * gradient.square().sum((1, 2, 3)).mean()
        loss = F.softplus(-logits).mean() + F.softplus(network(free.detach())).mean() + penalty
        for_network.zero_grad()
        loss.backward()
        for_network.step()
        network.requires_grad_(False)
        (free.grad,) = torch.autograd.grad(F.softplus(-network(free)).sum(), free)
        network.requires_grad_(True)
        for_pixels.step()
    return rows


def table(rows: Sequence[dict[str, str]]) -> str:
    """Means over seeds, their standard errors and the least and largest seed at the last step, a line for each variant."""
    last = max(int(row["step"]) for row in rows)
    names = (*MEASURES, "distance")
    lines = []
    for variant in VARIANTS:
        found = [row for row in rows if row["variant"] == variant and int(row["step"]) == last]
        cells = []
        for name in names if len(found) > 1 else ():
            values = [float(row[name]) for row in found]
            cells.append(f"{words(mean_of(values))} ({min(values):.4f} to {max(values):.4f})")
        lines.append((variant, len(found), *cells))
    return markdown_table(("first layer", "seeds", *names), lines)


PANELS = {
    "at_free": "the discriminator's gradient\nE(2) at the free pixels",
    "picture_energy": "the free pixels, high-passed\nE(2)",
    "picture_comb": "the free pixels, high-passed\nsigned comb S(2)",
}

COLOURS = (RED, ORANGE, BLUE, GREEN, PINK)
"""One for each variant."""


def figure(rows: Sequence[dict[str, str]]) -> Figure:
    """The gradient's energy and the pictures' over training: means over seeds, and bands of one standard error."""
    drawn = Figure(figsize=(12, 3.9), layout="constrained")
    for axes, (name, title) in zip(drawn.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for variant, colour in zip(VARIANTS, COLOURS, strict=True):
            own = [row for row in rows if row["variant"] == variant]
            steps = sorted({int(row["step"]) for row in own})
            found = [mean_of([float(row[name]) for row in own if int(row["step"]) == step]) for step in steps]
            axes.plot(steps, [mean for mean, _ in found], color=colour, label=variant)
            low, high = [mean - error for mean, error in found], [mean + error for mean, error in found]
            axes.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.axhline(0, color=LINE, linewidth=0.8)
        if name == "at_free":
            # Zero is on the axis: three decades lie between the variants, and some values are below.
            axes.set_yscale("symlog", linthresh=0.001)
            axes.set_ylim(bottom=-0.0005)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.set_xticks(steps)
        open_box(axes)
    drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(VARIANTS), frameon=False)
    return drawn


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("archive", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--figure", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.archive is not None:
        data, _ = read_split(arguments.archive, "test")
        done = {(row["variant"], int(row["seed"])) for row in read_rows(arguments.out)}
        for seed in range(arguments.seeds):
            for variant in VARIANTS:
                if (variant, seed) in done:
                    continue
                rows = duel(variant, seed, data, arguments.steps, arguments.every)
                add_rows(arguments.out, COLUMNS, rows)
                print(*rows[-1].values(), flush=True)
    print(table(read_rows(arguments.out)))
    if arguments.figure:
        print(save_figure(figure(read_rows(arguments.out)), FIGURE))


if __name__ == "__main__":
    main()
