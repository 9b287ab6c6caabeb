"""From a model and pictures to an Audit: the checkerboard energy by period, with errors, controls and neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.files import document_text, plain, read_document, read_saved, write_document
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate
from featvis.measure.finding import TOLD, Finding, Period, Told, makers_of, makers_words, named
from featvis.measure.maps import Found
from featvis.measure.periods import REPEATS, periods_of
from featvis.measure.phases import expected_profile
from featvis.measure.sums import Energies

SCHEMA = "featvis.audit/1"
PROFILE_SCHEMA = "featvis.profile/1"

_BY_PERIOD = ("energy", "controls", "exact_periods", "signed_comb")


@dataclass(frozen=True)
class Culprit:
    """A layer that changes the resolution, and its part in the checkerboard.

    remainder: kernel modulo stride, by axis; period: in pixels, of the layer and everything nearer the pixels. injected: E at its own
    stride predicted from its kernel and weights alone, None where it has no kernel of its own to predict from. measured: E at its
    own stride of the gradient that it sends to its input. left: E by period, in pixels, with only its backward pass made
    even; shares: by exact period, what that takes away, as a part of E(total stride), negative where it grows.
    """

    layer: str
    type: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    remainder: tuple[int, ...]
    period: int
    injected: float | None
    measured: Estimate
    left: dict[int, Estimate]
    shares: dict[int, float]

    @property
    def share(self) -> float:
        """The part of E(total stride) that goes when this layer alone passes its gradient back evenly."""
        return sum(self.shares.values())


@dataclass(frozen=True)
class Audit:
    """What the gradients of a model at some pictures measured; plain numbers.

    Mappings go from the period in pixels to an Estimate (value, standard error or None). profile: rows of the mean phase profile, mean 1.
    replicates: whether the errors come from "pictures" or, where there are few, from "tiles". skipped: pictures that could not be
    read. settings: everything that was resolved, with versions and seed. culprits: the layers that change the resolution, the
    strongest first, where they were asked for. traced: the period (rows, columns) that strides lead to, None where it is not known. found:
    the periods that the gradients show by themselves. not_measurable: traced periods that do not fit four times into the pictures.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> audit = featvis.audit_pictures(featvis.load_model("zoo:twin-shortcut-1x1"), [PHOTOGRAPH])
    >>> again = featvis.Audit.from_json(audit.to_json())
    >>> again.energy == audit.energy, again.finding == audit.finding
    (True, True)
    """

    total_stride: int
    energy: dict[int, Estimate]
    controls: dict[int, Estimate]
    exact_periods: dict[int, Estimate]
    signed_comb: dict[int, Estimate]
    high_frequency_share: Estimate
    mean_gradient_flatness: float
    profile: tuple[tuple[float, ...], ...]
    pictures: int
    replicates: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    culprits: tuple[Culprit, ...] = ()
    traced: tuple[int, int] | None = None
    found: tuple[Found, ...] = ()
    not_measurable: tuple[tuple[int, int], ...] = ()

    @property
    def finding(self) -> Finding:
        """Whether there is a checkerboard, how strong, and what makes it."""
        finding = Finding.in_gradients(self, Told(self.traced, self.not_measurable))
        return finding.blaming(self.shares(finding.spoken))

    def shares(self, period: Period) -> list[tuple[str, float]]:
        """The part of the energy of a period that goes when each layer alone passes its gradient back evenly; empty within the error."""
        if not isinstance(period, int) or period not in self.energy:
            return []
        energy, total = self.energy[period], self.energy[self.total_stride]
        if energy.value <= TOLD * (energy.error or 0):
            return []
        scale = total.value / energy.value
        return [
            (culprit.layer, scale * sum(share for exact, share in culprit.shares.items() if period % exact == 0))
            for culprit in self.culprits
        ]

    def blamed(self) -> list[str]:
        """Who makes each period that stands above its error, in a sentence each; empty where culprits were not asked for."""
        if not self.culprits:
            return []
        said = []
        for period, energy in self.energy.items():
            if energy.value <= TOLD * (energy.error or 0):
                continue
            makers = makers_of(self.shares(period))
            if makers:
                first = next(culprit for culprit in self.culprits if culprit.layer == makers[0][0])
                said.append(
                    f"{named(period, energy)}: {makers_words(makers)}; without {first.layer} {named(period, first.left[period])}"
                )
            else:
                said.append(f"{named(period, energy)}: no layer makes a twentieth of it alone")
        return said

    @classmethod
    def of(cls, energies: Energies, **rest: Any) -> Audit:
        """The audit of what was measured."""
        values = energies._asdict()
        values["profile"] = tuple(tuple(row) for row in energies.profile.tolist())
        values["found"] = energies.found or ()
        return cls(**values, **rest)

    @classmethod
    def traced_by(cls, engine: GradientEngine, energies: Energies, notes: Iterable[str] = (), **rest: Any) -> Audit:
        """The audit of what was measured with an engine, whose trace explains what was found; also what it leaves unknown."""
        traced = engine.traced
        found = [
            found if found.period is None else replace(found, layers=engine.explaining(found.period))
            for found in energies.found or ()
        ]
        said = [
            f"the periods behind an operation that cannot be followed are not known: {lost}" for lost in traced.lost[:3]
        ]
        said += [
            f"a layer resizes by a ratio: its grid repeats after {float(stride):.3f} pixels and drifts over the picture"
            for stride in traced.drifting[:3]
        ]
        hidden = [(p, p) for p in periods_of(math.lcm(*traced.strides)) if REPEATS * p > min(traced.sizes)]
        return cls.of(
            energies._replace(found=tuple(found)),
            traced=traced.period,
            not_measurable=tuple(hidden),
            notes=tuple(dict.fromkeys((*notes, *said))),
            **rest,
        )

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it; periods become strings."""
        return plain({"schema": SCHEMA, **vars(self)})

    def to_json(self) -> str:
        """The audit as JSON."""
        return document_text(self)

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The audit that `to_json` wrote; raises FeatvisError for anything else."""
        content = read_document(text, SCHEMA, "an audit that `featvis audit --json` wrote")
        try:
            for name in _BY_PERIOD:
                content[name] = {int(period): estimate_of(entry) for period, entry in content[name].items()}
            content["high_frequency_share"] = estimate_of(content["high_frequency_share"])
            content["mean_gradient_flatness"] = float(content["mean_gradient_flatness"])
            content["profile"] = tuple(tuple(float(value) for value in row) for row in content["profile"])
            content["skipped"], content["notes"] = tuple(content["skipped"]), tuple(content["notes"])
            content["culprits"] = tuple(_culprit(entry) for entry in content["culprits"])
            # Audits of before these were looked for say nothing of them.
            content["traced"] = _pair(content.get("traced", [content["total_stride"]] * 2))
            content["found"] = tuple(_found(entry) for entry in content.get("found", ()))
            pairs = (_pair(entry) for entry in content.get("not_measurable", ()))
            content["not_measurable"] = tuple(pair for pair in pairs if pair is not None)
            return cls(**content)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise FeatvisError(f"the audit is damaged ({type(error).__name__}: {error}); measure it again") from None


def estimate_of(entry: dict[str, Any]) -> Estimate:
    """The Estimate of an object with the keys value and error."""
    error = entry["error"]
    return Estimate(float(entry["value"]), None if error is None else float(error))


def _pair(entry: Sequence[int] | None) -> tuple[int, int] | None:
    return None if entry is None else (int(entry[0]), int(entry[1]))


def _found(entry: Mapping[str, Any]) -> Found:
    rows, columns = (float(value) for value in entry["frequency"])
    energy = None if entry["energy"] is None else estimate_of(entry["energy"])
    layers = tuple(str(layer) for layer in entry["layers"])
    return Found(_pair(entry["period"]), (rows, columns), energy, float(entry["chance"]), layers)


def _culprit(entry: dict[str, Any]) -> Culprit:
    lists = {name: tuple(int(number) for number in entry[name]) for name in ("kernel", "stride", "remainder")}
    left = {int(period): estimate_of(estimate) for period, estimate in entry["left"].items()}
    shares = {int(period): float(share) for period, share in entry["shares"].items()}
    return Culprit(**{**entry, **lists, "measured": estimate_of(entry["measured"]), "left": left, "shares": shares})


def save_profile(audit: Audit, path: str | Path) -> Path:
    """Write the audit's expected phase profile as JSON, for `equalise`."""
    content = {
        "schema": PROFILE_SCHEMA,
        "profile": expected_profile(audit.profile, audit.exact_periods),
        "pictures": audit.pictures,
        "settings": audit.settings,
    }
    return write_document(path, content)


def load_profile(path: str | Path) -> tuple[Tensor, dict[str, Any]]:
    """A profile that `save_profile` wrote, (P, P), and the settings it was measured with; raises FeatvisError for anything else."""

    def parse(text: str) -> tuple[Tensor, dict[str, Any]]:
        content = read_document(text, PROFILE_SCHEMA, "a profile that `featvis audit --save-profile` wrote")
        return torch.tensor(content["profile"], dtype=torch.float64), dict(content["settings"])

    try:
        profile, settings = read_saved(path, "the profile ", parse, "--save-profile")
    except (TypeError, ValueError, KeyError) as error:
        raise FeatvisError(
            f"the profile {str(path)!r} is damaged ({type(error).__name__}: {error}); measure it again"
        ) from None
    if profile.ndim != 2 or not bool(profile.isfinite().all() & (profile >= 0).all()):
        raise FeatvisError(f"the profile {str(path)!r} is not a table of non-negative numbers; measure it again")
    return profile, settings


def check_gradients(gradients: Tensor, names: Sequence[str], score: str) -> None:
    """Raises FeatvisError naming the first picture whose gradient holds NaN, infinity or nothing but zeros."""
    for name, largest in zip(names, gradients.abs().flatten(1).amax(1).tolist(), strict=True):
        if not 0 < largest < float("inf"):
            what = "nothing but zeros" if largest == 0 else "NaN or infinity"
            raise FeatvisError(
                f"the gradient of the score {score!r} at {name} holds {what}; choose another score, or check the weights"
            )
