"""Several variants of a network at the same pictures: each batch is read once, and every variant sees exactly it."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from featvis.audit.batches import Batch, Loader, Measured, measured, none_read
from featvis.audit.comparison import Comparison, Row
from featvis.audit.costs import peak_memory, timed
from featvis.audit.drift import Moments, OutputDrift, classes_of, random_crops, shift_consistency
from featvis.audit.record import Audit
from featvis.audit.request import TOP, UNWATCHED, Request, Watching
from featvis.compat import versions
from featvis.data.pictures import listed_pictures
from featvis.errors import FeatvisError
from featvis.gradients.attributions import PLAIN, Attribution
from featvis.gradients.draws import Draws
from featvis.gradients.engine import GradientEngine
from featvis.measure.periods import measurable
from featvis.measure.sums import EnergySums
from featvis.models.model import Model, expect_model
from featvis.repair.surgery import FIXES, operate
from featvis.tracing.hashes import weights_hash
from featvis.tracing.networks import as_input, copy_module
from featvis.tracing.refusals import check_traceable, refusals

CROPS = 6
"""Shifted crops of each picture; all pairs of them count."""

MARGIN = 7
"""The crops move within the input's side and a seventh of it: 32 pixels at 224, as in Zhang 2019."""

TIMED = 3
"""The fewest batches whose median is a time."""

SAME = ("input_size", "resize", "interpolation", "mean", "std", "device")
"""Settings of models that must be the same in all variants."""


@dataclass(frozen=True)
class Variant:
    """A network and what is made of its gradients.

    kind, changed: what fixes did, see Row. notes: what a user should know.

    >>> model = featvis.load_model("zoo:cifar-k3s2")
    >>> str(featvis.Variant(model, featvis.Jitter()).attribution)
    'jitter'
    """

    model: Model
    attribution: Attribution = PLAIN
    kind: str = ""
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def fixed_variants(
    model: Model, names: Sequence[str], images: Tensor | None = None, seed: int = 0
) -> dict[str, Variant]:
    """A repaired copy of a model for each name of a fix, or of several joined by +, applied from left to right.

    images: prepared input that fixes may calibrate on, (B, C, H, W). Raises FeatvisError for an unknown fix and for one that finds
    nothing to change, naming it.
    """
    if images is not None:
        images = as_input(model.module, images)
    variants = {}
    for chain in names:
        module, kinds, changed, notes = model.module, [], [], []
        for name in chain.split("+"):
            module, changes = operate(module, name, images, seed)
            kinds.append(FIXES[name].kind)
            changed += [change.layer for change in changes if change.reached]
            missed = [change for change in changes if not change.reached]
            if missed:
                places = ", ".join(f"{change.before} in {change.layer or 'the network'}" for change in missed)
                notes.append(f"{chain}: not reached by {name}: {places}; {missed[0].note}")
        variants[chain] = Variant(
            replace(model, module=module),
            kind="+".join(dict.fromkeys(kinds)),
            changed=tuple(dict.fromkeys(changed)),
            notes=tuple(notes),
        )
    return variants


def compare_variants(
    variants: Mapping[str, Model | Variant],
    paths: str | Path | Sequence[str | Path],
    request: Request = TOP,
    classes: Sequence[int | None] | None = None,
    crops: int = CROPS,
    watching: Watching = UNWATCHED,
) -> Comparison:
    """Measure variants of a network side by side, in one pass and constant memory; the first is what the others are held against.

    The score `top` is the first variant's top class, for all. Energies are measured with the least common multiple of the total strides, so
    that all have the same periods and lose the same border. paths: picture files, or a folder or glob. request: what is measured; its
    attribution is that of variants given as a Model. classes: the right class of each picture, None where it is not known. crops:
    shifted crops of each for the consistency, 0 to leave it out. watching: who looks on.

    Raises FeatvisError for variants that take other inputs or return other outputs, naming the first that does, for a bad picture
    (unless the request skips them: counted and said), and where GradientEngine does.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> model = featvis.load_model("zoo:twin-shortcut-1x1")
    >>> variants = {"plain": model, "jitter": featvis.Variant(model, featvis.Jitter())}
    >>> comparison = featvis.compare_variants(variants, [PHOTOGRAPH], crops=0)
    >>> [row.name for row in comparison.rows], comparison.rows[1].drift.agreement.value
    (['plain', 'jitter'], 1.0)
    """
    if request.batch_size is None or request.culprits or crops < 0 or crops == 1:
        raise FeatvisError(
            f"a comparison with {request} and {crops} crops; give a batch size, no culprits, and 0 or at least 2 crops"
        )
    for variant in variants.values():
        expect_model(variant.model if isinstance(variant, Variant) else variant)
    paths = listed_pictures(paths)
    runs = _runs(variants, request)
    for run in runs:
        check_traceable(run.variant.model.module)
    first = runs[0]
    model = first.variant.model
    loader = Loader(model, paths, request.batch_size, request.skip_bad, margin=_margin(model) if crops else 0)
    digest = hashlib.sha256()
    kept: tuple[Batch, Tensor | None] | None = None
    for batch in loader:
        digest.update(batch.images.cpu().contiguous().numpy().tobytes())
        right = [classes[number] for number in batch.numbers] if classes is not None else ()
        outputs = first.outputs(batch.images)
        chosen = classes_of(outputs).unsqueeze(1) if first.engine.score.kind == "top" else None
        found: list[Measured] = []
        for run in runs:
            with _named(run.name):
                run.drift.update(outputs if run is first else run.outputs(batch.images), outputs, right)
                found += measured(run.engine, [batch], partial(run.attribution, chosen=chosen))
        if kept is None:
            kept = batch, chosen
            size = runs[0].variant.model.input_size[1:]
            total_stride = measurable(math.lcm(*(run.engine.total_stride for run in runs)), min(size))
            metrics = [EnergySums(total_stride, size=size) for _ in runs]
        for run, metric, its in zip(runs, metrics, found, strict=True):
            metric.update(its.gradients, its.numbers)
            watching.seen(run.name, its, total_stride)
        if batch.wide is not None:
            pieces = random_crops(batch.wide, loader.margin, crops, Draws(request.seed, batch.numbers))
            for run in runs:
                run.consistency.add(
                    shift_consistency(torch.stack([classes_of(run.outputs(piece)) for piece in pieces]))
                )
        watching.progress(batch.numbers[-1] + 1)
    if kept is None:
        raise none_read(loader.skipped, len(paths))
    _take_costs(runs, *kept)
    notes = [note for run in runs for note in (*run.variant.model.notes, *run.variant.notes)]
    rows = tuple(run.row(metric, metrics[0]) for run, metric in zip(runs, metrics, strict=True))
    return Comparison(
        rows=rows,
        total_stride=total_stride,
        pictures=rows[0].audit.pictures,
        skipped=tuple(loader.skipped),
        notes=tuple(dict.fromkeys((*notes, *loader.notes))),
        settings={
            **{name: model.settings()[name] for name in ("model", "weights", *SAME)},
            "weights_hash": weights_hash(model.module),
            "pixels_hash": digest.hexdigest()[:16],
            "score": request.score,
            "seed": request.seed,
            "batch_size": request.batch_size,
            "crops": crops,
            "versions": versions(),
        },
    )


class _Run:
    """A variant at work: its engine, its outputs, and what adds up batch by batch."""

    def __init__(self, name: str, variant: Variant, request: Request) -> None:
        self.name, self.variant = name, variant
        self.request = replace(request, attribution=variant.attribution)
        self.engine = GradientEngine(variant.model, request.score, request.seed)
        self.network = copy_module(variant.model.module)
        self.drift, self.consistency = OutputDrift(), Moments()
        self.milliseconds: dict[int, list[float]] = defaultdict(list)
        self.memory = 0

    def outputs(self, images: Tensor) -> Tensor:
        if self.engine.record is None:
            self.engine.admitted(images, Draws(self.request.seed, range(len(images))))
        assert self.engine.record is not None
        images = as_input(self.network, images)
        with torch.no_grad(), refusals(images):
            return self.engine.record.form.of(self.network(images))

    def attribution(self, images: Tensor, numbers: Sequence[int], chosen: Tensor | None) -> Tensor:
        """The variant's attribution of a batch; what each picture of it took is noted under the batch's size."""
        attribute = partial(self.variant.attribution, self.engine, images, numbers, chosen)
        attributions, seconds = timed(attribute, images.device)
        self.milliseconds[len(images)].append(1000 * seconds / len(images))
        return attributions

    def row(self, metric: EnergySums, first: EnergySums) -> Row:
        variant = self.variant
        settings = {
            **variant.model.settings(),
            **self.request.settings(),
            "prepared": self.engine.prepared,
        }
        if self.engine.output is not None:
            settings["output"] = self.engine.output
        return Row(
            name=self.name,
            kind=variant.kind,
            changed=variant.changed,
            audit=Audit.traced_by(self.engine, metric.compute(find=True), notes=self.engine.notes, settings=settings),
            difference=metric.difference(first),
            drift=self.drift.drift(),
            accuracy=self.drift.accuracy.estimate(),
            consistency=self.consistency.estimate(),
            milliseconds=median(self.milliseconds[max(self.milliseconds)]),
            memory=self.memory,
            parameters=sum(parameter.numel() for parameter in variant.model.module.parameters()),
        )


def _runs(variants: Mapping[str, Model | Variant], request: Request) -> list[_Run]:
    """A run for each variant. Raises FeatvisError for the first that takes other inputs than the first one."""
    if not variants:
        raise FeatvisError("no variant was given; give at least one model")
    runs = []
    for name, given in variants.items():
        variant = given if isinstance(given, Variant) else Variant(given, request.attribution)
        with _named(name):
            runs.append(_Run(name, variant, request))
        mine, its = variant.model.settings(), runs[0].variant.model.settings()
        for key in SAME:
            if mine[key] != its[key]:
                raise FeatvisError(
                    f"these cannot be compared: {key} is {its[key]} of {runs[0].name!r} and {mine[key]} of {name!r}; "
                    "give both the same, so that they see the same pictures"
                )
    return runs


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors say which variant raised them."""
    try:
        yield
    except FeatvisError as error:
        raise FeatvisError(f"the variant {name!r}: {error}") from None


def _take_costs(runs: Sequence[_Run], batch: Batch, chosen: Tensor | None) -> None:
    """The times of the first batch, which held the preparation, taken again, in turns; and the memory of one."""
    for run in runs:
        del run.milliseconds[len(batch.numbers)][0]
    while len(runs[0].milliseconds[len(batch.numbers)]) < TIMED:
        for run in runs:
            run.attribution(batch.images, batch.numbers, chosen)
    for run in runs:
        run.memory = peak_memory(partial(run.variant.attribution, run.engine, batch.images, batch.numbers, chosen))


def _margin(model: Model) -> int:
    return max(1, min(model.input_size[1:]) // MARGIN)
