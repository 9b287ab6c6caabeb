"""Which layer makes the checkerboard: each one's backward pass made even in turn, and the audit repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from featvis.audit.batches import Batch, Loader, Remembered, measured
from featvis.audit.memory import Halving
from featvis.audit.record import Audit, Culprit
from featvis.audit.request import USUAL, Request
from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.gradients.engine import GradientEngine
from featvis.measure.phases import fold
from featvis.measure.sums import Energies, EnergySums
from featvis.models.model import Model
from featvis.predict.prediction import predict
from featvis.repair.backward.hooks import made_even
from featvis.repair.backward.windows import planes_of
from featvis.tracing.layer_table import LayerRow
from featvis.tracing.prepared import Handles
from featvis.tracing.windows import Window

EMPTY = 0.01
"""A phase with less than this share of the mean energy cannot be divided even; its neighbours are spread over it."""


def find_culprits(
    model: Model,
    pictures: Sequence[Path] | Iterable[Batch],
    baseline: Audit,
    progress: Callable[[int], None] = lambda done: None,
    request: Request | None = None,
) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
    """The layers that change the resolution, by the energy that goes when their backward pass alone is made even; and notes.

    pictures: files, or batches that can be gone through twice. baseline: the audit of the plain gradient of this model at these pictures.
    request: what it measured, by default what it records. The forward pass is the same in every repetition; the gradient that a layer
    sends to its input is divided by the root of its own phase profile, channel by channel, measured at the same pictures, or spread
    over its stride where whole phases are empty. progress is called with the pictures done, twice through them.
    `audit_pictures` with Request(culprits=True) finds them beside the audit, from one reading of the files.

    Raises FeatvisError where the baseline is no Audit, or of another method or compensation, or does not record its score.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> model = featvis.load_model("zoo:twin-shortcut-1x1")
    >>> culprits, notes = featvis.find_culprits(model, [PHOTOGRAPH], featvis.audit_pictures(model, [PHOTOGRAPH]))
    >>> culprits[0].layer, culprits[0].kernel, culprits[0].stride
    ('stem.shortcut.0', (1, 1), (2, 2))
    """
    if not isinstance(baseline, Audit):
        raise FeatvisError(
            f"a baseline of type {type(baseline).__name__}; expected an Audit: what audit_pictures returns, or a row's `.audit`"
        )
    # A request for culprits is one of the plain gradient.
    request = replace(request or Request.recorded(baseline.settings), culprits=True)
    batches: Iterable[Batch]
    passed: Iterable[Batch]
    if isinstance(pictures, Sequence):
        loader = Loader(model, pictures, request.batch_size or USUAL, skip_bad=True)
        remembered = Remembered(loader)
        batches, passed = remembered, remembered.keeping(loader)
    else:
        batches = passed = pictures
    engine = GradientEngine(model, request.score, request.seed)
    suspects = Suspects(engine)
    for _ in measured(engine, passed, suspects.gradients):
        progress(suspects.seen)
    if not suspects.seen:
        raise FeatvisError("no pictures to find culprits at; give those of the audit")
    culprits, notes = suspects.culprits(model, batches, baseline, progress)
    return culprits, (*notes, *(batches.notes() if isinstance(batches, Remembered) else ()))


class Suspects:
    """The layers that change the resolution, watched while gradients are taken, and then made even in turn.

    engine: of the score. halving: how batches are split where memory runs out. seen: pictures so far.
    """

    def __init__(self, engine: GradientEngine, halving: Halving | None = None) -> None:
        self.engine, self.halving = engine, halving or Halving()
        self.watchers: dict[str, _Watcher] = {}
        self.handles: list[Handles] = []
        self.seen = 0

    def gradients(self, images: Tensor, numbers: list[int]) -> Tensor:
        """The plain gradients of a batch, while what each layer sends back is measured."""
        if not self.watchers:
            self.engine.admitted(images, Draws(self.engine.seed, numbers))
            self.watchers = {row.name: _Watcher(row, images.ndim - 2) for row in self._rows(named=True)}
            self.handles = [self.engine.observe(name, watcher) for name, watcher in self.watchers.items()]
        for watcher in self.watchers.values():
            watcher.numbers = numbers
        gradients = self.engine(images, numbers)
        for watcher in self.watchers.values():
            watcher.numbers = []  # Others that look on may ask the engine too, as a page does.
        self.seen += len(numbers)
        return gradients

    def culprits(
        self,
        model: Model,
        batches: Iterable[Batch],
        baseline: Audit,
        progress: Callable[[int], None] = lambda done: None,
    ) -> tuple[tuple[Culprit, ...], tuple[str, ...]]:
        """The layers, the strongest first, and notes. batches: those that were watched. baseline: their audit."""
        for handle in self.handles:
            handle.remove()
        if not baseline.energy:
            return (), ("no period of the strides fits four times into the pictures, so no layer can be blamed",)
        evened = self._evened(batches, baseline.total_stride, progress)
        injected = _injected(model, self.engine)
        found = (_culprit(watcher, evened[name], baseline, injected) for name, watcher in self.watchers.items())
        outside = sorted({row.name or "the network itself" for row in self._rows(named=False)})
        notes = (
            (f"strides outside any layer of windows cannot be made even: in {', '.join(outside)}",) if outside else ()
        )
        return tuple(sorted(found, key=lambda culprit: -culprit.share)), notes

    def _rows(self, named: bool) -> list[LayerRow]:
        """The layers with windows over a map that can be made even, or what has a stride and cannot: functions, tokens, resizing."""
        return [row for row in self.engine.resolution_layers if _reads_windows(row) is named]

    def _evened(
        self, batches: Iterable[Batch], total_stride: int, progress: Callable[[int], None]
    ) -> dict[str, Energies]:
        """The energies at the pixels with each layer's backward pass alone made even."""
        treatments = {name: watcher.evening() for name, watcher in self.watchers.items()}
        metrics = {name: EnergySums(total_stride) for name in treatments}
        done = self.seen
        for batch in batches if metrics else ():
            for name, metric in metrics.items():
                handle = self.engine.treat(name, treatments[name])
                metric.update(self.halving(self.engine, batch.images, batch.numbers), batch.numbers)
                handle.remove()
            progress(done := done + len(batch.numbers))
        return {name: metric.compute() for name, metric in metrics.items()}


def _reads_windows(row: LayerRow) -> bool:
    """Whether a layer of its own reads windows of a map, with a kernel and a stride for each axis of the picture."""
    strides = row.total_stride
    return not row.type.startswith("(") and strides is not None and len(row.kernel) == len(row.stride) == len(strides)


def _culprit(watcher: _Watcher, left: Energies, baseline: Audit, injected: Mapping[str, float]) -> Culprit:
    row = watcher.row
    assert row.total_stride is not None
    whole = baseline.energy[baseline.total_stride].value
    return Culprit(
        layer=row.name,
        type=row.type,
        kernel=row.kernel,
        stride=row.stride,
        remainder=Window.of(row.kernel, row.stride).remainder,
        period=math.lcm(*(stride.numerator for stride in row.total_stride)),
        injected=injected.get(row.name),
        measured=watcher.metric.compute().energy[math.lcm(*row.stride)],
        left=left.energy,
        shares={
            period: (estimate.value - left.exact_periods[period].value) / whole
            for period, estimate in baseline.exact_periods.items()
        },
    )


def _injected(model: Model, engine: GradientEngine) -> dict[str, float]:
    """Each layer's own energy, predicted from its kernel and weights; empty where the network has an operator without a rule."""
    try:
        prediction = predict(model.module, model.input_size, layer=engine.score.layer, record=engine.record)
    except FeatvisError:
        return {}
    return {layer.name: layer.injected for layer in prediction.layers}


class _Watcher:
    """Measures what a layer sends back to its input: its energy at its own stride, and each channel's phase profile.

    A layer that reads maps of several numbers of channels, such as one pooling layer used twice, has a profile for each of them.
    """

    def __init__(self, row: LayerRow, dims: int) -> None:
        self.row, self.stride = row, row.stride if dims == 2 else (1, *row.stride)
        self.metric = EnergySums(math.lcm(*row.stride), dims)
        self.numbers: list[int] = []
        self.energies: dict[int, Tensor] = {}

    def __call__(self, gradient: Tensor) -> None:
        if not self.numbers:
            return
        self.metric.update(gradient, self.numbers)
        energy = fold(planes_of(gradient).double().square(), *self.stride).sum(0)
        self.energies[len(energy)] = self.energies.get(len(energy), torch.zeros(())) + energy

    def evening(self) -> Callable[[Tensor], Tensor]:
        """A function that makes each channel's expected energy even over the phases of the stride."""
        treatments = {}
        for channels, energy in self.energies.items():
            level = energy.mean((1, 2), keepdim=True)
            profile = torch.where(level > 0, energy / level, 1.0)
            empty = profile.amin((1, 2), keepdim=True) < EMPTY
            treatments[channels] = torch.where(empty, 1.0, profile), empty

        def even(gradient: Tensor) -> Tensor:
            profile, empty = treatments[gradient.shape[1]]
            return made_even(gradient, profile, self.stride, empty)

        return even
