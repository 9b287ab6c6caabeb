"""The layer table: what each layer that ran does to the resolution, a row for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from featvis.tracing.grids import Grid
from featvis.tracing.trace import Operation, Trace


@dataclass(frozen=True)
class LayerRow:
    """One line of the layer table. kernel and stride are empty where the layer has none; total_stride is None past the grid."""

    name: str
    type: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    total_stride: tuple[Fraction, ...] | None
    shape: tuple[int, ...]
    mark: str


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
        kernel, stride = (window.kernel, window.stride) if window else ((), ())
        before = [record.grids.get(number) for number in operation.inputs]
        mark = _mark(operation, before, stride)
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
            )
            continue
        if not is_leaf and not mark:
            continue
        name = layer_type if is_leaf and row is None else f"({operation.operator})"
        if is_leaf:
            calls[operation.call] = len(rows)
        rows.append(LayerRow(operation.layer, name, kernel, stride, _strides(operation.grid), operation.shape, mark))
    return rows


def resolution_layers(record: Trace, layer: str | None = None) -> list[LayerRow]:
    """The rows with a stride above 1 that a layer's output (the network's where None) depends on."""
    end = record.output if layer is None else record.layer_outputs[layer]
    rows = layer_rows(record, record.leading_to(end))
    return [row for row in rows if row.mark in ("strided", "pooling") and max(row.stride, default=1) > 1]


def _dots(name: str) -> list[int]:
    """Where the names of a layer's parents end, the network's own empty one included."""
    return [0, *(position for position, letter in enumerate(name) if letter == ".")]


def _strides(grid: Grid | None) -> tuple[Fraction, ...] | None:
    return None if grid is None or grid.dimensions is None else grid.strides


def _mark(operation: Operation, before: Iterable[Grid | None], stride: tuple[int, ...]) -> str:
    """What an operation does to the resolution, in a word; empty where it leaves it alone."""
    operator = operation.operator
    pooling = "pool" in operator
    sources = [grid for grid in before if grid is not None]
    if operation.grid is None and sources:
        if not pooling and operator not in ("mean", "convolution"):
            return ""
        return "global" if max(operation.shape[2:], default=1) == 1 else "pooling"
    if operator.startswith("upsample") and operation.grid is not None and operation.grid.strides > sources[0].strides:
        return "strided"
    transposed = operator == "convolution" and operation.arguments[6]
    if operator.startswith("upsample") or operator == "pixel_shuffle" or (transposed and max(stride) > 1):
        return "upsampling"
    if pooling:
        return "pooling"
    return "strided" if stride and max(stride) > 1 else ""
