"""A model with fixes applied one after the other: what changed, how far its outputs moved, and what became of its checkerboard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from featvis.changes import Change
from featvis.drift import Drift, OutputDrift
from featvis.energy import CheckerboardEnergy
from featvis.errors import FeatvisError
from featvis.estimates import Estimate
from featvis.files import write_atomically
from featvis.fixes import overlaps_unevenly, site_of_layer
from featvis.gradients import GradientEngine
from featvis.models import Model
from featvis.modules import copy_module, output_tensor
from featvis.predict import predict
from featvis.surgery import FIXES, operate
from featvis.tracing import refusals, trace

BATCH = 8
"""Inputs at a time."""

LOWER = 0.9
"""An energy counts as lowered below this share of what it was, and as raised above its inverse."""

NEGLIGIBLE = 1e-3
"""An energy below this is none."""


@dataclass(frozen=True)
class Measure:
    """One energy by period, before and after. what: in words; reason: why it could not be taken, empty where it was.

    What is expected has no error.
    """

    what: str
    before: dict[int, Estimate]
    after: dict[int, Estimate]
    reason: str = ""


@dataclass(frozen=True)
class Repair:
    """A repaired model. changes: of each fix, in the order applied. drift: of the outputs, from the model's own. measures: energies."""

    model: Model
    changes: dict[str, tuple[Change, ...]]
    drift: Drift
    measures: tuple[Measure, ...]


def repair(model: Model, names: Sequence[str], images: Tensor, seed: int = 0) -> Repair:
    """Apply fixes in order, and look at the model before and after.

    names: keys of FIXES. images: prepared input, (B, C, H, W): fixes calibrate on it, and outputs are compared at it. Raises
    FeatvisError where `operate` does, and for a name given twice.
    """
    fixed, changes = model.module, {}
    for name in names:
        fixed, found = operate(fixed, name, images, seed)
        changes[name] = tuple(found)
    plain, twin = copy_module(model.module), copy_module(fixed)
    drift = OutputDrift()
    outputs: tuple[list[Tensor], list[Tensor]] = ([], [])
    with torch.no_grad(), refusals(images):
        for batch in images.split(BATCH):
            given = [output_tensor(network(batch)) for network in (plain, twin)]
            drift.update(given[1], given[0])
            for kept, output in zip(outputs, given, strict=True):
                kept.append(output)
    measures = [_measured(model.module, fixed, images, seed)]
    if any(FIXES[name].kind != "backward" for name in names):
        measures.append(_predicted(model.module, fixed, tuple(images.shape[1:])))
    period = _output_period(model.module, images)
    if period > 1:
        measures.append(_of_outputs(torch.cat(outputs[0]), torch.cat(outputs[1]), period))
    return Repair(replace(model, module=fixed), changes, drift.drift(), tuple(measures))


def judge(fixed: nn.Module, before: float, after: float) -> tuple[str, str]:
    """Whether fixes lowered an energy, in a word or two, and why not where they did not: "lowered" has no reason."""
    if abs(before) < NEGLIGIBLE:
        if abs(after) < NEGLIGIBLE:
            return "nothing to lower", f"the energy was {before:.5f} before"
        return "raised", f"there was nothing to lower, {before:.5f}, and it is {after:.5f} now"
    if after < LOWER * before:
        return "lowered", ""
    counts: dict[str, int] = {}
    for part in fixed.modules():
        site = site_of_layer(part)
        if site is not None and overlaps_unevenly(site):
            counts[str(site)] = counts.get(str(site), 0) + 1
    uneven = ", ".join(f"{count} x {site}" for site, count in counts.items())
    reason = f"windows that their stride does not divide are still there: {uneven}" if uneven else (
        "no window is uneven; what is left comes from weights, branches or borders"
    )  # fmt: skip
    return "raised" if after * LOWER > before else "not lowered", reason


def _predicted(module: nn.Module, fixed: nn.Module, shape: tuple[int, ...]) -> Measure:
    """What squared weights lead one to expect of the input gradient.

    It is blind to fixes of the backward pass, and where a fixed filter follows trained weights, whose neighbours are alike, it errs: the
    square of a sum is not the sum of squares.
    """
    what = "expected energy of the input gradient"
    try:
        energies = [predict(network, shape).energy for network in (module, fixed)]
    except FeatvisError as error:
        return Measure(what, {}, {}, str(error))
    before, after = ({period: Estimate(value, None) for period, value in energy.items()} for energy in energies)
    return Measure(what, before, after)


def _measured(module: nn.Module, fixed: nn.Module, images: Tensor, seed: int) -> Measure:
    what = f"measured energy of the input gradient, random signs on the outputs, {len(images)} inputs"
    try:
        before, after = (measured_energy(network, images, seed) for network in (module, fixed))
    except FeatvisError as error:
        return Measure(what, {}, {}, str(error))
    return Measure(what, before, after)


def measured_energy(module: nn.Module, images: Tensor, seed: int = 0) -> dict[int, Estimate]:
    """E of the gradient of a network's outputs with random signs, by period; images: (B, C, H, W), prepared, at least one."""
    engine = GradientEngine(module, "seeds", seed, prepare=False)
    metric: CheckerboardEnergy | None = None
    for numbers in torch.arange(len(images)).split(BATCH):
        gradients = engine(images[numbers], numbers.tolist())
        metric = metric or CheckerboardEnergy(engine.total_stride, images.ndim - 2)
        metric.update(gradients, numbers.tolist())
    assert metric is not None
    return metric.compute().energy


def _output_period(module: nn.Module, images: Tensor) -> int:
    """The period in its own pixels that layers inside can leave in an output that is a map, 1 for any other output."""
    record = trace(module, images[:1])
    grid = None if record.output is None else record.grids[record.output]
    if grid is None or grid.dimensions is None or len(record.shapes[record.output or 0]) != images.ndim:
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
    found = []
    try:
        for outputs in (before, after):
            axes = tuple(range(2, outputs.ndim))
            metric = CheckerboardEnergy(period, len(axes))
            metric.update(outputs - outputs.mean(axes, keepdim=True))
            found.append(metric.compute().energy)
    except FeatvisError as error:
        return Measure(what, {}, {}, str(error))
    return Measure(what, found[0], found[1])


def save_repair(repaired: Repair, path: str | Path) -> Path:
    """Write the weights as safetensors; the metadata names the model, its weights and the fixes that the network needs before loading."""
    from safetensors.torch import save_file

    state = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in repaired.model.module.state_dict().items()
    }
    metadata = {
        "format": "pt",
        "spec": repaired.model.spec,
        "weights": repaired.model.weights,
        "fixes": ",".join(repaired.changes),
    }
    return write_atomically(path, lambda temporary: save_file(state, temporary, metadata))
