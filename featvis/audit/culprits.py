"""Which layer makes the checkerboard: each one's backward pass made even in turn, and the audit repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.audit.loading import Loader
from featvis.audit.record import Audit, Culprit
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.measure.phases import fold, laid_out
from featvis.measure.sums import EnergySums
from featvis.models.model import Model
from featvis.predict.prediction import predict
from featvis.tracing.prepared import Handles
from featvis.tracing.trace import LayerRow

Batches = Iterable[tuple[Tensor, list[int], list[str]]]
"""Prepared pictures (B, C, H, W) with their numbers and names, batch after batch, as often as they are asked for."""

EMPTY = 0.01
"""A phase with less than this share of the mean energy cannot be divided even; its neighbours are spread over it."""


def find_culprits(
    model: Model,
    pictures: Sequence[Path] | Batches,
    baseline: Audit,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """The layers that change the resolution, by the energy that goes when their backward pass alone is made even; and notes.

    pictures: files, or prepared batches. baseline: the audit of the plain gradient of this model at these pictures. The forward pass is
    the same in every repetition; the gradient that a layer sends to its input is divided by the root of its own phase profile, channel
    by channel, measured at the same pictures, or spread over its stride where whole phases are empty. progress is called with the
    batches done, of two passes.

    Raises FeatvisError where the baseline is of another method or compensation.
    """
    settings = baseline.settings
    if (settings["method"], settings["compensation"]) != ("vanilla", "none"):
        raise FeatvisError("culprits are found in the plain gradient; leave --method and --compensate out")
    loader = (
        Loader(model, pictures, settings["batch_size"], skip_bad=True) if isinstance(pictures, Sequence) else pictures
    )
    engine = GradientEngine(model, settings["score"], settings["seed"])
    watchers: dict[str, _Watcher] = {}
    handles: list[Handles] = []
    done = 0
    for images, numbers, _ in loader:
        if not watchers:
            engine(images[:1], numbers[:1])
            rows = [row for row in engine.resolution_layers if not row.type.startswith("(")]
            watchers = {row.name: _Watcher(row, images.ndim - 2) for row in rows}
            handles = [engine.observe(name, watcher) for name, watcher in watchers.items()]
        for watcher in watchers.values():
            watcher.numbers = numbers
        engine(images, numbers)
        progress(done := done + 1)

    treatments = {name: watcher.evening() for name, watcher in watchers.items()}
    evened = {name: EnergySums(baseline.total_stride) for name in watchers}
    for handle in handles:
        handle.remove()
    for images, numbers, _ in loader:
        for name, metric in evened.items():
            handle = engine.treat(name, treatments[name])
            metric.update(engine(images, numbers), numbers)
            handle.remove()
        progress(done := done + 1)

    injected = _injected(model, engine)
    whole = baseline.energy[baseline.total_stride].value
    culprits = []
    for name, watcher in watchers.items():
        row = watcher.row
        left = evened[name].compute()
        assert row.total_stride is not None
        culprits.append(
            Culprit(
                layer=name,
                type=row.type,
                kernel=row.kernel,
                stride=row.stride,
                remainder=tuple(kernel % stride for kernel, stride in zip(row.kernel, row.stride, strict=True)),
                period=math.lcm(*(stride.numerator for stride in row.total_stride)),
                injected=injected.get(name),
                measured=watcher.metric.compute().energy[math.lcm(*row.stride)],
                left=left.energy,
                shares={
                    period: (estimate.value - left.exact_periods[period].value) / whole
                    for period, estimate in baseline.exact_periods.items()
                },
            )
        )
    functional = sorted(
        {row.name or "the network itself" for row in engine.resolution_layers if row.type.startswith("(")}
    )
    notes = (f"strides outside any layer cannot be made even: in {', '.join(functional)}",) if functional else ()
    return tuple(sorted(culprits, key=lambda culprit: -culprit.share)), notes


def _injected(model: Model, engine: GradientEngine) -> dict[str, float]:
    """Each layer's own energy, predicted from its kernel and weights; empty where the network has an operator without a rule."""
    try:
        prediction = predict(model.module, model.input_size, layer=engine.score.layer)
    except FeatvisError:
        return {}
    return {layer.name: layer.injected for layer in prediction.layers}


class _Watcher:
    """Measures what a layer sends back to its input: its energy at its own stride, and each channel's phase profile."""

    def __init__(self, row: LayerRow, dims: int) -> None:
        self.row, self.stride = row, row.stride if dims == 2 else (1, *row.stride)
        self.metric = EnergySums(math.lcm(*row.stride), dims)
        self.numbers: list[int] = []
        self.energy: Tensor | float = 0.0

    def __call__(self, gradient: Tensor) -> None:
        self.metric.update(gradient, self.numbers)
        self.energy = self.energy + fold(_planes(gradient).double().square(), *self.stride).sum(0)

    def evening(self) -> Callable[[Tensor], Tensor]:
        """A function that makes each channel's expected energy even over the phases of the stride."""
        assert isinstance(self.energy, Tensor)
        level = self.energy.mean((1, 2), keepdim=True)
        profile = torch.where(level > 0, self.energy / level, 1.0)
        divisible = profile.amin((1, 2), keepdim=True) >= EMPTY
        divisors = torch.where(divisible, profile, 1.0).sqrt()
        window = self.stride

        def even(gradient: Tensor) -> Tensor:
            planes = _planes(gradient)
            height, width = planes.shape[-2:]
            tiled = laid_out(divisors, height, width)
            # Each pixel takes the sum over one stride, by its root: every phase is in every sum once, and the energy stays.
            padded = F.pad(planes, (window[1] - 1, 0, window[0] - 1, 0))
            spread = F.avg_pool2d(padded, window, stride=1) * math.sqrt(math.prod(window))
            return torch.where(divisible, planes / tiled.to(planes.dtype), spread).view_as(gradient)

        return even


def _planes(gradient: Tensor) -> Tensor:
    """The gradient as (B, C, H, W), signals with H = 1."""
    return gradient if gradient.ndim == 4 else gradient.unsqueeze(2)
