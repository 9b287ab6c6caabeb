"""Do generators of audio sound at the frequencies of their strides before any training, and what does each upsampler leave?

    python experiments/audio.py

One-dimensional generators like WaveGAN's (Donahue et al. 2019: five layers that upsample by 4 with kernels of 25 samples), and such with
five layers by 2, with random weights: 256 networks for each way of upsampling. Writes experiments/results/audio.csv, docs/studies/audio.png
and the table of its page.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from shared.averages import mean_of, ratio_of
from shared.command_line import parser_of
from shared.figures import BLUE, GREEN, LINE, RED, draw_estimates, open_box
from shared.tables import RESULTS, STUDIES, markdown_table, put_table, row_of, write_rows
from torch import Tensor, nn

from featvis.measure.estimates import Estimate
from featvis.measure.phases import fold
from featvis.measure.replicates import squared_mean
from featvis.plots import save_figure
from featvis.predict.overlap import Stage, energies_by_period
from featvis.repair.layers import ResizeConv1d, SmoothHold1d, SmoothingDeconv1d, SubPixelConv1d, icnr_

TABLE = RESULTS / "audio.csv"
PAGE, FIGURE = STUDIES / "audio.md", STUDIES / "audio.png"
NETWORKS, SIGNALS = 256, 4
"""Networks of each way of upsampling, and signals of each network."""

RATE = 16_000
"""Samples a second, WaveGAN's."""

LENGTH = 16_384
"""Samples that are measured, whole periods from the middle of twice as many: no padding reaches them."""

NEIGHBOURS = range(3, 7)
"""Bins on each side of a line whose power it is held against: beyond the window's own width, free of other lines, which lie 16 apart."""

CONTROLS = tuple(16 * round(LENGTH * share / 16) + 8 for share in (1 / 7, 1 / 5, 2 / 7, 1 / 3, 2 / 5, 3 / 7))
"""Bins that no stride reaches, half-way between lines."""


@dataclass(frozen=True)
class Family:
    """Generators of the same shape: the stride of each layer, the channels that each reads, and the kernels that are compared."""

    stride: int
    widths: tuple[int, ...]
    uneven: int
    even: int
    taps: int

    @property
    def combs(self) -> tuple[int, ...]:
        """The periods that the last layer, the last two and the last three leave, in samples."""
        return self.stride, self.stride**2, self.stride**3

    def lines(self, order: int) -> Tensor:
        """The bins of the harmonics that the layer with this number from the end, 0 the last, adds."""
        period = self.combs[order]
        return torch.tensor([LENGTH * m // period for m in range(1, period // 2 + 1) if order == 0 or m % self.stride])


FAMILIES = {
    "by 4": Family(4, (256, 128, 64, 32, 16), uneven=25, even=24, taps=7),
    "by 2": Family(2, (64, 64, 64, 32, 16), uneven=3, even=4, taps=3),
}


def deconvolution(kernel: int, stride: int, inputs: int, outputs: int) -> nn.Module:
    padding = (kernel - stride + 1) // 2
    return nn.ConvTranspose1d(inputs, outputs, kernel, stride, padding, 2 * padding + stride - kernel, bias=False)


Make = Callable[[Family, int, int], nn.Module]

LAYERS: dict[str, Make] = {
    "deconv, uneven": lambda family, *pair: deconvolution(family.uneven, family.stride, *pair),
    "deconv, even": lambda family, *pair: deconvolution(family.even, family.stride, *pair),
    "subpixel": lambda family, *pair: SubPixelConv1d(*pair, family.taps, family.stride, bias=False, icnr=False),
    "icnr": lambda family, *pair: SubPixelConv1d(*pair, family.taps, family.stride, bias=False, icnr=True),
    "nearest": lambda family, *pair: ResizeConv1d(*pair, family.uneven, family.stride, bias=False),
    "linear": lambda family, *pair: ResizeConv1d(*pair, family.uneven, family.stride, "linear", bias=False),
}
"""Upsample by the family's stride: (family, inputs, outputs) to a module."""

BEHIND: dict[str, Callable[[Family], nn.Module]] = {
    "": lambda family: nn.Identity(),
    " + stride 1": lambda family: nn.Sequential(nn.ReLU(), SmoothingDeconv1d(16, 1, family.stride, bias=False)),
    " + hold": lambda family: SmoothHold1d(family.stride),
    " + wide hold": lambda family: SmoothHold1d(family.combs[-1]),
}
"""What follows the last layer: a stride-1 layer with random weights, or a box of equal ones, as wide as the stride or its third power."""

VARIANTS = (*LAYERS, *(f"deconv, uneven{end}" for end in BEHIND if end))


def generator(family: Family, variant: str) -> nn.Sequential:
    """Features (B, widths[0], positions) to signals (B, 1, samples), ReLU before each layer, no bias and no tanh."""
    name, plus, end = variant.partition(" + ")
    outputs = (*family.widths[1:], 16 if "stride 1" in end else 1)
    make = functools.partial(LAYERS[name], family)
    layers = [part for pair in zip(family.widths, outputs, strict=True) for part in (nn.ReLU(), make(*pair))]
    return nn.Sequential(*layers, BEHIND[plus + end](family)).requires_grad_(False)


def draw_weights(network: nn.Module, source: torch.Generator) -> None:
    """Independent normal weights that keep the mean square through a ReLU; sub-pixel layers with ICNR get ICNR."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            reached: float = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose1d):
                reached = layer.weight[:, 0].numel() / layer.stride[0]
            fill = functools.partial(nn.init.normal_, std=math.sqrt(2 / reached), generator=source)
            if isinstance(layer, SubPixelConv1d) and layer.icnr:
                icnr_(layer.weight, layer.scale_factor, fill)
            else:
                fill(layer.weight)


def overlap_energies(family: Family, variant: str) -> dict[int, float]:
    """E(p) that the overlap of the last layers leads one to expect, by period; it is exact but for what mixes neighbours unevenly."""
    kernel = family.uneven if "uneven" in variant else family.even
    stack = [Stage(kernel, family.stride, (kernel - family.stride + 1) // 2)] * len(family.combs)
    if "+" in variant:
        stack = [Stage(family.combs[-1] if "wide" in variant else family.stride, 1), *stack]
    energies = energies_by_period(stack)
    return {period: float(energies[period]) for period in family.combs}


def wide_combs(family: Family, variant: str) -> dict[int, float]:
    """S(p) that infinitely wide networks have, by period, with even overlap.

    Far apart in time, two samples of the same phase are read through the same weights and two of different phases through independent
    ones, so a strided layer keeps the correlation of what it reads at the multiples of its stride and leaves none elsewhere; a ReLU maps
    it by the arc-cosine kernel of order 1 (Cho and Saul 2009). What remains is the comb. Layers that repeat neighbours leave none here,
    and a box none of the periods that divide its width.
    """
    if not variant.startswith(("deconv", "subpixel")) or "wide" in variant:
        return dict.fromkeys(family.combs, 0.0)
    total = family.stride ** len(family.widths)
    correlation = np.zeros(1)
    for _ in family.widths:
        spread = np.zeros(len(correlation) * family.stride)
        spread[:: family.stride] = rectified(correlation)
        correlation = spread
    variance = 1.0
    if "stride 1" in variant:
        correlation = rectified(correlation)
    elif "hold" in variant:
        # Neighbours within a stride are independent, so that the variance falls by its width.
        box = np.zeros(total)
        box[: family.stride] = 1 / family.stride
        correlation = np.fft.ifft(np.fft.fft(correlation) * np.abs(np.fft.fft(box)) ** 2).real
        variance = 1 / family.stride
    mean = correlation.mean()
    return {period: float((correlation[::period].mean() - mean) / (variance - mean)) for period in family.combs}


def rectified(correlation: np.ndarray) -> np.ndarray:
    """The correlation, about 0, of the rectified values of normal pairs with this correlation."""
    return (np.sqrt(1 - correlation**2) + correlation * (np.pi - np.arccos(correlation))) / np.pi


@dataclass(frozen=True)
class Found:
    """What one way of upsampling leaves: E and S by period, levels in dB by the layer that adds the lines, and the mean spectrum in dB."""

    energy: dict[int, Estimate]
    comb: dict[int, Estimate]
    level: list[Estimate]
    control: Estimate
    spectrum: Tensor


def measure(family: Family, variant: str) -> Found:
    """Draw 256 networks, four signals of each."""
    network, source = generator(family, variant), torch.Generator().manual_seed(0)
    positions = 2 * LENGTH // family.stride ** len(family.widths)
    longest = family.combs[-1]
    window = torch.hann_window(LENGTH, dtype=torch.float64)
    profiles, combs, variances, levels, spectra = [], [], [], [], []
    for _ in range(NETWORKS):
        draw_weights(network, source)
        features = torch.randn(SIGNALS, family.widths[0], positions, generator=source)
        signals = network(features)[:, 0, LENGTH // 2 : LENGTH // 2 + LENGTH].double()
        profiles.append(fold(signals.square()[:, None], 1, longest).mean((0, 1)))
        signals = signals - signals.mean()
        variances.append(signals.square().mean())
        combs.append([common_power(fold(signals[:, None], 1, period)[:, 0]) for period in family.combs])
        power = torch.fft.rfft(signals * window).abs().square().mean(0)
        spectra.append(power / power.mean())
        levels.append([line_level(power, lines) for lines in (*map(family.lines, range(3)), torch.tensor(CONTROLS))])
    variance = torch.stack(variances)
    found = [mean_of(column) for column in torch.tensor(levels).T]
    return Found(
        energy=expected_energies(torch.stack(profiles), family.combs),
        comb={p: ratio_of(column, variance) for p, column in zip(family.combs, torch.tensor(combs).T, strict=True)},
        level=found[:-1],
        control=found[-1],
        spectrum=10 * torch.stack(spectra).mean(0).log10(),
    )


def common_power(phases: Tensor) -> float:
    """The mean square over phases of what all signals of a network have in common, without bias for noise of any colour.

    phases: (signals, p), the mean of each phase.
    """
    deviations = phases - phases.mean(1, keepdim=True)
    products = deviations @ deviations.T / phases.shape[1]
    return float((products.sum() - products.trace()) / (len(phases) * (len(phases) - 1)))


def line_level(power: Tensor, lines: Tensor) -> float:
    """The power at these bins relative to the mean of their neighbours, in dB, mean over the lines; -0.5 in noise, for the logarithm."""
    mirrored = torch.cat([power, power[:-1].flip(0)])
    offsets = torch.tensor([sign * offset for offset in NEIGHBOURS for sign in (-1, 1)])
    around = mirrored[lines[:, None] + offsets].mean(1)
    return float((10 * (power[lines] / around).log10()).mean())


def expected_energies(profiles: Tensor, periods: tuple[int, ...]) -> dict[int, Estimate]:
    """E(p) of the energy expected over networks, without bias; profiles: (networks, longest period), strong networks count as they are."""
    level = profiles.mean(1, keepdim=True)
    mean = profiles.mean(0) / level.mean()
    deviations = (profiles - level * mean) / level.mean() + (mean - 1)
    energies = {}
    for period in periods:
        folded = fold(deviations[:, None], 1, period)[:, 0]
        gram = folded @ folded.T / period
        energies[period] = squared_mean(gram, gram.diagonal(), torch.ones(len(profiles), dtype=torch.float64))
    return energies


HEADER = (
    "generator", "upsampler", "lines of the last layer, dB", "of the one before", "of the third",
    "S, last layer", "S, last three", "E, last layer", "E, last three",
)  # fmt: skip

COLUMNS = (
    "generator", "upsampler", "networks", "period", "level", "level_error", "control", "control_error",
    "comb", "comb_error", "comb_wide_limit", "energy", "energy_error", "energy_overlap",
)  # fmt: skip


def label(family: Family, variant: str) -> str:
    """How tables and figures name a way of upsampling."""
    for kind, kernel in (("uneven", family.uneven), ("even", family.even)):
        variant = variant.replace(f"deconv, {kind}", f"deconv k{kernel}")
    return variant


def rows_of(name: str, variant: str, found: Found) -> list[dict[str, str]]:
    """A row for each period."""
    family = FAMILIES[name]
    wide, overlap = wide_combs(family, variant), overlap_energies(family, variant)
    rows = []
    for period, level in zip(family.combs, found.level, strict=True):
        levels = [f"{number:.3f}" for estimate in (level, found.control) for number in estimate]
        numbers = (*found.comb[period], wide[period], *found.energy[period], overlap[period])
        cells = (name, label(family, variant), NETWORKS, period, *levels, *(f"{n:.4g}" for n in numbers))
        rows.append(row_of(COLUMNS, *cells))
    return rows


def table(rows: list[dict[str, str]]) -> str:
    """A line for each way of upsampling; S and E of the last layer and of the last three, closed forms in brackets."""
    lines = []
    for first, second, third in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        levels = [f"{float(row['level']):+.1f} ± {float(row['level_error']):.1f}" for row in (first, second, third)]
        measured = [
            f"{plain(row[what])} ± {plain(row[f'{what}_error'])} ({plain(row[closed_form])})"
            for what, closed_form in (("comb", "comb_wide_limit"), ("energy", "energy_overlap"))
            for row in (first, third)
        ]
        lines.append([first["generator"], first["upsampler"], *levels, *measured])
    return markdown_table(HEADER, lines)


def plain(number: str) -> str:
    """Four digits after the point, the power of ten of what is smaller, 0 for what is rounding alone."""
    value = float(number)
    if abs(value) < 1e-12:
        return "0"
    return f"{value:.4f}" if abs(value) >= 5e-5 else f"{value:.0e}"


def figure(found: dict[tuple[str, str], Found]) -> Figure:
    """Mean spectra of the generators by 4, and the levels of all."""
    drawn = Figure(figsize=(13, 10), layout="constrained")
    spectra, levels = drawn.subfigures(2, 1, height_ratios=(1.25, 1))
    family = FAMILIES["by 4"]
    frequencies = torch.arange(LENGTH // 2 + 1) * RATE / LENGTH / 1000
    shown = spectra.subplots(2, 4, sharex=True, sharey=True)
    for axes, variant in zip(shown.flat, VARIANTS[:8], strict=True):
        axes.plot(frequencies[1:], found["by 4", variant].spectrum[1:], color=BLUE, linewidth=0.5)
        axes.set_title(label(family, variant), fontsize=10)
        axes.set(xlim=(0, RATE / 2000), ylim=(-110, 45), xticks=range(0, 9, 2))
        open_box(axes)
    spectra.suptitle(f"Mean spectrum of {NETWORKS} networks with random weights, five layers by 4", fontsize=12)
    spectra.supxlabel(f"kHz at {RATE // 1000} kHz", fontsize=10)
    spectra.supylabel("power / its mean, dB", fontsize=10)
    for axes, (name, family) in zip(levels.subplots(1, 2, sharey=True), FAMILIES.items(), strict=True):
        for order, (marker, colour) in enumerate((("o", RED), ("s", BLUE), ("^", GREEN))):
            estimates = [found[name, variant].level[order] for variant in VARIANTS]
            places = [place + 0.2 * (order - 1) for place in range(len(VARIANTS))]
            which = ("last layer", "the one before", "the third")[order]
            draw_estimates(
                axes, places, estimates,
                fmt=marker, color=colour, markersize=5, capsize=3, label=f"{which}: period {family.combs[order]}",
            )  # fmt: skip
        axes.axhline(0, color=LINE, linewidth=0.8)
        names = [label(family, variant).replace(" + ", "\n+ ") for variant in VARIANTS]
        axes.set_xticks(range(len(VARIANTS)), names, rotation=35, ha="right", fontsize=9)
        axes.set_title(f"five layers {name}", fontsize=11)
        open_box(axes)
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    levels.supylabel("lines above the neighbouring spectrum, dB", fontsize=10)
    return drawn


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    found: dict[tuple[str, str], Found] = {}
    rows: list[dict[str, str]] = []
    for name, family in FAMILIES.items():
        for variant in VARIANTS:
            found[name, variant] = measure(family, variant)
            rows += rows_of(name, variant, found[name, variant])
            for row in rows[-3:]:
                print(*row.values(), flush=True)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "audio", table(rows))
    save_figure(figure(found), FIGURE)


if __name__ == "__main__":
    main()
