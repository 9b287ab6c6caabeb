"""A model with fixes applied one after the other: what changed, how far its outputs moved, and what became of its checkerboard."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from featvis.audit.batches import Stack, measured
from featvis.audit.drift import Drift, OutputDrift
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.measure.change import PAIRED, beyond_error
from featvis.measure.estimates import Estimate, clearest
from featvis.measure.sums import EnergySums
from featvis.models.model import Model
from featvis.predict.prediction import predict
from featvis.repair.changes import Change
from featvis.repair.forward import overlaps_unevenly, site_of_layer
from featvis.repair.saved import save_fixed
from featvis.repair.surgery import FIXES, operate
from featvis.tracing.networks import copy_module
from featvis.tracing.refusals import refusals
from featvis.tracing.trace import Trace, trace

BATCH = 8
"""Inputs at a time."""

LOWER = 0.9
"""An energy counts as lowered below this share of what it was, and as raised above its inverse."""

NEGLIGIBLE = 1e-3
"""An energy below this is none."""


@dataclass(frozen=True)
class Measure:
    """One energy by period, before and after.

    kind: "measured", or "expected" from the weights, which has no errors. subject: "gradient" or "outputs". what: both, in words. change:
    after minus before, with its paired error. reason: why it could not be taken, empty where it was.
    """

    kind: str
    subject: str
    what: str
    before: dict[int, Estimate] = field(default_factory=dict)
    after: dict[int, Estimate] = field(default_factory=dict)
    change: dict[int, Estimate] = field(default_factory=dict)
    reason: str = ""

    @property
    def is_clear(self) -> bool:
        """Whether there was a checkerboard before, beyond twice its error."""
        period = clearest(self.before)
        return period is not None and self.before[period].value > max(
            NEGLIGIBLE, PAIRED * (self.before[period].error or 0.0)
        )


@dataclass(frozen=True)
class Judgement:
    """What became of the checkerboard of the gradient or of the outputs.

    measure: by which it is judged. period: where that was clearest before. word: as `judge` says it.
    reason: why it was not lowered, empty where it was. contradicted: the word for what was expected, where that is another one.
    """

    measure: Measure
    period: int
    word: str
    reason: str
    contradicted: str = ""


@dataclass(frozen=True)
class Repair:
    """A repaired model. changes: of each fix, in the order applied. drift: of the outputs, from the model's own. measures: energies.

    shape: of the images that it was made with, (B, C, H, W).
    """

    model: Model
    changes: dict[str, tuple[Change, ...]]
    drift: Drift
    measures: tuple[Measure, ...]
    shape: tuple[int, ...]

    def judgements(self) -> list[Judgement]:
        """The gradient's checkerboard, then that of the outputs where they are a map that can have one.

        By the measured energy where one was clear before; by the expected one where not.
        """
        found = []
        for subject in dict.fromkeys(measure.subject for measure in self.measures):
            known = [measure for measure in self.measures if measure.subject == subject and measure.before]
            clear = [measure for measure in known if measure.is_clear]
            if known:
                found.append(self._judged((clear or known)[0], known))
        return found

    def _judged(self, measure: Measure, known: Sequence[Measure]) -> Judgement:
        period = clearest(measure.before)
        assert period is not None
        word, reason = self._word(measure, period)
        others = [
            self._word(other, period)[0] for other in known if other.kind != measure.kind and period in other.change
        ]
        differs = [other for other in others if other != word]
        return Judgement(measure, period, word, reason, differs[0] if measure.kind == "measured" and differs else "")

    def _word(self, measure: Measure, period: int) -> tuple[str, str]:
        return judge(self.model.module, measure.before[period].value, measure.change[period])


def repair(model: Model, names: Sequence[str], images: Tensor, seed: int = 0) -> Repair:
    """Apply fixes in order, and look at the model before and after.

    names: keys of FIXES. images: prepared input, (B, C, H, W): fixes calibrate on it, and outputs are compared at it. Raises
    FeatvisError where `operate` does, and for a name given twice.
    """
    engine = GradientEngine(model.module, "seeds", seed, prepare=False)
    # Whatever reads the network reads this one trace of it.
    record = _traced(engine, images)
    fixed, changes = model.module, {}
    for number, name in enumerate(names):
        fixed, found = operate(fixed, name, images, seed, record if number == 0 else None)
        changes[name] = tuple(found)
    plain, twin = copy_module(model.module), copy_module(fixed)
    drift = OutputDrift()
    outputs: tuple[list[Tensor], list[Tensor]] = ([], [])
    with torch.no_grad(), refusals(images):
        for batch in Stack(images, BATCH):
            given = [record.form.of(network(batch.images)) for network in (plain, twin)]
            drift.update(given[1], given[0])
            for kept, output in zip(outputs, given, strict=True):
                kept.append(output)
    engines = [engine, GradientEngine(fixed, "seeds", seed, prepare=False)]
    measures = [_measured(engines, images)]
    if any(FIXES[name].kind != "backward" for name in names):
        measures.append(_predicted(engines, images))
    period = _output_period(record, images.ndim)
    if period > 1:
        measures.append(_of_outputs(torch.cat(outputs[0]), torch.cat(outputs[1]), period))
    return Repair(replace(model, module=fixed), changes, drift.drift(), tuple(measures), tuple(images.shape))


def judge(fixed: nn.Module, before: float, change: Estimate) -> tuple[str, str]:
    """Whether fixes lowered an energy, in a few words, and why not where they did not.

    "lowered" has no reason; else "lower within the error", "not lowered", "raised" or "nothing to lower". change: after minus before, with
    its paired error.
    """
    after, direction = before + change.value, beyond_error(change)
    if before < NEGLIGIBLE:
        if after < NEGLIGIBLE or direction <= 0:
            return "nothing to lower", f"the energy was {before:.5f} before"
        return "raised", f"there was nothing to lower, {before:.5f}, and it is {after:.5f} now"
    if after < LOWER * before:
        if direction < 0:
            return "lowered", ""
        return "lower within the error", "the change is less than twice its error; more inputs would tell"
    counts: dict[str, int] = {}
    for part in fixed.modules():
        site = site_of_layer(part)
        if site is not None and overlaps_unevenly(site):
            counts[str(site)] = counts.get(str(site), 0) + 1
    uneven = ", ".join(f"{count} x {site}" for site, count in counts.items())
    reason = f"windows that their stride does not divide are still there: {uneven}" if uneven else (
        "no window is uneven; what is left comes from weights, branches or borders"
    )  # fmt: skip
    return "raised" if after * LOWER > before and direction > 0 else "not lowered", reason


def _traced(engine: GradientEngine, images: Tensor) -> Trace:
    """The trace of an engine's network; also where it gives no gradient."""
    with contextlib.suppress(FeatvisError):
        engine(images[:1], [0])
    return engine.record or trace(engine.module, images[:1])


def _predicted(engines: Sequence[GradientEngine], images: Tensor) -> Measure:
    """What squared weights lead one to expect of the input gradient.

    It is blind to fixes of the backward pass, and where a fixed filter follows trained weights, whose neighbours are alike, it errs: the
    square of a sum is not the sum of squares.
    """
    what = "expected energy of the input gradient"
    try:
        shape = tuple(images.shape[1:])
        before, after = (predict(engine.module, shape, record=engine.record).energy for engine in engines)
    except FeatvisError as error:
        return Measure("expected", "gradient", what, reason=str(error))
    after = {period: after.get(period, 0.0) for period in before}
    change = {period: after[period] - value for period, value in before.items()}
    exact = [{period: Estimate(value, None) for period, value in found.items()} for found in (before, after, change)]
    return Measure("expected", "gradient", what, exact[0], exact[1], exact[2])


def _measured(engines: Sequence[GradientEngine], images: Tensor) -> Measure:
    what = f"measured energy of the input gradient, random signs on the outputs, {len(images)} inputs"
    try:
        return _compared("gradient", what, *_gradient_energies(engines, images))
    except FeatvisError as error:
        return Measure("measured", "gradient", what, reason=str(error))


def measured_energy(module: nn.Module, images: Tensor, seed: int = 0) -> dict[int, Estimate]:
    """E of the gradient of a network's outputs with random signs, by period; images: (B, C, H, W), prepared, at least one."""
    (metric,) = _gradient_energies([GradientEngine(module, "seeds", seed, prepare=False)], images)
    return metric.compute().energy


def _gradient_energies(engines: Sequence[GradientEngine], images: Tensor) -> list[EnergySums]:
    """The energies of each engine's gradients at the images, at periods that all have in common."""
    metrics: list[EnergySums] = []
    batches = Stack(images, BATCH, "input")
    for found in zip(*(measured(engine, batches) for engine in engines), strict=True):
        if not metrics:
            period = math.lcm(*(engine.total_stride for engine in engines))
            metrics = [EnergySums(period, images.ndim - 2) for _ in engines]
        for metric, batch in zip(metrics, found, strict=True):
            metric.update(batch.gradients, batch.numbers)
    return metrics


def _compared(subject: str, what: str, before: EnergySums, after: EnergySums) -> Measure:
    energies = before.compute().energy, after.compute().energy
    return Measure("measured", subject, what, *energies, after.difference(before))


def _output_period(record: Trace, axes: int) -> int:
    """The period in its own pixels that layers inside can leave in an output that is a map, 1 for any other output."""
    grid = None if record.output is None else record.grids[record.output]
    if grid is None or grid.dimensions is None or len(record.shapes[record.output or 0]) != axes:
        return 1
    strides = [
        inner / outer
        for operation in record.leading_to(record.output)
        if operation.grid is not None and operation.grid.dimensions is not None
        for inner, outer in zip(operation.grid.strides, grid.strides, strict=True)
    ]
    return math.lcm(1, *(stride.numerator for stride in strides if stride.denominator == 1))


def _of_outputs(before: Tensor, after: Tensor, period: int) -> Measure:
    what = f"measured energy of the outputs, each channel's mean taken off, {len(before)} inputs"
    axes = tuple(range(2, before.ndim))
    metrics = [EnergySums(period, len(axes)) for _ in range(2)]
    try:
        for metric, outputs in zip(metrics, (before, after), strict=True):
            metric.update(outputs - outputs.mean(axes, keepdim=True))
        return _compared("outputs", what, *metrics)
    except FeatvisError as error:
        return Measure("measured", "outputs", what, reason=str(error))


def save_repair(repaired: Repair, path: str | Path) -> Path:
    """Write the weights as safetensors; `load_model` with them applies the fixes again before it loads them."""
    model = repaired.model
    return save_fixed(path, model.module, model.spec, model.weights, repaired.shape)
