"""The checkerboard that a network's architecture and weights lead to, without a picture.

One forward pass is recorded, then energy flows back over it by the rules of `featvis.predict.rules`. What arrives at the pixels is the
expected energy map of the input gradient: the backward variance of He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2,
kept apart for each pixel and channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names
from featvis.files import document_text, plain
from featvis.measure.finding import DRIFTS, NO_STRIDE, listed
from featvis.measure.periods import exact_periods, periods_of
from featvis.measure.phases import fold
from featvis.predict.draws import functions
from featvis.predict.independence import dependent_layers
from featvis.predict.layers import LayerPrediction, expected_phases, layer_prediction, unevenness, window_places
from featvis.predict.rules import RULES, identity
from featvis.predict.steps import Rule, Step
from featvis.tracing.networks import layer_named
from featvis.tracing.trace import Operation, Trace, Value, trace

SCHEMA = "featvis.prediction/1"

WEIGHTS = ("learned", "uniform")
"""Each weight's own square, or all weights of a layer alike."""

LARGE = 1e6
"""An energy is scaled back once it leaves 1/LARGE to LARGE."""


HOLDS = "if weights were independent"
"""What every prediction holds for, as part of a sentence."""

EVEN = 5e-5
"""Expected energies below this are called even: they would be written as 0.0000."""

NAMED = 3
"""As many layers are named whose weights are visibly not independent."""


@dataclass(frozen=True)
class Prediction:
    """The expected energy of the input gradient by pixel phase, if weights were independent; `print` says it in a sentence.

    energy: E(p) for each divisor p of the total stride. exact_periods: of the harmonics of exactly that period, which add up to
    E(total stride). profile: (P, P), mean 1; (1, P) for signals. layers: from the pixels to the score. notes: what was simplified.
    dependent: the layers whose own weights are visibly not independent, the most visible first. unknown: what makes the period unknown.
    """

    total_stride: int
    energy: dict[int, float]
    exact_periods: dict[int, float]
    profile: Tensor
    layers: tuple[LayerPrediction, ...]
    weights: str
    notes: tuple[str, ...]
    dependent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = "with its own weights" if self.weights == "learned" else "for the architecture alone"
        return "\n".join((statement({named: self}), *(f"note: {note}" for note in self.notes)))

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it; periods become strings."""
        return plain({"schema": SCHEMA, "holds": HOLDS, **vars(self)})

    def to_json(self) -> str:
        """The prediction as JSON."""
        return document_text(self)


def statement(predictions: Mapping[str, Prediction]) -> str:
    """What predictions of one network say together, as one or two sentences; by what they are for, "with its own weights"."""
    first = next(iter(predictions.values()))
    total = first.total_stride
    if total not in first.energy:
        return f"The period is unknown: {listed(first.unknown)}." if first.unknown else f"{NO_STRIDE}."
    uneven = [one for one in predictions.values() if one.energy[total] >= EVEN]
    said = "No checkerboard is expected"
    if uneven:
        parts = uneven[0].exact_periods
        said = f"A period-{max(parts, key=lambda period: parts[period])} checkerboard is expected"
    energies = ", ".join(f"{one.energy[total]:.4f} {name}" for name, one in predictions.items())
    doubt = any(one.dependent for one in predictions.values())
    return f"{said} {HOLDS}: E({total}) = {energies}.{f' {DEPENDENT}.' if doubt else ''}"


DEPENDENT = "These weights are visibly not: measure with `featvis audit`"


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
    periods = record.periods(layer)
    total_stride, axes = math.lcm(1, *periods.strides), len(example_shape) - 1
    if min(example_shape[1:]) < total_stride:
        size = " x ".join(map(str, example_shape[1:]))
        raise FeatvisError(f"an input of {size} is smaller than the total stride of {total_stride}; give a larger one")

    learned = weights == "learned"
    like = like if like.dtype == torch.float64 else like.float()
    places = window_places(record, end)
    outputs = {spot.output for spots in places.values() for spot in spots}
    behind: dict[int, Tensor] = {}
    layers: dict[int, LayerPrediction] = {}
    notes: set[str] = set()
    profile = None
    for number, energy in expected_energies(record, end, like, learned, assume_identity, notes):
        if number in outputs:
            behind[number] = energy.flatten(2).mean((0, 2)) if energy.ndim > 2 else energy.mean(0)
        for spot in places.get(number, ()):
            layers[spot.order] = layer_prediction(spot, energy, behind, record, total_stride, learned)
        if number == 0:
            profile = expected_phases(energy, record.grids[0], (Fraction(total_stride),) * axes)
    if profile is None:
        raise FeatvisError("no gradient of the score reaches the pixels, or one past counting; choose another layer")

    cumulative = {
        period: unevenness(fold(profile, *((period, period) if axes == 2 else (1, period))))
        for period in periods_of(total_stride)
    }
    unknown = (*periods.lost, *((DRIFTS,) if periods.drifting else ()))
    if unknown:
        notes.add(f"the period is unknown ({listed(unknown)}): what repeats otherwise is not in these numbers")
    dependent = dependent_layers(module, record.leading_to(end)) if learned else ()
    if dependent:
        first = listed(dependent[:NAMED]) + (f" and {len(dependent) - NAMED} more" if len(dependent) > NAMED else "")
        notes.add(f"the weights of {first} are visibly not independent: measure with `featvis audit`")
    return Prediction(
        total_stride,
        cumulative,
        exact_periods(cumulative),
        profile.cpu(),
        tuple(layers[order] for order in sorted(layers)),
        weights,
        tuple(sorted(notes)),
        dependent,
        unknown,
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
    leading = record.leading_to(end)
    joined = functions(operation for operation in leading if not _assumed(operation, assume_identity))
    others = [operation for operation in leading if operation.outputs[0] not in joined]
    apart, kept = ({n for operation in others for n in getattr(operation, way)} for way in ("outputs", "inputs"))
    waiting = {end: like.new_ones(record.shapes[end])}
    for operation in reversed(leading):
        energies = [waiting.pop(number, None) for number in operation.outputs]
        yield from ((n, e) for n, e in zip(operation.outputs, energies, strict=True) if e is not None)
        if all(energy is None for energy in energies):
            continue
        step = Step(operation, energies, record.shapes, makers, learned, notes, apart, kept)
        for value, energy in _passed(step, _rule(operation, assume_identity)):
            other = waiting.get(value.number)
            waiting[value.number] = energy if other is None else other + energy
        if len(waiting) == 1:
            number, energy = waiting.popitem()
            peak = float(energy.amax())
            waiting[number] = energy / peak if peak > LARGE or 0 < peak < 1 / LARGE else energy
    if 0 in waiting:
        yield 0, waiting[0]


def _assumed(operation: Operation, assume_identity: Sequence[str]) -> bool:
    layer = f"{operation.layer}."
    return any(name == operation.operator or layer.startswith(f"{name}.") for name in assume_identity)


def _rule(operation: Operation, assume_identity: Sequence[str]) -> Rule:
    if _assumed(operation, assume_identity):
        return identity
    if operation.operator not in RULES:
        raise FeatvisError(f"this network cannot be predicted: no rule for {_what(operation)}; {_MEND}")
    return RULES[operation.operator]


def _passed(step: Step, rule: Rule) -> list[tuple[Value, Tensor]]:
    try:
        return list(rule(step))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        said = str(error).partition("\n")[0]
        raise FeatvisError(
            f"this network cannot be predicted: no energy passes {_what(step.operation)}: {said}; {_MEND}"
        ) from error


def _what(operation: Operation) -> str:
    return f"the operator {operation.operator!r} of layer {operation.layer!r}"


_MEND = "--assume-identity NAME, an operator or a layer, takes it to pass the gradient on as it is"
