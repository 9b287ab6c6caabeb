"""The explorer of overlaps: sliders for a stack of strided convolutions, its counts and energies drawn live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from featvis.errors import FeatvisError
from featvis.files import write_text
from featvis.plots.palette import SEQUENTIAL
from featvis.predict.overlap import Stack, Stage
from featvis.report.templates import rendered
from featvis.tracing.layer_table import LayerRow

MOST_LAYERS, LARGEST = 5, (64, 16, 64, 16, 15)
"""The explorer's limits: layers, and kernel, stride, padding, dilation and output padding of each."""

COMMON = (Stage(3, 2, 1), Stage(3, 2, 1))
"""Where the explorer starts if nothing else is known."""


def stack_text(stack: Stack) -> str:
    """A stack as the explorer's address holds it, in the grammar of `featvis overlap`; raises FeatvisError beyond its limits."""
    if not 0 < len(stack) <= MOST_LAYERS:
        raise FeatvisError(f"{len(stack)} stages; the explorer takes 1 to {MOST_LAYERS}")
    texts = []
    for stage in stack:
        numbers = (stage.kernel, stage.stride, stage.padding, stage.dilation, stage.output_padding)
        if any(number > most for number, most in zip(numbers, LARGEST, strict=True)):
            raise FeatvisError(
                f"the stage {stage} is beyond the explorer's limits: kernel {LARGEST[0]}, stride {LARGEST[1]}, "
                f"padding {LARGEST[2]}, dilation {LARGEST[3]}"
            )
        texts.append(",".join(map(str, numbers)))
    return "+".join(texts)


def stack_of(layers: Iterable[tuple[int | Fraction, Sequence[int], Sequence[int]]]) -> Stack:
    """The strided layers of a network, from the pixels to the score, as far as the explorer takes them; without their padding.

    layers: a number that grows from the pixels to the score, such as the period that the layer can leave, its kernel and its stride. Of
    layers with the same number, which lie beside each other, the one with the largest kernel is taken.
    """
    stages: dict[int | Fraction, Stage] = {}
    for place, kernel, stride in sorted(layers, key=lambda layer: (layer[0], *layer[1])):
        sizes = {*zip(kernel, stride, strict=False)}
        if len(sizes) == 1 and all(0 < number <= most for number, most in zip(*sizes, LARGEST, strict=False)):
            stages[place] = Stage(*sizes.pop())
    return tuple(stages.values())[:MOST_LAYERS] or COMMON


def stack_of_rows(rows: Iterable[LayerRow]) -> Stack:
    """The same of rows of a layer table, of layers that shrink or, from the picture back to the noise, of layers that enlarge."""
    return stack_of((max(row.total_stride), row.kernel, row.stride) for row in rows if row.total_stride)


def explorer_values(stack: Stack, dims: int = 2) -> dict[str, object]:
    """What the explorer's part of a template reads."""
    colours = matplotlib.colormaps[SEQUENTIAL](np.linspace(0, 1, 64))
    return {
        "stack": stack_text(stack),
        "dims": dims,
        "most_layers": MOST_LAYERS,
        "largest": LARGEST,
        "colours": [to_hex(colour) for colour in colours],
    }


def explorer_html(rows: Stack, columns: Sequence[Stage] | None = None, dims: int = 2) -> str:
    """The explorer as a page of its own, with both axes alike; raises FeatvisError where they differ, or beyond its limits."""
    if columns is not None and list(rows) != list(columns):
        raise FeatvisError("the explorer's sliders move both axes; give stages whose rows and columns are alike")
    return rendered("explorer.html", explorer=explorer_values(rows, dims), title="Overlap explorer")


def write_explorer(path: str | Path, rows: Stack, columns: Sequence[Stage] | None = None, dims: int = 2) -> Path:
    """Write `explorer_html` to a file."""
    return write_text(path, explorer_html(rows, columns, dims))
