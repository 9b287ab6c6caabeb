"""What a dream drew, measured, and dreams side by side: with one thing changed at a time, or one of each objective."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from featvis import __version__
from featvis.dream.dreaming import Dream, check, dream
from featvis.dream.objectives import blurred
from featvis.dream.render import Progress
from featvis.errors import FeatvisError
from featvis.measure.sums import Energies, checkerboard_energy
from featvis.models.model import Model

SMOOTHING = (1.0, 4.0, 6.0, 4.0, 1.0)
"""What is taken off for the fine detail: half of a wave of period 5.5 pixels passes, of period 32 a fiftieth."""


SCHEMA = "featvis.dream/1"


@dataclass(frozen=True)
class Measured:
    """A dream and its numbers.

    gradient: energies of the last gradient, as it was used. picture: energies of the fine detail, `detail` (C, H, W). Both are None,
    with a note, where the dream is too small or even. objective: its last value, which was maximised. seconds: the whole dream's.
    """

    title: str
    dream: Dream
    detail: Tensor
    gradient: Energies | None
    picture: Energies | None
    objective: float
    seconds: float
    notes: tuple[str, ...]

    def content(self) -> dict[str, Any]:
        """Everything but the pixels, as plain values."""
        return {
            "title": self.title,
            "objective": self.objective,
            "history": list(self.dream.history),
            "seconds": self.seconds,
            "total_stride": self.dream.total_stride,
            "gradient": plain(self.gradient),
            "picture": plain(self.picture),
            "settings": self.dream.settings,
            "notes": list(self.notes),
        }


def record_of(found: Sequence[Measured], settings: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """What is written of dreams; settings: what they have in common."""
    return {"schema": SCHEMA, "featvis": __version__, **settings, "notes": notes, "dreams": found}


def plain(energies: Energies | None) -> dict[str, dict[str, list[float | None]]] | None:
    """Energies as plain values."""
    if energies is None:
        return None
    kinds = ("energy", "exact_periods", "controls", "signed_comb")
    return {kind: {str(period): list(e) for period, e in getattr(energies, kind).items()} for kind in kinds}


def fine_detail(picture: Tensor, start: Tensor | None = None) -> Tensor:
    """What a dream drew, without its smooth part: (C, H, W) to the same shape, signed.

    It is the difference to the start, which leaves out what the photograph and its JPEG grid bring along, minus that difference smoothed
    by a binomial of 5 pixels. Without a start it is the picture itself that is smoothed and taken off.
    """
    drawn = (picture if start is None else picture - start).double().unsqueeze(0)
    return (drawn - blurred(drawn, SMOOTHING)).squeeze(0)


def measure(title: str, dreamt: Dream, start: Tensor | None, seconds: float) -> Measured:
    """The numbers of a dream. start: (C, H, W), the photograph at the dream's size, None where it began from noise."""
    detail = fine_detail(dreamt.picture, start)
    notes = list(dreamt.notes)
    energies: list[Energies | None] = []
    for what, map_ in (("gradient", dreamt.gradient), ("picture", detail)):
        try:
            energies.append(checkerboard_energy(map_.unsqueeze(0), dreamt.total_stride))
        except FeatvisError as error:
            energies.append(None)
            notes.append(f"the {what}'s energy is not measured: {error}")
    objective = dreamt.history[-1] if dreamt.history else float("nan")
    gradient, picture = energies
    return Measured(title, dreamt, detail, gradient, picture, objective, seconds, tuple(notes))


def timed_dream(title: str, model: Model, objective: Any, start: Tensor | None, **settings: Any) -> Measured:
    """A dream with its numbers; settings go to `dream`."""
    began = time.perf_counter()
    dreamt = dream(model, objective, start, **settings)
    return measure(title, dreamt, start, time.perf_counter() - began)


def variants(octaves: int, jitter: int, steps: int) -> dict[str, dict[str, Any]]:
    """The settings of each dream of a comparison, by title; all take the same number of steps in total.

    octaves, jitter: of those that have them; nothing has a jitter of 0 or a single octave. steps: of each octave.
    """
    still: dict[str, Any] = {"octaves": 1, "jitter": 0, "steps": octaves * steps}
    grown = {"octaves": octaves, "jitter": 0, "steps": steps}
    found = {"fixed position": still}
    if jitter > 0:
        found[f"jitter {jitter}"] = {**still, "jitter": jitter}
    if octaves > 1:
        found[f"{octaves} octaves"] = grown
    if octaves > 1 and jitter > 0:
        found[f"{octaves} octaves, jitter {jitter}"] = {**grown, "jitter": jitter}
    found["equalised"] = {**still, "compensation": "equalise"}
    found["low-pass"] = {**still, "compensation": "low-pass"}
    return found


def compare_dreams(
    model: Model,
    objective: Any,
    start: Tensor | None,
    repaired: tuple[str, Model],
    *,
    octaves: int,
    jitter: int,
    steps: int,
    progress: Callable[[str], Progress] = lambda title: lambda done, total, value: None,
    **settings: Any,
) -> list[Measured]:
    """The same dream with one thing changed at a time, and at a fixed position through a repaired network.

    repaired: the name of the fix and the network. progress: gives each title its own. settings: of all, for `dream`. After an
    interruption the list ends there. What does not fit, such as too many octaves, is an error before the first dream.
    """
    runs = [(title, model, its) for title, its in variants(octaves, jitter, steps).items()]
    fix, fixed = repaired
    for _, network, its in runs:
        if not its["jitter"] and (its["octaves"] > 1 or its.get("compensation") == "equalise"):
            check(network, objective, start, **{**settings, **its})
    runs.append((f"repaired: {fix}", fixed, runs[0][2]))
    found: list[Measured] = []
    for title, network, its in runs:
        if not _added(found, title, network, objective, start, progress=progress(title), **{**settings, **its}):
            break
    return found


def dream_sheet(
    model: Model,
    objectives: Sequence[str],
    start: Tensor | None,
    progress: Callable[[str], Progress] = lambda title: lambda done, total, value: None,
    **settings: Any,
) -> tuple[list[Measured], list[str]]:
    """A dream of each objective with the same settings, each from the next seed, and notes about those that have no gradient.

    What all drew in the same place would be that of one noise otherwise. progress, settings: as in `compare_dreams`; so is an
    interruption. Raises FeatvisError where none has a gradient.
    """
    check(model, objectives[-1], start, **settings)
    found: list[Measured] = []
    left_out: list[str] = []
    for number, objective in enumerate(objectives):
        its = {**settings, "seed": settings.get("seed", 0) + number}
        try:
            if not _added(found, objective, model, objective, start, progress=progress(objective), **its):
                break
        except FeatvisError as error:
            left_out.append(str(error))
    if not found:
        raise FeatvisError(left_out[0])
    return found, left_out


def _added(
    found: list[Measured], title: str, model: Model, objective: Any, start: Tensor | None, **settings: Any
) -> bool:
    """Add a dream to those that are finished; False after an interruption, which ends them."""
    try:
        found.append(timed_dream(title, model, objective, start, **settings))
    except KeyboardInterrupt:
        # Between two dreams, or before the first step of one.
        if not found:
            raise
        return False
    return not found[-1].dream.interrupted
