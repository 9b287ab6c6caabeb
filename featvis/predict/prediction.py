"""The checkerboard that a network's architecture and weights lead to, without a picture.

One forward pass is recorded, then energy flows back over it by the rules of `featvis.predict.rules`. What arrives at the pixels is the
expected energy map of the input gradient: the backward variance of He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2,
kept apart for each pixel and channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names
from featvis.files import document_text, plain
from featvis.measure.periods import exact_periods, periods_of
from featvis.measure.phases import fold, interior
from featvis.predict.rules import RULES, identity
from featvis.predict.steps import Rule, Step
from featvis.tracing.grids import Grid
from featvis.tracing.networks import layer_named
from featvis.tracing.trace import Operation, Trace, Value, trace
from featvis.tracing.windows import Window

SCHEMA = "featvis.prediction/1"

WEIGHTS = ("learned", "uniform")
"""Each weight's own square, or all weights of a layer alike."""

LARGE = 1e6
"""An energy is scaled back once it leaves 1/LARGE to LARGE."""


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
class Prediction:
    """The expected energy of the input gradient by pixel phase.

    energy: E(p) for each divisor p of the total stride. exact_periods: of the harmonics of exactly that period, which add up to
    E(total stride). profile: (P, P), mean 1; (1, P) for signals. layers: from the pixels to the score. notes: what was simplified.
    """

    total_stride: int
    energy: dict[int, float]
    exact_periods: dict[int, float]
    profile: Tensor
    layers: tuple[LayerPrediction, ...]
    weights: str
    notes: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it; periods become strings."""
        return plain({"schema": SCHEMA, **vars(self)})

    def to_json(self) -> str:
        """The prediction as JSON."""
        return document_text(self)


def predict(
    module: nn.Module,
    example_shape: Sequence[int],
    weights: str = "learned",
    layer: str | None = None,
    assume_identity: Sequence[str] = (),
    record: Trace | None = None,
) -> Prediction:
    """The checkerboard expected in the gradient of a random mix of a network's outputs, or of a layer's.

    example_shape: (C, H, W), or (C, L) for signals, without the batch. weights: "learned" counts each weight with its own square;
    "uniform" counts all of a layer alike, so that only the architecture speaks. assume_identity: operators, or layers with all that
    runs inside them, that are taken to pass the gradient on as it is. record: the network's trace at an input of this shape, where there
    is one.

    Raises FeatvisError for an operator without a rule, an unknown layer, an input smaller than the total stride, and a score that no
    gradient leaves.
    """
    if weights not in WEIGHTS:
        raise FeatvisError(f"weights {weights!r}; expected {' or '.join(WEIGHTS)}")
    if len(example_shape) not in (2, 3):
        raise FeatvisError(f"an input of shape {tuple(example_shape)}; expected (C, H, W), or (C, L) for signals")
    layer = layer if layer is None else layer_named(module, layer)
    like = next((p.detach() for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    record = trace(module, like.new_zeros(1, *example_shape)) if record is None else record
    end = record.output if layer is None else record.layer_outputs.get(layer)
    total_stride, axes = record.total_stride(layer), len(example_shape) - 1
    if min(example_shape[1:]) < total_stride:
        size = " x ".join(map(str, example_shape[1:]))
        raise FeatvisError(f"an input of {size} is smaller than the total stride of {total_stride}; give a larger one")

    learned = weights == "learned"
    like = like if like.dtype == torch.float64 else like.float()
    places = _places(record, end)
    outputs = {spot.output for spots in places.values() for spot in spots}
    behind: dict[int, Tensor] = {}
    layers: dict[int, LayerPrediction] = {}
    notes: set[str] = set()
    profile = None
    for number, energy in expected_energies(record, end, like, learned, assume_identity, notes):
        if number in outputs:
            behind[number] = energy.flatten(2).mean((0, 2)) if energy.ndim > 2 else energy.mean(0)
        for spot in places.get(number, ()):
            layers[spot.order] = _layer_prediction(spot, energy, behind, record, total_stride, learned)
        if number == 0:
            profile = _profile(energy, record.grids[0], (Fraction(total_stride),) * axes)
    if profile is None:
        raise FeatvisError("no gradient of the score reaches the pixels, or one past counting; choose another layer")

    cumulative = {
        period: _unevenness(fold(profile, *((period, period) if axes == 2 else (1, period))))
        for period in periods_of(total_stride)
    }
    rows = tuple(layers[order] for order in sorted(layers))
    return Prediction(
        total_stride, cumulative, exact_periods(cumulative), profile.cpu(), rows, weights, tuple(sorted(notes))
    )


def expected_energies(
    record: Trace,
    end: int | None,
    like: Tensor,
    learned: bool = True,
    assume_identity: Sequence[str] = (),
    notes: set[str] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """The number and expected energy of each value, once all that read it have been passed; the input, number 0, comes last.

    end: the value where the energy starts, even. like: a tensor of the precision and device to compute in. notes: gathers what was
    simplified. A common factor is taken out on the way, so that deep networks neither overflow nor vanish: the scale of an
    energy says nothing, and memory holds only what still waits to be read.
    """
    if end is None:
        raise FeatvisError("the score does not depend on the pixels, as far as the trace sees; choose another layer")
    notes = set() if notes is None else notes
    known = {*record.layer_types, *(operation.operator for operation in record.operations)}
    for name in assume_identity:
        if name not in known:
            raise FeatvisError(f"no layer or operator {name!r} to take for an identity{nearest_names(name, known)}")
    makers = {number: operation for operation in record.operations for number in operation.outputs}
    waiting = {end: like.new_ones(record.shapes[end])}
    for operation in reversed(record.leading_to(end)):
        energies = [waiting.pop(number, None) for number in operation.outputs]
        yield from ((n, e) for n, e in zip(operation.outputs, energies, strict=True) if e is not None)
        if all(energy is None for energy in energies):
            continue
        step = Step(operation, energies, record.shapes, makers, learned, notes)
        for value, energy in _passed(step, _rule(operation, assume_identity)):
            other = waiting.get(value.number)
            waiting[value.number] = energy if other is None else other + energy
        if len(waiting) == 1:
            number, energy = waiting.popitem()
            peak = float(energy.amax())
            waiting[number] = energy / peak if peak > LARGE or 0 < peak < 1 / LARGE else energy
    if 0 in waiting:
        yield 0, waiting[0]


def _rule(operation: Operation, assume_identity: Sequence[str]) -> Rule:
    operator, layer = operation.operator, f"{operation.layer}."
    if any(name == operator or layer.startswith(f"{name}.") for name in assume_identity):
        return identity
    if operator not in RULES:
        raise FeatvisError(f"no rule for {_what(operation)}; {_MEND}")
    return RULES[operator]


def _passed(step: Step, rule: Rule) -> list[tuple[Value, Tensor]]:
    try:
        return list(rule(step))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        said = str(error).partition("\n")[0]
        raise FeatvisError(f"no energy passes {_what(step.operation)}: {said}; {_MEND}") from error


def _what(operation: Operation) -> str:
    return f"the operator {operation.operator!r} of layer {operation.layer!r}"


_MEND = "--assume-identity NAME, an operator or a layer, takes it to pass the gradient on as it is"


@dataclass(frozen=True)
class _Place:
    """An operation that reads a map through windows: its number in the trace, its output, and what it reads along each axis."""

    order: int
    operation: Operation
    output: int
    window: Window


def _places(record: Trace, end: int | None) -> dict[int, list[_Place]]:
    """The windowed operations behind a value, by the number of the map that they read; transposed ones are wider than they read."""
    found: dict[int, list[_Place]] = {}
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
            found.setdefault(inputs[0], []).append(_Place(order, operation, operation.outputs[0], window))
    return found


def _layer_prediction(
    spot: _Place, energy: Tensor, behind: dict[int, Tensor], record: Trace, total_stride: int, learned: bool
) -> LayerPrediction:
    operation, grid = spot.operation, record.grids[spot.operation.inputs[0]]
    assert grid is not None
    name = operation.layer
    is_leaf = not any(other.startswith(f"{name}.") for other in record.layer_types) and name in record.layer_types
    strides = [Fraction(stride) for stride in spot.window.stride]
    own = _profile(energy, grid, strides)
    whole = _profile(energy, grid, [total_stride / stride for stride in grid.strides])
    return LayerPrediction(
        name=name,
        type=record.layer_types[name] if is_leaf else f"({operation.operator})",
        kernel=spot.window.kernel,
        stride=spot.window.stride,
        remainder=spot.window.remainder,
        period=math.lcm(*((a * b).numerator for a, b in zip(grid.strides, strides, strict=True))),
        injected=_unevenness(_taps_by_phase(spot, behind.get(spot.output), learned)),
        arriving=None if own is None else _unevenness(own),
        cumulative=None if whole is None else _unevenness(whole),
    )


def _taps_by_phase(spot: _Place, behind: Tensor | None, learned: bool) -> Tensor:
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


def _profile(energy: Tensor, grid: Grid | None, periods: Sequence[Fraction]) -> Tensor | None:
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


def _unevenness(profile: Tensor) -> float:
    return float((profile - 1).square().mean())
