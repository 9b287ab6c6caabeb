"""What each layer with a window does to the expected energy that passes back through it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from featvis.measure.phases import fold, interior
from featvis.tracing.grids import Grid
from featvis.tracing.trace import Operation, Trace
from featvis.tracing.windows import Window


@dataclass(frozen=True)
class LayerPrediction:
    """What one layer with a window does to the energy that passes back through it.

    name, type: as in the layer table, a function in brackets. kernel, stride: for each axis; remainder: kernel modulo stride, 0 where
    every pixel is read equally often. period: in pixels, what the layer can leave in the picture. injected: E at its own stride, from
    an even map behind it. arriving: E at its own stride of the whole predicted map at its input. cumulative: the same at the period of
    everything from there to the score. Both are None where that map holds no whole period.
    """

    name: str
    type: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    remainder: tuple[int, ...]
    period: int
    injected: float
    arriving: float | None
    cumulative: float | None


@dataclass(frozen=True)
class WindowPlace:
    """An operation that reads a map through windows: its number in the trace, its output, and what it reads along each axis."""

    order: int
    operation: Operation
    output: int
    window: Window


def window_places(record: Trace, end: int | None) -> dict[int, list[WindowPlace]]:
    """The windowed operations behind a value, by the number of the map that they read; transposed ones are wider than they read."""
    found: dict[int, list[WindowPlace]] = {}
    for order, operation in enumerate(record.leading_to(end)):
        inputs, window = operation.inputs, operation.window
        grid = record.grids[inputs[0]] if inputs else None
        if window is None or not window.kernel or grid is None or grid.dimensions is None or operation.grid is None:
            continue
        if operation.operator == "convolution" and operation.arguments[6]:
            continue
        if operation.operator == "slice":
            along = operation.arguments[1] % len(record.shapes[inputs[0]])
            strides = [window.stride[0] if dimension == along else 1 for dimension in grid.dimensions]
            window = Window.of(1, strides, axes=len(strides))
        window = window.on(len(grid.strides))
        if max(*window.kernel, *window.stride) > 1:
            found.setdefault(inputs[0], []).append(WindowPlace(order, operation, operation.outputs[0], window))
    return found


def layer_prediction(
    spot: WindowPlace, energy: Tensor, behind: Mapping[int, Tensor], record: Trace, total_stride: int, learned: bool
) -> LayerPrediction:
    operation, grid = spot.operation, record.grids[spot.operation.inputs[0]]
    assert grid is not None
    name = operation.layer
    is_leaf = not any(other.startswith(f"{name}.") for other in record.layer_types) and name in record.layer_types
    strides = [Fraction(stride) for stride in spot.window.stride]
    own = expected_phases(energy, grid, strides)
    whole = expected_phases(energy, grid, [total_stride / stride for stride in grid.strides])
    return LayerPrediction(
        name=name,
        type=record.layer_types[name] if is_leaf else f"({operation.operator})",
        kernel=spot.window.kernel,
        stride=spot.window.stride,
        remainder=spot.window.remainder,
        period=math.lcm(*((a * b).numerator for a, b in zip(grid.strides, strides, strict=True))),
        injected=unevenness(_taps_by_phase(spot, behind.get(spot.output), learned)),
        arriving=None if own is None else unevenness(own),
        cumulative=None if whole is None else unevenness(whole),
    )


def _taps_by_phase(spot: WindowPlace, behind: Tensor | None, learned: bool) -> Tensor:
    """The energy that one windowed operation sends to each phase of its stride from an even map, mean 1; never read: 0.

    behind: mean energy of each channel of its output, (C,).
    """
    if max(spot.window.stride) == 1:
        return torch.ones(spot.window.stride)
    taps = torch.ones(spot.window.kernel, dtype=torch.float64)
    weight = spot.operation.arguments[1]
    if learned and isinstance(weight, Tensor) and behind is not None:
        squares = weight.double().square().sum(1)
        taps = torch.tensordot(behind.to(squares), squares, 1).cpu()
    taps = spot.window.by_phase(taps)
    return taps / taps.mean()


def expected_phases(energy: Tensor, grid: Grid | None, periods: Sequence[Fraction]) -> Tensor | None:
    """Phase profile (rows, columns), mean 1, of a map's energy over the interior that the measure takes.

    periods: along each axis of the grid, in its own pixels. None where no whole period fits or there is no energy.
    """
    if grid is None or grid.dimensions is None:
        return None
    others = [dimension for dimension in range(energy.ndim) if dimension not in grid.dimensions]
    flat = energy.sum(others).double()
    sizes = [int(period) for period in periods]
    if any(
        period.denominator > 1 or size > length for period, size, length in zip(periods, sizes, flat.shape, strict=True)
    ):
        return None
    if flat.ndim == 1:
        flat, sizes = flat.unsqueeze(0), [1, *sizes]
    profile = fold(flat[interior(flat.shape[0], sizes[0]), interior(flat.shape[1], sizes[1])], *sizes)
    mean = profile.mean()
    return profile / mean if bool(mean > 0) and bool(mean.isfinite()) else None


def unevenness(profile: Tensor) -> float:
    return float((profile - 1).square().mean())
