"""The checkerboard in a discriminator's gradients, at each kind of picture that it is shown, and at each resolution within it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from featvis.audit.batches import Stack, measured
from featvis.audit.culprits import Suspects
from featvis.audit.record import Audit
from featvis.audit.request import Request
from featvis.compat import versions
from featvis.errors import FeatvisError
from featvis.gan.networks import PREFIX, conditioned, outputs_of, settled, without_sigmoid
from featvis.gan.neutral import Agreement, agreement, neutral_pictures
from featvis.gan.pictures import lively
from featvis.gan.record import DiscriminatorAudit, Resolution, SourceAudit
from featvis.gradients.attributions import PLAIN
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate
from featvis.measure.parts import real_tensor
from featvis.measure.phases import interior
from featvis.measure.replicates import mean_of, moments
from featvis.measure.standing_out import Surroundings, Verdict
from featvis.measure.sums import EnergySums
from featvis.models.model import Model
from featvis.tracing.refusals import check_traceable

LOGIT = Request(score="0", batch_size=32)
"""What is measured where nothing else is asked for: the first output, the mean of a map."""

EXAMPLES = 8
"""Pictures of each source that are kept with their gradients, to be looked at."""


def sources_of(
    real: Tensor | None,
    generated: Tensor | None,
    shape: Sequence[int],
    count: int,
    limits: tuple[float, float],
    seed: int,
) -> dict[str, Tensor]:
    """The pictures that a discriminator is shown: "real", "generated", "mixed" and "noise", each (N, C, H, W), where there are any.

    shape: (C, H, W). count: of the noise, uniform within limits. Mixed: a real and a generated picture in random shares, as in
    Gulrajani et al. 2017. Raises FeatvisError where shapes or ranges do not fit.
    """
    given = {name: pictures for name, pictures in (("real", real), ("generated", generated)) if pictures is not None}
    for name, pictures in given.items():
        check_limits(name, pictures, limits)
        if tuple(pictures.shape[1:]) != tuple(shape):
            made, wanted = (" x ".join(map(str, sizes)) for sizes in (pictures.shape[1:], shape))
            raise FeatvisError(
                f"the {name} pictures are {made}, but the discriminator is asked at {wanted}; "
                "leave --size out, or give the generator that it was trained with"
            )
    sources = dict(given)
    random = torch.Generator().manual_seed(seed)
    if real is not None and generated is not None:
        both = min(len(real), len(generated))
        share = torch.rand((both, 1, 1, 1), generator=random).to(real)
        sources["mixed"] = share * real[:both] + (1 - share) * generated[:both]
    low, high = limits
    sources["noise"] = low + (high - low) * torch.rand((count, *shape), generator=random)
    return sources


def check_limits(name: str, pictures: Tensor, limits: tuple[float, float]) -> None:
    """Raises FeatvisError where pictures leave the range that they are said to have, or fill only the upper half of [-1, 1]."""
    low, high = limits
    lowest, highest = float(pictures.min()), float(pictures.max())
    slack = 0.05 * (high - low)
    if lowest < low - slack or highest > high + slack:
        raise FeatvisError(
            f"the {name} pictures run from {lowest:.3g} to {highest:.3g}, outside the range {low:g} to {high:g}; give --range"
        )
    if low < 0 <= lowest and len(pictures) >= 4:
        raise FeatvisError(
            f"the {name} pictures run from {lowest:.3g} to {highest:.3g}, as in a range 0 to 1, but {low:g} to {high:g} is expected; "
            "scale them, or give --range 0,1"
        )


def audit_discriminator(
    discriminator: Model | nn.Module,
    sources: Mapping[str, Tensor],
    request: Request = LOGIT,
    category: int | None = None,
    neutral: tuple[float, float] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> DiscriminatorAudit:
    """Measure the checkerboard in the gradient of a discriminator's logit at each source of pictures.

    sources: name to pictures (N, C, H, W), in the discriminator's own range. request: what is measured, of the plain gradient; the score
    "0" is the logit, or the mean of a PatchGAN's map, "seeds" that map with random signs. category: the class that a projection
    discriminator is asked for. neutral: the range of pixels, where free ones are to follow the gradient. progress is called with the
    pictures done. The discriminator stays as it is.

    A sigmoid at the end is left out. A discriminator that mixes the pictures of a batch is given them one by one, and the notes say so.
    Raises FeatvisError for another attribution, for what are no pictures, where outputs hold NaN, and where GradientEngine does.

    >>> network = nn.Sequential(nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(64 * 256, 1))
    >>> found = featvis.audit_discriminator(network, {"noise": torch.randn(8, 3, 32, 32)})
    >>> 0.1 < found.sources["noise"].audit.energy[2].value < 0.4  # .2346 is expected of one such layer
    True
    """
    if request.attribution != PLAIN:
        raise FeatvisError(f"a discriminator is measured in its plain gradient; leave {request.attribution} out")
    sources = {name: real_tensor(pictures, f"{name} pictures") for name, pictures in sources.items()}
    for name, pictures in sources.items():
        if pictures.ndim != 4 or not pictures.numel():
            raise FeatvisError(
                f"{name} pictures of shape {tuple(pictures.shape)}; expected (N, C, H, W); "
                "for signals give what input_gradient returns to checkerboard_energy"
            )
    if not sources:
        raise FeatvisError("no source of pictures; give at least one name with pictures, (N, C, H, W)")
    model = discriminator if isinstance(discriminator, Model) else Model(discriminator, type(discriminator).__name__)
    check_traceable(model.module)
    first = next(iter(sources.values()))
    model = replace(model, input_size=(int(first.shape[1]), int(first.shape[2]), int(first.shape[3])), labels=None)
    with_sigmoid, taken = settled(conditioned(model.module, category), first[:2])
    network = without_sigmoid(with_sigmoid, first[:2])
    notes = [*model.notes, *taken, *_said_of(model.module)]
    if network is not with_sigmoid:
        notes.append("a sigmoid ends the discriminator; the gradient is that of the logit before it")
    ready = replace(model, module=network)
    size = request.batch_size or len(first)
    outputs_of(network, first, next(iter(sources)), size)
    size, alone = _batches(ready, first, request, size)
    inner = replace(request, score=_inner(request.score), batch_size=size)
    notes += alone
    found: dict[str, SourceAudit] = {}
    outputs_by_source: dict[str, Tensor] = {}
    examples: dict[str, tuple[Tensor, Tensor]] = {}
    agreements: dict[str, dict[int, Agreement]] = {}
    done = 0
    for name, pictures in sources.items():
        outputs = outputs_of(network, pictures, name, size)
        outputs_by_source[name] = outputs
        metric, audit, verdict, resolutions, shown = _audit_source(ready, pictures, name, inner)
        if name == "generated":
            agreements = _agreements(metric, pictures)
        found[name] = SourceAudit(audit, verdict, mean_of(moments(outputs)), resolutions)
        examples[name] = shown
        progress(done := done + len(pictures))
    every_output = torch.cat(list(outputs_by_source.values()))
    if network is with_sigmoid and float(every_output.min()) >= 0 and float(every_output.max()) <= 1:
        notes.append(
            "all outputs lie in [0, 1], as after a sigmoid, but none was found at the end; if there is one, return the logit instead: "
            "where it saturates, gradients vanish"
        )
    followed = None
    if neutral is not None:
        period = max(audited.audit.total_stride for audited in found.values())
        engine = GradientEngine(ready, inner.score, inner.seed)
        followed = neutral_pictures(engine, model.input_size, neutral, period=period, batch_size=size)
    settings = {
        **model.settings(),
        "score": request.score,
        "category": category,
        "batch_size": size,
        "seed": request.seed,
        "without_sigmoid": network is not with_sigmoid,
        "versions": versions(),
    }
    every = [note for source in found.values() for note in source.audit.notes]
    return DiscriminatorAudit(found, agreements, followed, tuple(dict.fromkeys((*notes, *every))), settings, examples)


def _said_of(module: nn.Module) -> list[str]:
    """What is done about layers that behave otherwise in training."""
    notes = []
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if any(norm.running_mean is not None for norm in norms):
        notes.append("batch norms use their running statistics, not those of a batch as in training")
    if any(isinstance(part, nn.modules.dropout._DropoutNd) for part in module.modules()):
        notes.append("dropout is off")
    return notes


def _batches(model: Model, pictures: Tensor, request: Request, batch_size: int) -> tuple[int, list[str]]:
    """The batch size, 1 where the discriminator refuses or mixes two pictures but takes one; and a note then."""
    if batch_size == 1 or len(pictures) == 1:
        return 1, []
    try:
        GradientEngine(model, _inner(request.score), request.seed)(pictures[:2])
    except FeatvisError as error:
        try:
            gradient = GradientEngine(model, _inner(request.score), request.seed)(pictures[:1])
        except FeatvisError:
            raise error from None
        if not bool(gradient.isfinite().all()) or not bool(gradient.any()):
            raise FeatvisError(
                f"{str(error).partition(';')[0]}; one picture alone gives no gradient either: "
                "give a factory that fixes the batch's statistics"
            ) from None
        return 1, [f"{str(error).partition(';')[0]}: each picture was given alone, as a batch of one"]
    return batch_size, []


def _inner(score: str) -> str:
    """The score with the layer's name as it is inside the conditioned network."""
    first, colon, last = score.rpartition(":")
    if not colon:
        return score
    return f"seeds:{PREFIX}{last}" if first == "seeds" else f"{PREFIX}{first}:{last}"


def _agreements(metric: EnergySums, pictures: Tensor) -> dict[str, dict[int, Agreement]]:
    """The profiles of gradients that were measured beside those of the pictures' fine detail, with and without sign; none of flat ones."""
    high_passed, alive = lively(pictures.double(), metric.total_stride, float(pictures.max() - pictures.min()))
    if not bool(alive.any()):
        return {}
    detail = EnergySums(metric.total_stride)
    detail.update(high_passed[alive])
    return {
        "energy": agreement(metric.compute().profile, detail.compute().profile),
        "signed": agreement(metric.mean_gradient.cpu(), detail.mean_gradient),
    }


def _audit_source(
    model: Model, pictures: Tensor, name: str, request: Request
) -> tuple[EnergySums, Audit, Verdict, tuple[Resolution, ...], tuple[Tensor, Tensor]]:
    assert request.batch_size is not None
    batches = Stack(pictures, request.batch_size, f"{name} picture")
    engine = GradientEngine(model, request.score, request.seed)
    engine(pictures[: request.batch_size])
    # A layer without a name of its own cannot be watched.
    rows = {row.name: row for row in engine.resolution_layers if not row.type.startswith("(")}
    watched = {layer: _Watcher(math.lcm(*row.stride)) for layer, row in rows.items()}
    handles = [engine.observe(layer, watcher) for layer, watcher in watched.items()]
    suspects = Suspects(engine) if request.culprits else None
    total, notes = measurable(engine.total_stride, int(min(pictures.shape[-2:])))
    size = int(pictures.shape[-2]), int(pictures.shape[-1])
    metric, surroundings = EnergySums(total, size=size), Surroundings(total)
    examples: list[Tensor] = []
    for batch in measured(engine, batches, None if suspects is None else suspects.gradients):
        metric.update(batch.gradients, batch.numbers)
        surroundings.update(batch.gradients)
        examples += batch.gradients[: EXAMPLES - len(examples)].cpu()
    for handle in handles:
        handle.remove()
    settings = {**model.settings(), **request.settings(), "batch_size": request.batch_size, "source": name}
    audit = Audit.traced_by(engine, metric.compute(find=True), notes=(*notes, *engine.notes), settings=settings)
    if suspects is not None:
        culprits, its_notes = suspects.culprits(model, batches, audit)
        culprits = tuple(replace(culprit, layer=culprit.layer.removeprefix(PREFIX)) for culprit in culprits)
        audit = replace(audit, culprits=culprits, notes=(*audit.notes, *its_notes))
    resolutions = tuple(
        Resolution(layer.removeprefix(PREFIX), rows[layer].kernel, rows[layer].stride, watcher.size, energy)
        for layer, watcher in watched.items()
        if (energy := watcher.energy()) is not None
    )
    return metric, audit, surroundings.verdict(), resolutions, (pictures[: len(examples)].cpu(), torch.stack(examples))


def measurable(total_stride: int, size: int) -> tuple[int, list[str]]:
    """The longest period that divides the total stride and fits twice into a picture, and a note where that is another or few fit."""
    period = max(p for p in range(1, total_stride + 1) if total_stride % p == 0 and (p == 1 or 2 * p <= size))
    if period < total_stride:
        return period, [
            f"the total stride is {total_stride}, and {size} pixels hold fewer than two of it: periods up to {period} are measured"
        ]
    if period > 1 and interior(size, period).start == 0:
        return period, [
            f"{size} pixels hold only {size // period} periods of {period}, so the border, where zero padding acts, is measured too: "
            "of the longer periods a part is position in the picture, as the controls show"
        ]
    return period, []


class _Watcher:
    """Measures what a layer sends back to its input, and lets it pass."""

    def __init__(self, stride: int) -> None:
        self.stride, self.size = stride, (0, 0)
        self.metric = EnergySums(stride)

    def __call__(self, gradient: Tensor) -> None:
        self.size = (int(gradient.shape[-2]), int(gradient.shape[-1]))
        # A dead map has nothing to measure; the pixels' own gradient is checked by name.
        alive = gradient.detach().abs().flatten(1).amax(1) > 0
        if bool(alive.any()) and min(self.size) >= self.stride:
            self.metric.update(gradient[alive])

    def energy(self) -> Estimate | None:
        """E at the layer's stride; None where there was too little to measure."""
        if not self.metric.pictures:
            return None
        try:
            return self.metric.compute().energy[self.stride]
        except FeatvisError:
            return None
