"""The pictures of "How to read the numbers": gradients made of noise, whose numbers are known because they were put in.

    python experiments/reading.py

Writes docs/reading_energy.png, reading_comb.png, reading_frequencies.png and reading_controls.png, and the table of docs/reading.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from shared.command_line import parser_of
from shared.tables import DOCS, markdown_table, put_table
from torch import Tensor

from featvis.measure.phases import fold
from featvis.measure.spectra import white_flatness
from featvis.measure.sums import Energies, checkerboard_energy
from featvis.plots import save_figure, spectrum
from featvis.plots.page import MARGIN, Energy, Page, pixel_edges, style, text_width
from featvis.plots.palette import CONTROL, FAINT, SEQUENTIAL, SIGNED
from featvis.plots.panels import energy_panel, write_cells

PICTURES, SIDE, CLOSE = 64, 48, 12
"""Gradients for each row, their side in pixels, and the pixels that are shown up close."""

MAP, PANEL, CELLS, WIDTH = 192, 144, 96, 720
"""Sides in screen pixels, and the width of a page of text: a figure of pixels must not be scaled."""

LEVELS = {
    0.0: "even",
    0.01: "the strongest phase has 1.3 times the energy of the weakest",
    0.1: "2.5 times",
    0.2346: "4 times, phases 1 : 2 : 2 : 4, as 3 × 3 stride 2 with random weights",
    1.0: "21 times",
    3.0: "one pixel in four has all of it, as 1 × 1 stride 2",
}
"""Energies and what they mean."""


def noise(softness: float, seed: int) -> Tensor:
    """Gaussian noise of variance 1 without a preferred pixel, (PICTURES, 1, SIDE, SIDE): white at 0, softer above."""
    white = torch.randn(PICTURES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    frequency = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    distance = (frequency.square() + frequency.unsqueeze(1).square()).sqrt()
    soft = torch.fft.ifft2(torch.fft.fft2(white) / (1 + (softness * distance) ** 2)).real
    return soft / soft.square().mean().sqrt()


def profile_of(energy: float) -> Tensor:
    """The profile (2, 2) of this energy whose rows and columns are alike: (1 + t^2)^2 - 1 = E, phases (1 - t, 1 + t)."""
    unevenness = math.sqrt(math.sqrt(1 + energy) - 1)
    axis = torch.tensor([1 - unevenness, 1 + unevenness], dtype=torch.float64)
    return axis * axis.unsqueeze(1)


def tiled(cell: Tensor) -> Tensor:
    """A cell of (p, p) values repeated over a picture."""
    return cell.repeat(SIDE // cell.shape[0], SIDE // cell.shape[1])


def with_energy(gradients: Tensor, energy: float) -> Tensor:
    """The gradients with each pixel scaled by the root of its phase's part in a profile of this energy."""
    return gradients * tiled(profile_of(energy)).sqrt()


@dataclass(frozen=True)
class Row:
    """One line of a figure: gradients (N, 1, H, W), what was put into them and what featvis measures about them."""

    title: str
    text: str
    gradients: Tensor
    measured: Energies

    @classmethod
    def of(cls, title: str, text: str, gradients: Tensor) -> Row:
        return cls(title, text, gradients, checkerboard_energy(gradients, 2))


def words(value: float, error: float | None) -> str:
    """A value with its error, to the digits that the error allows."""
    digits = 4 if not error else min(max(1 - math.floor(math.log10(error)), 2), 4)
    return f"{round(value, digits) + 0.0:.{digits}f} ± {error or 0:.{digits}f}".replace("-", "−")


def mean_spectrum(gradients: Tensor) -> np.ndarray:
    """Mean power of all gradients, relative to its own mean, (SIDE + 1, SIDE + 1), from -1/2 to 1/2 cycle per pixel."""
    power = np.mean([spectrum(one.numpy()) for one in gradients], axis=0)
    return np.pad(power, (0, 1), mode="wrap")


def draw_gradient(page: Page, x: float, y: float, gradient: Tensor, side: int) -> None:
    axes, _ = page.map(
        x, y, side, gradient.numpy(), pixel_edges(gradient.shape), cmap=SIGNED, norm=Normalize(-2.5, 2.5)
    )
    axes.set(xticks=[], yticks=[])


def draw_cells(page: Page, x: float, y: float, cells: Tensor, norm: Normalize, colours: str, form: str) -> None:
    axes, image = page.map(x, y, CELLS, cells.numpy(), pixel_edges(cells.shape), cmap=colours, norm=norm)
    write_cells(axes, image, cells.numpy(), form, 9)
    axes.set(xticks=[], yticks=[])


def draw_spectrum(page: Page, x: float, y: float, gradients: Tensor) -> Axes:
    power = mean_spectrum(gradients)
    axes, _ = page.map(x, y, 147, power, (-0.51, 0.51, 0.51, -0.51), cmap=SEQUENTIAL, norm=LogNorm(3e-3, 30, clip=True))
    axes.set(xticks=[-0.5, 0, 0.5], yticks=[], xticklabels=["−1/2", "0", "1/2"])
    return axes


def figure_of(rows: Sequence[Row], heads: Sequence[tuple[int, str]], draw: str) -> Figure:
    """A figure with a line for each row; heads: the columns' places and names; draw: a name of DRAWINGS."""
    row_height = MAP + 74
    page = Page(WIDTH, 44 + row_height * len(rows))
    for x, head in heads:
        page.text(x, 14, head, 9, color=FAINT)
    for number, row in enumerate(rows):
        y = 44 + row_height * number
        page.text(MARGIN, y, row.title, 11.5, weight="bold")
        page.text(MARGIN + text_width(row.title, 11.5, "bold") + 14, y + 3, row.text, 9, color=FAINT)
        DRAWINGS[draw](page, y + 30, row)
    return page.finished()


def draw_energy_row(page: Page, y: float, row: Row) -> None:
    first, middle = row.gradients[0, 0], (SIDE - CLOSE) // 2
    draw_gradient(page, MARGIN, y, first, MAP)
    draw_gradient(page, 236, y, first[middle : middle + CLOSE, middle : middle + CLOSE], PANEL)
    draw_cells(page, 408, y, fold(first.square(), 2, 2), Normalize(0, 4), SEQUENTIAL, ".2f")
    draw_spectrum(page, 542, y, row.gradients)
    energy = row.measured.energy[2]
    page.text(236, y + PANEL + 34, f"measured at {PICTURES}: E(2) = {words(*energy)}", 9)


def draw_comb_row(page: Page, y: float, row: Row) -> None:
    middle = (SIDE - CLOSE) // 2
    draw_gradient(page, MARGIN, y, row.gradients[0, 0, middle : middle + CLOSE, middle : middle + CLOSE], MAP)
    draw_cells(page, 256, y, row.measured.profile, Normalize(0, 4), SEQUENTIAL, ".2f")
    draw_cells(
        page,
        396,
        y,
        fold(row.gradients, 2, 2).mean((0, 1)).round(decimals=1) + 0.0,
        Normalize(-1.5, 1.5),
        SIGNED,
        ".1f",
    )
    draw_spectrum(page, 542, y, row.gradients)
    measured = row.measured
    page.text(256, y + 112, f"E(2) = {words(*measured.energy[2])}", 9)
    page.text(256, y + 134, f"S(2) = {words(*measured.signed_comb[2])}", 9)
    page.text(256, y + 156, f"flatness {measured.mean_gradient_flatness:.4f}", 9)
    page.text(256, y + 178, f"({white_flatness(2, 2):.2f} for white noise)", 9, color=FAINT)


def draw_frequency_row(page: Page, y: float, row: Row) -> None:
    first, middle = row.gradients[0, 0], (SIDE - CLOSE) // 2
    draw_gradient(page, MARGIN, y, first, MAP)
    draw_gradient(page, 236, y, first[middle : middle + CLOSE, middle : middle + CLOSE], PANEL)
    axes = draw_spectrum(page, 408, y, row.gradients)
    axes.add_patch(Rectangle((-0.25, -0.25), 0.5, 0.5, fill=False, edgecolor=CONTROL, linewidth=1.4))
    page.text(578, y, "high-frequency", 9)
    page.text(578, y + 22, f"share {row.measured.high_frequency_share.value:.2f}", 9)
    page.text(236, y + PANEL + 34, f"E(2) = {words(*row.measured.energy[2])}", 9)


def draw_control_row(page: Page, y: float, row: Row) -> None:
    energy = row.gradients.square().mean((0, 1))
    axes, _ = page.map(MARGIN, y, MAP, energy.numpy(), pixel_edges(energy.shape), cmap=SEQUENTIAL)
    axes.set(xticks=[], yticks=[])
    energies: dict[int, Energy] = {period: tuple(one) for period, one in row.measured.energy.items()}
    controls: dict[int, Energy] = {period: tuple(one) for period, one in row.measured.controls.items()}
    energy_panel(page.axes(330, y + 24, WIDTH - 330 - MARGIN, MAP - 34), energies, controls, (0.0, 20.0))


DRAWINGS = {
    "energy": draw_energy_row,
    "comb": draw_comb_row,
    "frequencies": draw_frequency_row,
    "controls": draw_control_row,
}
"""What stands in a line of each figure."""


def energy_rows() -> list[Row]:
    """Soft noise with an exact energy: of all of them as expected, of the first one, which is shown, to the last digit."""
    rows = []
    for number, (energy, text) in enumerate(LEVELS.items()):
        row = Row.of(f"E = {energy:g}", text, with_energy(noise(7, number), energy))
        shown = row.gradients[0]
        level = tiled(fold(shown.square(), 2, 2)[0])
        wanted = tiled(profile_of(energy))
        shown *= torch.where(wanted > 0, wanted / level.clamp_min(1e-12), 0).sqrt()
        rows.append(row)
    return rows


def comb_rows() -> list[Row]:
    """The same noise without a comb, with one whose sign changes from picture to picture, and with one that does not."""
    plain = noise(0, 10)
    comb = tiled(torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64))
    signs = torch.where(torch.arange(PICTURES) % 2 == 0, 1.0, -1.0).double().view(-1, 1, 1, 1)
    return [
        Row.of("no comb", "", plain),
        Row.of(
            "a comb", "plus and minus by turns, added; in every other picture the other way round", plain + signs * comb
        ),
        Row.of("the same comb", "the same way round in every picture", plain + comb),
    ]


def frequency_rows() -> list[Row]:
    """Even noise of three colours."""
    white, soft = noise(0, 20), noise(12, 21)
    rough = white - torch.nn.functional.avg_pool2d(white, 3, 1, 1)
    return [
        Row.of("soft", "", soft),
        Row.of("white", "", white),
        Row.of("rough", "each pixel minus the mean of its surroundings", rough),
    ]


def control_rows() -> list[Row]:
    """A checkerboard all over the pictures, and none, but all of the gradient in one spot."""
    place = torch.arange(SIDE, dtype=torch.float64) - 20.3
    spot = torch.exp(-(place.square() + place.unsqueeze(1).square()) / (2 * 1.2**2))
    return [
        Row.of("good", "a checkerboard of E = 0.1, spread over the picture", with_energy(noise(0, 30), 0.1)),
        Row.of("bad", "no checkerboard; in all pictures the gradient sits in the same spot", noise(0, 31) * spot),
    ]


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    rows = energy_rows()
    spectrum_head = (542, "spectrum")
    heads = [(MARGIN, "gradient"), (236, "12 × 12 pixels of it"), (408, "phase profile"), spectrum_head]
    figures = {"energy": (rows, heads)}
    heads = [(MARGIN, "12 × 12 pixels"), (256, "phase profile"), (396, "mean by phase"), spectrum_head]
    figures["comb"] = (comb_rows(), heads)
    heads = [(MARGIN, "gradient"), (236, "12 × 12 pixels of it"), (408, "spectrum")]
    figures["frequencies"] = (frequency_rows(), heads)
    figures["controls"] = (
        control_rows(),
        [(MARGIN, f"mean energy of {PICTURES} pictures"), (300, "E by period, and controls")],
    )
    with style():
        for name, (lines, columns) in figures.items():
            save_figure(figure_of(lines, columns, name), DOCS / f"reading_{name}.png")
    energies = [
        (f"{put_in:g}", words(*row.measured.energy[2]), *(words(*one) for one in row.measured.controls.values()))
        for put_in, row in zip(LEVELS, rows, strict=True)
    ]
    controls = [f"control {period}" for period in rows[0].measured.controls]
    put_table(DOCS / "reading.md", "energies", markdown_table(["E put in", "E(2) measured", *controls], energies))


if __name__ == "__main__":
    main()
