"""What was asked for: what is measured, how it runs and who looks on, from the command line to the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featvis.audit.batches import Measured
from featvis.audit.distributed import Group
from featvis.errors import FeatvisError
from featvis.gradients.attributions import PLAIN, Attribution
from featvis.gradients.compensations import attribution_named
from featvis.measure.sums import Energies

if TYPE_CHECKING:
    from featvis.audit.record import Audit

USUAL, MOST = 8, 10**6
"""Pictures at a time where nothing else is asked for, and at most."""


@dataclass(frozen=True)
class Request:
    """What is measured.

    score: as GradientEngine takes it. attribution: what is made of the gradients. seed: of every random draw. batch_size: pictures at a
    time, None for what fits into memory. skip_bad: pictures that cannot be read are counted and said, not an error. culprits: also find
    the layers that make it, in the plain gradient alone. Raises FeatvisError for what makes no sense.

    >>> featvis.Request(score="seeds", attribution=featvis.Jitter(shifts=8)).settings()
    {'score': 'seeds', 'method': 'vanilla', 'compensation': 'jitter:shifts=8', 'profile': None, 'seed': 0, 'skip_bad': False}
    """

    score: str = "top"
    attribution: Attribution = PLAIN
    seed: int = 0
    batch_size: int | None = USUAL
    skip_bad: bool = False
    culprits: bool = False

    def __post_init__(self) -> None:
        if self.batch_size is not None and not 1 <= self.batch_size <= MOST:
            raise FeatvisError(f"a batch size of {self.batch_size}; give a number from 1 to {MOST:,}")
        if self.culprits and self.attribution != PLAIN:
            raise FeatvisError("culprits are found in the plain gradient; leave --method and --compensate out")

    def settings(self) -> dict[str, Any]:
        """Plain values, for records."""
        return {"score": self.score, **self.attribution.settings(), "seed": self.seed, "skip_bad": self.skip_bad}

    @classmethod
    def recorded(cls, settings: Mapping[str, Any]) -> Request:
        """What a record says was asked for; raises FeatvisError where it does not say which score."""
        if "score" not in settings:
            raise FeatvisError("the audit does not record which score it measured; give request=Request(score=...)")
        named = {name: settings[name] for name in ("method", "compensation") if name in settings}
        given = {name: settings[name] for name in ("seed", "batch_size", "skip_bad") if settings.get(name) is not None}
        return cls(str(settings["score"]), attribution_named(**named), **given)


@dataclass(frozen=True)
class Running:
    """How a request is carried out, which changes no number.

    workers: processes that read pictures ahead, at most one for each processor. until_error: stop once the standard error of E(total
    stride) is this small. folder: where what is done is kept, every save_every batches; resume: go on with what is kept there. group: the
    processes that share the pictures, all of which get the same result.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> model, kept = featvis.load_model("zoo:twin-shortcut-1x1"), featvis.Running(folder="kept")
    >>> audit = featvis.audit_pictures(model, [PHOTOGRAPH], running=kept)
    >>> audit.energy == featvis.audit_pictures(model, [PHOTOGRAPH]).energy
    True
    """

    workers: int = 0
    until_error: float | None = None
    folder: str | Path | None = None
    save_every: int = 50
    resume: bool = False
    group: Group = field(default_factory=Group)

    def __post_init__(self) -> None:
        if self.workers < 0 or self.save_every < 1:
            raise FeatvisError(
                f"{self.workers} workers and a save every {self.save_every} batches; give at least 0, and at least 1"
            )
        if self.until_error is not None and not 0 < self.until_error < math.inf:
            raise FeatvisError(f"a standard error of {self.until_error} to stop at; give a finite number above 0")


@dataclass(frozen=True)
class Watching:
    """Who looks on.

    progress is called with the pictures done so far; seen with a name, the variant's or what is made of the gradients, each batch that was
    measured and the total stride; energies with those of this process, every ten batches; stop after each batch: where it says so
    the run ends, with what is done kept; done with the finished audit, by the first process, before what is kept is deleted.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> done = []
    >>> request, watching = featvis.Request(batch_size=1), featvis.Watching(progress=done.append)
    >>> _ = featvis.audit_pictures(featvis.load_model("zoo:twin-shortcut-1x1"), [PHOTOGRAPH] * 3, request, watching=watching)
    >>> done
    [1, 2, 3]
    """

    progress: Callable[[int], None] = lambda done: None
    seen: Callable[[str, Measured, int], None] = lambda name, batch, total_stride: None
    energies: Callable[[Energies], None] = lambda energies: None
    stop: Callable[[], bool] = lambda: False
    done: Callable[[Audit], None] = lambda audit: None


TOP, AT_ONCE, UNWATCHED = Request(), Running(), Watching()
"""What is measured, how, and who looks on, where nothing else is asked for."""
