"""`featvis overlap`: the counts, the energies and the mends of a stack of strided convolutions, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from featvis.commands import tables
from featvis.commands.help import command
from featvis.commands.tables import print_table, say, wrapped

if TYPE_CHECKING:
    import numpy as np

    from featvis.predict.overlap import Stack

WIDEST, TALLEST = 120, 24
"""Characters and lines of the largest grid that is printed; a larger one is given by its two axes."""

LONGEST = 64
"""Numbers of the longest row that is printed whole."""


@command(
    short_help="How often a stack of strided layers reads each pixel.",
    examples=(
        "featvis overlap 3,2,1 3,2,1",
        "featvis overlap 3,2 --dims 1 --positions 8",
        "featvis overlap 3,2,1 3,2,1 --html explorer.html",
    ),
)
@click.argument("stages", nargs=-1, required=True, metavar="STAGE...")
@click.option("--dims", type=click.IntRange(1, 2), default=2, show_default=True, help="1 for signals, 2 for pictures.")
@click.option(
    "--positions",
    default="8",
    show_default=True,
    metavar="N",
    help="Positions at the coarsest end: 8, or rows x columns, 6x4.",
)
@click.option("--png", type=click.Path(dir_okay=False), help="Also draw the overlap to this file.")
@click.option("--html", type=click.Path(dir_okay=False), help="Also write the explorer, a page with sliders, here.")
def overlap(stages: tuple[str, ...], dims: int, positions: str, png: str | None, html: str | None) -> None:
    """Count how many windows read each pixel and predict the checkerboard that follows.

    Each STAGE is kernel,stride[,padding[,dilation[,output_padding]]], from the pixels to the score; where the axes
    differ, 3x5,2x1,1x2 gives rows x columns. A generator of transposed convolutions is listed from its picture back
    to its noise.
    """
    from featvis.commands.options import check_writable
    from featvis.errors import FeatvisError
    from featvis.files import write_text
    from featvis.measure.periods import exact_periods
    from featvis.predict import overlap as closed_form

    check_writable(png, html)

    rows, columns = closed_form.parse_stack(stages)
    down, across = closed_form.parse_pair(positions, "--positions")
    if dims == 1 and (rows != columns or down != across):
        given = f"{' '.join(stages)} with --positions {positions}"
        raise FeatvisError(f"rows and columns differ in {given}, but --dims is 1; give one number each, or --dims 2")

    page = "" if html is None else _explorer(rows, columns, dims)
    stacks = [rows, columns][:dims]
    counts = [closed_form.counts(rows, down), closed_form.counts(columns, across)][:dims]
    energies = closed_form.energies_by_period(*stacks)
    exact = exact_periods(energies)

    names = [str(row) if row == column else f"{row} by {column}" for row, column in zip(rows, columns, strict=True)]
    strides = " by ".join(dict.fromkeys(str(closed_form.total_stride(stack)) for stack in stacks))
    say(f"From the pixels to the score: {', '.join(names)}; total stride {strides}.")

    size = " x ".join(str(len(axis)) for axis in counts)
    say()
    say(f"Windows that read each pixel, {positions} positions, {size} pixels:")
    tables.show(partial(_table, counts))
    say()
    say("One period of the interior, from a pixel whose index is a multiple of it:")
    tables.show(partial(_table, [closed_form.profile(stack) for stack in stacks]))

    say()
    rows_by_period = [
        (period, f"{float(value):.4f}", f"{float(exact[period]):.4f}") for period, value in energies.items()
    ]
    if rows_by_period:
        columns_by_period = ("period", "E(period)", "of exactly this period")
        print_table("Checkerboard energy expected with random weights (0 is even):", columns_by_period, rows_by_period)
    else:
        say("Checkerboard energy expected with random weights: 0, since nothing is strided")
        say()

    say("How to balance each stage:")
    for index in range(len(stages)):
        for line in _advice(stacks, index):
            say(f"  {index + 1}. {line}")

    if png is not None:
        from featvis import plots

        picture = closed_form.counts_2d(rows, columns, (down, across)) if dims == 2 else None
        values = {period: float(value) for period, value in energies.items()}
        figure = plots.overlap_figure(counts[0], picture, values, f"Overlap of {', '.join(names)}")
        say(f"wrote {plots.save_figure(figure, png)}")
    if html is not None:
        say(f"wrote {write_text(html, page)}")


def _explorer(rows: Stack, columns: Stack, dims: int) -> str:
    from featvis.report import explorer_html

    return explorer_html(rows, columns, dims)


def _table(axes: list[np.ndarray], width: int | None) -> list[str]:
    """One row of numbers, the grid of their products in 2-D, or both axes where the grid is too large to read."""
    if len(axes) == 1:
        return wrapped(_row(axes[0]), width, "  ")
    down, across = ([int(count) for count in axis] for axis in axes)
    broad = len(str(max(down) * max(across))) + 1
    if len(down) > TALLEST or len(across) * broad + 1 > min(WIDEST, width or WIDEST):
        return [
            *wrapped(_row(axes[0]), width, "  rows     ", " " * 11),
            *wrapped(_row(axes[1]), width, "  columns  ", " " * 11),
            "  (a pixel's count is the product of the two)",
        ]
    return [" " + "".join(f"{row * column:{broad}d}" for column in across) for row in down]


def _row(values: np.ndarray) -> str:
    """The numbers of one axis; the middle of a long one is left out."""
    texts = [str(value) for value in values]
    if len(texts) > LONGEST:
        texts[LONGEST // 2 : -(LONGEST // 2)] = [f"... {len(texts) - LONGEST} more ..."]
    return " ".join(texts)


def _advice(stacks: Sequence[Stack], index: int) -> list[str]:
    """What to do about one stage: a line for both axes, or one for each where they differ."""
    from featvis.predict.overlap import balanced_kernels, total_energy

    alike = all(stack[index] == stacks[0][index] for stack in stacks)
    lines = []
    for label, axes in [("", range(len(stacks)))] if alike else [("rows ", range(1)), ("columns ", range(1, 2))]:
        stage = stacks[axes[0]][index]
        alone = total_energy(*([stage] for _ in axes))
        kernels = balanced_kernels(stage.kernel, stage.stride, stage.dilation)
        verdict = f"E {float(alone):.4f} alone; "
        if not alone:
            verdict = "even"
        elif kernels:
            mends = (f"{_mended(stacks, index, axes, kernel):.4f} with kernel {kernel}" for kernel in kernels)
            verdict += f"the stack would have {', '.join(mends)}"
        else:
            verdict += f"no kernel is even while stride {stage.stride} and dilation {stage.dilation} share a factor"
        lines.append(f"{label}{stage}: {verdict}")
    return lines


def _mended(stacks: Sequence[Stack], index: int, axes: Sequence[int], kernel: int) -> float:
    """E of the whole stack once one stage has another kernel on these axes."""
    from dataclasses import replace

    from featvis.predict.overlap import total_energy

    changed = [list(stack) for stack in stacks]
    for axis in axes:
        changed[axis][index] = replace(changed[axis][index], kernel=kernel)
    return float(total_energy(*changed))
