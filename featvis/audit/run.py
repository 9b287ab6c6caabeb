"""From a model and pictures to an Audit, in one pass and constant memory."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from featvis.audit.distributed import Group
from featvis.audit.loading import Loader
from featvis.audit.memory import ENOUGH, Halving, fitting_batch, free_memory, is_out_of_memory, kept_bytes
from featvis.audit.record import Audit, check_gradients
from featvis.audit.resume import Kept, State, pictures_hash
from featvis.errors import FeatvisError
from featvis.gradients.attributions import PLAIN, Attribution
from featvis.gradients.engine import GradientEngine
from featvis.measure.sums import Energies
from featvis.models.model import Model
from featvis.tracing.hashes import weights_hash


def audit_pictures(
    model: Model,
    paths: Sequence[Path],
    score: str = "top",
    attribution: Attribution = PLAIN,
    batch_size: int | None = 8,
    seed: int = 0,
    skip_bad: bool = False,
    *,
    workers: int = 0,
    until_error: float | None = None,
    folder: str | Path | None = None,
    save_every: int = 50,
    resume: bool = False,
    group: Group | None = None,
    progress: Callable[[int], None] = lambda done: None,
    watch: Callable[[Energies], None] = lambda energies: None,
    stop: Callable[[], bool] = lambda: False,
) -> Audit:
    """Measure the checkerboard in a model's gradients at pictures, in one pass and constant memory.

    paths: picture files, as `find_pictures` gives them. attribution: what is made of the gradients. batch_size: None for what fits into
    memory. workers: processes that read pictures ahead. until_error: stop once the standard error of E(total stride) is this small. folder:
    where what is done is kept, every save_every batches; resume: go on with what is kept there. group: the processes that share the
    pictures, all of which return the same Audit. progress is called with the pictures done so far, watch with the energies of this
    process every ten batches, stop after each batch: where it says so the run ends, with what is done kept.

    Raises FeatvisError for a bad picture (unless skip_bad: counted and said), a score that gives no gradient, a folder with the audit of
    another run, where it was stopped, and where GradientEngine does.
    """
    if batch_size is not None and batch_size < 1:
        raise FeatvisError(f"a batch size of {batch_size}; give at least 1")
    group = group or Group()
    if group.size > len(paths):
        raise FeatvisError(f"{group.size} processes for {len(paths)} pictures; start at most one for each picture")
    settings = {
        **model.settings(),
        "weights_hash": weights_hash(model.module),
        "score": score,
        **attribution.settings(),
        "seed": seed,
        "skip_bad": skip_bad,
    }
    engine = GradientEngine(model, score, seed)
    batch_size = batch_size or _fitting_batch(engine, model, group)
    # A look at each of a million files is owed only to what is kept.
    belonging = settings if folder is None else {**settings, "pictures": pictures_hash(paths)}
    kept = Kept(None if folder is None else Path(folder), belonging, len(paths), group)
    state, left = kept.open(resume)
    loader = Loader(model, paths, batch_size, skip_bad, workers, group.share(left))
    halving = Halving()

    def attribute(images: Tensor, numbers: list[int]) -> Tensor:
        return attribution(engine, images, numbers)

    rounds = -(-len(left) // (batch_size * group.size))
    started = len(paths) - len(left)
    for number, (images, numbers, names) in enumerate(loader.rounds(rounds), start=1):
        if numbers:
            gradients = halving(attribute, images, numbers)
            check_gradients(gradients, names, score)
            state.metric_of(engine.total_stride).update(gradients, numbers)
        state.take(loader.tried, loader.skipped, loader.notes)
        progress(min(started + number * batch_size * group.size, len(paths)))
        if stop():
            kept.save(state)
            raise FeatvisError(f"stopped after {int(state.done.sum())} of {len(paths)} pictures; {kept.told()}")
        if number % save_every == 0:
            kept.save(state)
        if number % CHECK_EVERY == 0 and state.metric is not None:
            watch(state.metric.compute())
        if until_error is not None and number % CHECK_EVERY == 0 and _is_exact(kept.merged(state), until_error):
            break
    kept.save(state)
    whole = kept.merged(state)
    if whole.metric is None:
        first = whole.skipped[0] if whole.skipped else "none was given"
        raise FeatvisError(f"none of {len(paths)} pictures could be read; the first: {first}")
    energies = whole.metric.compute()
    if until_error is not None and (missing := len(whole.left())):
        whole.notes.append(f"stopped with {missing} pictures left: the standard error is below {until_error:g}")
    kept.close()
    return Audit.of(
        energies,
        skipped=tuple(whole.skipped),
        notes=tuple(dict.fromkeys((*model.notes, *engine.notes, *halving.notes, *whole.notes))),
        settings={
            **settings,
            "batch_size": batch_size,
            "prepared": engine.prepared,
            "processes": group.size,
            "versions": {
                "featvis": version("featvis"),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        },
    )


CHECK_EVERY = 10
"""Batches between two looks at the standard error."""


FEWEST_FOR_ERROR = 32
"""Pictures below which a standard error is not trusted to end a run."""


def _is_exact(state: State, error: float) -> bool:
    """Whether E(total stride) is known this well."""
    if state.metric is None:
        return False
    energies = state.metric.compute()
    total = energies.energy.get(energies.total_stride)
    return (
        energies.pictures >= FEWEST_FOR_ERROR and total is not None and total.error is not None and total.error <= error
    )


def _fitting_batch(engine: GradientEngine, model: Model, group: Group) -> int:
    """The batch size that fits into the memory of every process, from the gradients of one and of two pictures of noise."""
    noise = model.normalise(torch.rand(2, *model.input_size, generator=torch.Generator().manual_seed(0)))
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
