"""From a model and pictures to an Audit, in one pass and constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featvis.audit.batches import (
    Loader,
    Measured,
    Remembered,
    Take,
    measured,
    none_read,
    reading_ahead,
    workers_watched,
)
from featvis.audit.culprits import Suspects, find_culprits
from featvis.audit.distributed import Group
from featvis.audit.lock import only_run
from featvis.audit.memory import ENOUGH, Halving, fitting_batch, free_memory, is_out_of_memory, kept_bytes
from featvis.audit.record import Audit
from featvis.audit.request import AT_ONCE, TOP, UNWATCHED, Request, Running, Watching
from featvis.audit.resume import Kept, State, marks_of, told
from featvis.compat import versions
from featvis.data.pictures import listed_pictures
from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.gradients.engine import GradientEngine
from featvis.measure.periods import measurable
from featvis.models.model import Model, expect_model
from featvis.tracing.hashes import operations_of, weights_hash
from featvis.tracing.networks import as_input
from featvis.tracing.refusals import check_traceable
from featvis.tracing.trace import trace


def audit_pictures(
    model: Model,
    paths: str | Path | Sequence[str | Path],
    request: Request = TOP,
    running: Running = AT_ONCE,
    watching: Watching = UNWATCHED,
) -> Audit:
    """Measure the checkerboard in a model's gradients at pictures, in one pass and constant memory.

    paths: picture files, or a folder or glob. request: what is measured, such as Request(score="seeds"). running: how, which
    changes no number. watching: who looks on.

    Raises FeatvisError for a bad picture (unless the request skips them: counted and said), a score that gives no gradient, a folder with
    the audit of another run, where it was stopped, and where GradientEngine does.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> audit = featvis.audit_pictures(featvis.load_model("zoo:twin-shortcut-1x1"), [PHOTOGRAPH])
    >>> audit.total_stride, list(audit.energy), audit.pictures, audit.replicates
    (8, [2, 4, 8], 1, 'tiles')
    """
    expect_model(model)
    paths = listed_pictures(paths)
    group = running.group
    if group.size > len(paths):
        raise FeatvisError(f"{group.size} processes for {len(paths)} pictures; start at most one for each picture")
    if request.culprits and group.size > 1:
        raise FeatvisError("--culprits runs in one process; leave it out under torchrun")
    folder = None if running.folder is None else Path(running.folder)
    with only_run(folder, group) as said, workers_watched(told(folder)):
        return _audited(model, paths, request, replace(running, folder=folder), watching, said)


def _audited(
    model: Model,
    paths: Sequence[Path],
    request: Request,
    running: Running,
    watching: Watching,
    said: list[str],
) -> Audit:
    """The audit of pictures, by a run that has its folder for itself. said: of that."""
    group = running.group
    check_traceable(model.module)
    if len(model.input_size) != 3:
        raise FeatvisError(
            f"the network takes {model.input_size}, no pictures of (channels, height, width); "
            "for signals give what input_gradient returns to checkerboard_energy"
        )
    settings = {**model.settings(), "weights_hash": weights_hash(model.module), **request.settings()}
    engine = GradientEngine(model, request.score, request.seed)
    batch_size = request.batch_size or _fitting_batch(engine, model, group)
    kept = _kept(model, paths, settings, running)
    state, left = kept.open(running.resume)
    workers, bounded = reading_ahead(running.workers)
    loader = Loader(model, paths, batch_size, request.skip_bad, workers, group.share(left))
    in_round, started = batch_size * group.size, len(paths) - len(left)
    batches = loader.rounds(-(-len(left) // in_round))
    halving, remembered = Halving(), Remembered(loader)
    suspects = Suspects(engine, halving) if request.culprits else None
    take: Take
    if suspects is None:
        take = partial(request.attribution, engine)
    else:
        batches, take = remembered.keeping(batches), suspects.gradients
    work = _Pass(str(request.attribution), loader, kept, state, running, watching)
    whole = work.over(measured(engine, batches, partial(halving, take)), started, in_round)
    if whole.metric is None:
        raise none_read(whole.skipped, len(paths))
    energies = whole.metric.compute(find=True)
    if running.until_error is not None and (missing := len(whole.left())):
        whole.notes.append(f"stopped with {missing} pictures left: the standard error is below {running.until_error:g}")
    if engine.record is None:
        # All that was left for this process was measured before, or could not be read.
        engine.admitted(_noise(model), Draws(request.seed, range(2)))
    run: dict[str, Any] = {} if engine.output is None else {"output": engine.output}
    run |= {"batch_size": batch_size, "prepared": engine.prepared, "processes": group.size, "versions": versions()}
    audit = Audit.traced_by(
        engine,
        energies,
        skipped=tuple(whole.skipped),
        notes=(*model.notes, *said, *bounded, *engine.notes, *halving.notes, *whole.notes),
        settings={**settings, **run},
    )
    if suspects is not None:
        progress = _stoppable(watching, kept.folder)
        if started:
            # What an earlier run measured was not watched.
            culprits, notes = find_culprits(model, paths, audit, progress, request)
        else:
            culprits, notes = suspects.culprits(model, remembered, audit, progress)
            notes += remembered.notes()
        audit = replace(audit, culprits=culprits, notes=(*audit.notes, *notes))
    if group.leads:
        watching.done(audit)
    kept.close()
    return audit


CHECK_EVERY = 10
"""Batches between two looks at the standard error."""


FEWEST_FOR_ERROR = 32
"""Pictures below which a standard error is not trusted to end a run."""


@dataclass(frozen=True)
class _Pass:
    """One pass over the pictures that are left, of which what is done is kept and shown to those who look on.

    name: of what is made of the gradients. state: this process's.
    """

    name: str
    loader: Loader
    kept: Kept
    state: State
    running: Running
    watching: Watching

    def over(self, batches: Iterable[Measured], started: int, in_round: int) -> State:
        """Measure to the end, or until the error is small enough; the states of all processes as one.

        started: pictures done before. in_round: pictures in a batch of each process. Raises FeatvisError where it is told to stop.
        """
        for number, batch in enumerate(batches, start=1):
            self._take(batch)
            self.watching.progress(min(started + number * in_round, self.kept.pictures))
            if self.watching.stop():
                self.kept.save(self.state)
                done = f"{int(self.state.done.sum())} of {self.kept.pictures} pictures"
                raise FeatvisError(f"stopped after {done}; {told(self.kept.folder)}")
            if number % self.running.save_every == 0:
                self.kept.save(self.state)
            if number % CHECK_EVERY == 0 and self._is_enough():
                break
        self.kept.save(self.state)
        return self.kept.merged(self.state)

    def _take(self, batch: Measured) -> None:
        """Add a batch to the sums, and count its pictures as done."""
        if batch.numbers:
            total_stride = batch.engine.total_stride
            self.state.metric_of(measurable(total_stride, min(batch.images.shape[-2:]))).update(
                batch.gradients, batch.numbers
            )
            self.watching.seen(self.name, batch, total_stride)
        self.state.take(self.loader.tried, self.loader.skipped, self.loader.notes)

    def _is_enough(self) -> bool:
        """Show the energies so far; whether E(total stride) of all processes is known as well as was asked for."""
        if self.state.metric is not None:
            self.watching.energies(self.state.metric.compute())
        error = self.running.until_error
        return error is not None and _is_exact(self.kept.merged(self.state), error)


def _is_exact(state: State, error: float) -> bool:
    """Whether E(total stride) is known this well."""
    if state.metric is None:
        return False
    energies = state.metric.compute()
    total = energies.energy.get(energies.total_stride)
    return (
        energies.pictures >= FEWEST_FOR_ERROR and total is not None and total.error is not None and total.error <= error
    )


def _kept(model: Model, paths: Sequence[Path], settings: Mapping[str, Any], running: Running) -> Kept:
    """Where the state is kept, and what it belongs to."""
    size = model.input_size[1], model.input_size[2]
    if running.folder is None:
        # A look at each of a million files, and at each operation, is owed only to what is kept.
        return Kept(None, settings, torch.zeros(len(paths), dtype=torch.int64), group=running.group, size=size)
    # A network that draws at random draws the same here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        record = trace(model.module, as_input(model.module, _noise(model)[:1]))
    # Each process of a machine may have a GPU of its own.
    belonging = {**settings, "device": model.device.type, "network": operations_of(record)}
    marks, names = marks_of(paths, running.group), [path.name for path in paths]
    return Kept(Path(running.folder), belonging, marks, names, running.group, size)


def _stoppable(watching: Watching, folder: Path | None) -> Callable[[int], None]:
    """The progress of the culprits, which raises FeatvisError where it is told to stop."""

    def progress(done: int) -> None:
        watching.progress(done)
        if watching.stop():
            raise FeatvisError(
                f"stopped while the culprits were looked for; {told(folder)}. Leave --culprits out to have the audit alone"
            )

    return progress


def _fitting_batch(engine: GradientEngine, model: Model, group: Group) -> int:
    """The batch size that fits into the memory of every process, from the gradients of one and of two pictures of noise."""
    noise = _noise(model)
    try:
        engine(noise)
        kept = kept_bytes(lambda: engine(noise)) - kept_bytes(lambda: engine(noise[:1]))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 1
    device = model.device
    fitting = fitting_batch(max(kept, 1), free_memory(device) // group.local_size, ENOUGH.get(device.type))
    return -group.largest(-fitting)


def _noise(model: Model) -> Tensor:
    """Two pictures of noise as the network's input, always the same."""
    return model.normalise(torch.rand(2, *model.input_size, generator=torch.Generator().manual_seed(0)))
