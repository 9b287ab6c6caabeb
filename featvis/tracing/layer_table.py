"""The layer table: what each layer that ran does to the resolution, a row for each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from featvis.tracing.grids import Grid
from featvis.tracing.trace import Operation, Trace


@dataclass(frozen=True)
class LayerRow:
    """One line of the layer table. kernel, stride and padding are empty where the layer has none; total_stride is None past the grid."""

    name: str
    type: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    total_stride: tuple[Fraction, ...] | None
    shape: tuple[int, ...]
    mark: str
    padding: tuple[int, ...] = ()

    @property
    def remainder(self) -> tuple[int, ...]:
        """Kernel modulo stride by axis: 0 where all pixels are read equally often; empty where there is no stride above 1."""
        if max(self.stride, default=1) == 1 or len(self.kernel) != len(self.stride):
            return ()
        return tuple(kernel % stride for kernel, stride in zip(self.kernel, self.stride, strict=True))


def layer_rows(record: Trace, operations: Sequence[Operation] | None = None) -> list[LayerRow]:
    """A row for each layer without children that ran, and for each function that changes the resolution.

    operations: only those, where not all.
    """
    rows: list[LayerRow] = []
    calls: dict[int, int] = {}
    chosen = record.operations if operations is None else operations
    parents = {
        operation.layer[:dot] for operation in record.operations if operation.layer for dot in _dots(operation.layer)
    }
    for operation in chosen:
        window = operation.window
        kernel, stride, padding = (window.kernel, window.stride, window.padding) if window else ((), (), ())
        before = [record.grids.get(number) for number in operation.inputs]
        mark = mark_of(operation, before, stride)
        stride = stride or (steps_of(operation, before) if mark == "strided" else ())
        layer_type = record.layer_types.get(operation.layer, "GraphModule")
        # All of an exported program runs in one module.
        is_leaf = operation.layer not in parents and layer_type != "GraphModule"
        row = rows[calls[operation.call]] if is_leaf and operation.call in calls else None
        if row is not None and not (row.mark and mark):
            rows[calls[operation.call]] = replace(
                row,
                kernel=row.kernel or kernel,
                stride=row.stride or stride,
                total_stride=_strides(operation.grid),
                shape=operation.shape,
                mark=row.mark or mark,
                padding=row.padding or padding,
            )
            continue
        if not is_leaf and not mark:
            continue
        name = layer_type if is_leaf and row is None else f"({operation.operator})"
        if is_leaf:
            calls[operation.call] = len(rows)
        total = _strides(operation.grid)
        rows.append(LayerRow(operation.layer, name, kernel, stride, total, operation.shape, mark, padding))
    return rows


def resolution_layers(record: Trace, layer: str | None = None) -> list[LayerRow]:
    """The rows with a stride above 1 that a layer's output (the network's where None) depends on."""
    end = record.output if layer is None else record.layer_outputs[layer]
    rows = layer_rows(record, record.leading_to(end))
    return [row for row in rows if row.mark in ("strided", "pooling") and max(row.stride, default=1) > 1]


def explaining_layers(record: Trace, period: tuple[int, int], layer: str | None = None) -> tuple[str, ...]:
    """The layers that a period, (rows, columns) in pixels, needs: with all nearer the pixels it can arise, without them not."""
    end = record.output if layer is None else record.layer_outputs[layer]
    reached: dict[int, tuple[int, ...]] = {}
    steps: list[tuple[str, tuple[int, ...]]] = []
    for operation in record.leading_to(end):
        before = _common(reached[number] for number in operation.inputs if number in reached)
        strides = [tuple(stride.numerator if stride else 1 for stride in place.strides) for place in operation.places]
        after = _common([before, *strides])
        reached |= dict.fromkeys(operation.outputs, after)
        if after != before:
            steps.append((operation.layer or f"({operation.operator}) of the network itself", after))
    for limit in sorted({math.prod(after) for _, after in steps}):
        near = _common(after for _, after in steps if math.prod(after) <= limit)
        if all(longer % own == 0 for longer, own in zip((1, *near)[-2:], period, strict=True)):
            return tuple(dict.fromkeys(name for name, after in steps if math.prod(after) == limit))
    return ()


def _common(periods: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """The least common multiple along each axis."""
    return tuple(itertools.starmap(math.lcm, itertools.zip_longest(*periods, fillvalue=1)))


def _dots(name: str) -> list[int]:
    """Where the names of a layer's parents end, the network's own empty one included."""
    return [0, *(position for position, letter in enumerate(name) if letter == ".")]


def _strides(grid: Grid | None) -> tuple[Fraction, ...] | None:
    return None if grid is None or grid.dimensions is None else grid.strides


def mark_of(operation: Operation, before: Iterable[Grid | None], stride: tuple[int, ...]) -> str:
    """What an operation does to the resolution, in a word; empty where it leaves it alone."""
    operator = operation.operator
    pooling = "pool" in operator
    sources = [grid for grid in before if grid is not None]
    if operation.grid is None and sources and not operation.lost:
        if not pooling and operator not in ("mean", "convolution"):
            return ""
        return "global" if max(operation.shape[2:], default=1) == 1 else "pooling"
    if pooling:
        return "pooling"
    if operator == "convolution":
        return ("upsampling" if operation.arguments[6] else "strided") if max(stride, default=1) > 1 else ""
    if operation.grid is None or not sources or operator == "put":
        return ""
    old = max(sources, key=lambda grid: grid.strides).strides
    if any(new > was > 0 for new, was in zip(operation.grid.strides, old, strict=True)):
        return "strided"
    shrunk = any(0 < new < was for new, was in zip(operation.grid.strides, old, strict=True))
    enlarging = "upsample" in operator or operator == "pixel_shuffle"
    return (
        "upsampling" if enlarging and (shrunk or operator == "pixel_shuffle" or old == operation.grid.strides) else ""
    )


def steps_of(operation: Operation, before: Iterable[Grid | None]) -> tuple[int, ...]:
    """How much further apart pixels lie after an operation, where these are whole numbers."""
    sources = [grid for grid in before if grid is not None]
    if operation.grid is None or not sources:
        return ()
    pairs = zip(operation.grid.strides, sources[0].strides, strict=True)
    ratios = [new / old if old else Fraction(1) for new, old in pairs]
    return tuple(map(int, ratios)) if all(ratio.denominator == 1 and ratio > 0 for ratio in ratios) else ()
