"""Is the checkerboard of trained generators stronger where colours are strong, as the article observed?

    python experiments/strong_colours.py cifar10_jpeg.zip

Patches of 12 x 12 pixels, inside the samples of the zoo's generators, by how far their mean colour is from the mean colour of all: the
root mean square of the comb of period 4 in their fine detail, absolute and relative to that detail, after tanh and before, with a comb of
period 3, which no layer makes, as the control. Writes experiments/results/strong_colours.csv, docs/studies/strong_colours.png and the
table of its page.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from shared.averages import rank_correlation
from shared.command_line import archive_argument
from shared.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, YELLOW, draw_estimates, open_box
from shared.gans import MEASURED_SAMPLES, latents_of, real_pictures, shipped_generators, trained_generator
from shared.tables import RESULTS, STUDIES, estimate_in, markdown_table, put_table, row_of, write_rows
from torch import Tensor

from featvis.gan import high_pass
from featvis.measure.estimates import Estimate, words
from featvis.measure.phases import fold
from featvis.models.zoo.generators import Generator
from featvis.plots import save_figure

TABLE = RESULTS / "strong_colours.csv"
PAGE, FIGURE = STUDIES / "strong_colours.md", STUDIES / "strong_colours.png"
BORDER, PATCH, BINS, GROUPS = 4, 12, 8, 32
"""Pixels left out on each side, side of a patch, classes of equal size by colour, groups of pictures for the jackknife."""

COLUMNS = ("generator", "stage", "colour_class", "colour_distance", "period", "comb", "comb_error", "relative", "relative_error",
           "correlation", "correlation_error")  # fmt: skip

GREY_LEVELS = 127.5
"""In a unit of a picture that runs from -1 to 1."""

COLOURS = {
    "deconv3": RED, "deconv4": ORANGE, "deconv3-last": PINK, "subpixel": YELLOW,
    "icnr": SKY, "nearest": BLUE, "bilinear": GREEN, "CIFAR-10": BLACK,
}  # fmt: skip
"""Generators without one are in the table alone."""


class Patches(NamedTuple):
    """By picture and patch, (N, 4): distance of the mean colour from that of all, squared comb by period, and power of the detail."""

    colour: Tensor
    combs: dict[int, Tensor]
    detail: Tensor


def squared_comb(patches: Tensor, period: int, removed: int = 0) -> Tensor:
    """Mean square of a comb of this period without bias: white noise gives 0 on average.

    patches: (..., C, H, W), both sides multiples of the period; removed: degrees of freedom taken off them before. Returns (...): the
    variance between phases, less the part of it that the variance within phases leads one to expect, as in an analysis of variance; the
    mean over channels.
    """
    samples, phases = patches.shape[-2] * patches.shape[-1], period**2
    centred = patches - patches.mean((-2, -1), keepdim=True)
    between = fold(centred, period, period).square().mean((-2, -1))
    within = (centred.square().mean((-2, -1)) - between) * samples / (samples - phases - removed)
    return (between - within * (phases - 1) / samples).mean(-1)


def patches_of(pictures: Tensor) -> Patches:
    """What is measured of pictures (N, C, H, W), in grey levels."""
    pictures = pictures.double() * GREY_LEVELS
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))

    def cut(values: Tensor) -> Tensor:
        tiles = values[inside].unfold(-2, PATCH, PATCH).unfold(-2, PATCH, PATCH)
        return tiles.flatten(2, 3).transpose(1, 2)

    means = cut(pictures).mean((-2, -1))
    detail = cut(high_pass(pictures))
    # A comb of period 4 would count as noise in windows of 3, so that is taken off first.
    comb = fold(detail, 4, 4)
    rest = detail - comb.repeat(*(1,) * (comb.ndim - 2), PATCH // 4, PATCH // 4)
    return Patches(
        colour=(means - means.mean((0, 1))).square().mean(-1).sqrt(),
        combs={2: squared_comb(detail, 2), 3: squared_comb(rest, 3, removed=15), 4: squared_comb(detail, 4)},
        detail=detail.var((-2, -1)).mean(-1),
    )


def spread_without(without: Tensor) -> float:
    """The delete-a-group jackknife's error of what was computed without each of the groups, (GROUPS,)."""
    return float(((without - without.mean()).square().sum() * (GROUPS - 1) / GROUPS).sqrt())


def root_ratio(numerator: Tensor, denominator: Tensor, chosen: Tensor) -> Estimate:
    """The root of the ratio of two sums over the chosen patches, and its error from groups of pictures; the sign of the ratio is kept.

    All (N, patches). The error is the delete-a-group jackknife of the ratio, to first order through the root.
    """
    groups = torch.arange(len(chosen)) % GROUPS
    sums = [
        torch.zeros(GROUPS, dtype=torch.float64).index_add_(0, groups, (values * chosen).sum(1))
        for values in (numerator, denominator)
    ]
    above, below = (part.sum() for part in sums)
    ratio = float(above / below)
    error = spread_without((above - sums[0]) / (below - sums[1]))
    root = math.copysign(math.sqrt(abs(ratio)), ratio)
    return Estimate(root, error / max(2 * abs(root), math.sqrt(error)))


def upper_limit(root: Estimate) -> float | None:
    """Where the square of what `root_ratio` returns is within two errors of 0, the root of what it may be; else None."""
    # The inverse of its last line.
    error = max(2 * abs(root.value) * root.error, root.error**2)
    square = math.copysign(root.value**2, root.value)
    return None if square > 2 * error else math.sqrt(max(square, 0) + 2 * error)


def correlation_of(first: Tensor, second: Tensor) -> Estimate:
    """Spearman's rank correlation of values of patches (N, patches), with the error from groups of pictures."""

    def over(chosen: Tensor) -> float:
        return rank_correlation(first[chosen].flatten(), second[chosen].flatten())

    groups = torch.arange(len(first)) % GROUPS
    without = torch.tensor([over(groups != group) for group in range(GROUPS)], dtype=torch.float64)
    return Estimate(over(groups >= 0), spread_without(without))


def rows_of(name: str, stage: str, patches: Patches) -> list[dict[str, str]]:
    """A row for each class of colours and each period, and with it the rank correlation over all classes."""
    limits = torch.quantile(
        patches.colour.flatten()[:: max(1, patches.colour.numel() // 2**20)], torch.linspace(0, 1, BINS + 1).double()
    )
    classes = torch.bucketize(patches.colour, limits[1:-1])
    ones = torch.ones_like(patches.colour)
    correlations = {period: correlation_of(patches.colour, comb) for period, comb in patches.combs.items()}
    rows = []
    for number in range(BINS):
        chosen = (classes == number).double()
        colour = float((patches.colour * chosen).sum() / chosen.sum())
        for period, comb in patches.combs.items():
            estimates = (
                root_ratio(comb, ones, chosen),
                root_ratio(comb, patches.detail, chosen),
                correlations[period],
            )
            numbers = (f"{number:.4f}" for estimate in estimates for number in estimate)
            rows.append(row_of(COLUMNS, name, stage, number + 1, f"{colour:.2f}", period, *numbers))
    return rows


def table(rows: list[dict[str, str]]) -> str:
    """The weakest and the strongest colours of each set of pictures."""

    def cell(row: dict[str, str], column: str) -> str:
        estimate = estimate_in(row, column)
        assert estimate is not None
        if column != "correlation" and (limit := upper_limit(estimate)) is not None:
            return f"< {limit:.2g}"
        return words(estimate)

    lines = []
    for name, stage in dict.fromkeys((row["generator"], row["stage"]) for row in rows):
        own = [row for row in rows if (row["generator"], row["stage"]) == (name, stage)]
        ends = {
            period: [row for row in own if row["period"] == period and row["colour_class"] in ("1", str(BINS))]
            for period in ("3", "4")
        }
        cells = [cell(row, "comb") for row in ends["4"]] + [cell(row, "relative") for row in ends["4"]]
        cells += [cell(row, "comb") for row in ends["3"]] + [cell(ends["4"][0], "correlation")]
        lines.append((name, stage, *cells))
    header = ("generator", "measured in", "comb(4), weak colours", "strong", "relative, weak", "strong",
              "comb(3), weak", "strong", "rank correlation")  # fmt: skip
    return markdown_table(header, lines)


@torch.no_grad()
def before_tanh(generator: Generator, count: int) -> Tensor:
    """The samples that `featvis.gan` measures, before they are bounded."""
    return torch.cat([generator.before_tanh(batch) for batch in latents_of(count)])


def figure_of(rows: list[dict[str, str]]) -> Figure:
    """The comb of period 4 by colour, absolute, relative and before tanh."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, 3)
    kinds = (
        ("pictures", "comb", "comb of period 4, grey levels"),
        ("pictures", "relative", "relative to the fine detail"),
        ("before tanh", "comb", "before tanh, in the same units"),
    )
    for axes, (stage, column, title) in zip(panels, kinds, strict=True):
        for name, colour in COLOURS.items():
            own = [row for row in rows if (row["generator"], row["stage"], row["period"]) == (name, stage, "4")]
            if own:
                places = [float(row["colour_distance"]) for row in own]
                found = [estimate for row in own if (estimate := estimate_in(row, column))]
                draw_estimates(axes, places, found, color=colour, marker="o", markersize=4, capsize=2, label=name)
        axes.set_title(title, fontsize=10)
        axes.axhline(0, color=GREY, linewidth=0.8)
        open_box(axes)
    figure.supxlabel("distance of a patch's colour from the mean colour, grey levels", fontsize=10)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(COLOURS), frameon=False)
    return figure


def main() -> None:
    archive = archive_argument(__doc__)
    torch.set_num_threads(1)
    sets = {("CIFAR-10", "pictures"): real_pictures(archive)}
    for name, weights in shipped_generators().items():
        linear = before_tanh(trained_generator(name, weights), MEASURED_SAMPLES)
        sets[name, "pictures"], sets[name, "before tanh"] = linear.tanh(), linear
    rows: list[dict[str, str]] = []
    for (name, stage), pictures in sets.items():
        rows += rows_of(name, stage, patches_of(pictures))
        print(*rows[-1].values(), flush=True)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "strong-colours", table(rows))
    save_figure(figure_of(rows), FIGURE)


if __name__ == "__main__":
    main()
