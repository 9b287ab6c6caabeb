"""From a model and pictures to an Audit: the checkerboard energy by period, with errors, controls and neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featvis.audit.reading import check_settings, read_record
from featvis.errors import FeatvisError
from featvis.files import document_text, plain, read_document, read_saved, write_document
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate
from featvis.measure.finding import FAINTEST, TOLD, Finding, Period, Told, listed, makers_of, makers_words, named
from featvis.measure.maps import Found
from featvis.measure.periods import REPEATS, periods_of
from featvis.measure.phases import expected_profile
from featvis.measure.sums import Energies

SCHEMA = "featvis.audit/1"
PROFILE_SCHEMA = "featvis.profile/1"

LONGEST_PERIOD = 65_536
"""No total stride is longer, in pixels."""


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
        """Whether there is a checkerboard, how strong, what makes it, and what to do next."""
        finding = Finding.in_gradients(self, Told(self.traced, self.not_measurable, self._of_network))
        return replace(finding.blaming(self.shares(finding.spoken)), step=self._step(finding))

    @property
    def _of_network(self) -> bool:
        """Whether there is a network; maps from elsewhere say that there is none."""
        return not self.settings.get("maps")

    def _step(self, finding: Finding) -> str:
        """A command that leads on; `...` stands for what this one was given. Empty where there is nothing to do."""
        if finding.energy is None and self.not_measurable:
            return f"featvis audit ... --size {REPEATS * max(map(max, self.not_measurable))}"
        if finding.period is None or not self._of_network or self.settings.get("compensation", "none") != "none":
            return ""
        if not self.culprits and self.total_stride > 1:
            return "featvis audit ... --culprits"
        # A fix of the backward pass is calibrated on a quarter of the pictures, and needs 8.
        return f"featvis compare ... {'--with backward-even' if self.pictures >= 32 else '--compensate jitter'}"

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

    def interacting(self) -> str:
        """The periods of which layers, alone, take away more together than is there, in a sentence; empty without any.

        More is by a twentieth of E(total stride).
        """
        whole = self.energy[self.total_stride] if self.culprits else Estimate(0.0, None)
        if whole.value <= TOLD * (whole.error or 0):
            return ""
        taken = {period: sum(culprit.shares[period] for culprit in self.culprits) for period in self.exact_periods}
        more = [str(p) for p, energy in self.exact_periods.items() if taken[p] > energy.value / whole.value + FAINTEST]
        if not more:
            return ""
        return (
            "layers interact: what each takes away alone adds up to more than there is of "
            f"period{'s' if len(more) > 1 else ''} {listed(more)}; what several make together counts for each of them"
        )

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
        """The audit as JSON, with what it comes to in words."""
        return document_text({**self.content(), "finding": self.finding})

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The audit that `to_json` wrote; raises FeatvisError for anything else."""
        return cls.from_content(read_document(text, SCHEMA, "an audit that `featvis audit --json` wrote"))

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Audit:
        """The audit whose `content` this is, without its schema; raises FeatvisError for anything else."""
        try:
            # Audits of before these were looked for say nothing of them; what it comes to follows from the rest.
            record = {name: value for name, value in content.items() if name != "finding"}
            audit = read_record(cls, {"traced": [content.get("total_stride")] * 2, **record})
            _check_sizes(audit)
        except ValueError as error:
            raise FeatvisError(f"the audit is damaged ({error}); measure it again") from None
        return audit


def _check_sizes(audit: Audit) -> None:
    """Raises ValueError where the parts of an audit do not fit each other."""
    check_settings(audit.settings)
    total, profile, periods = audit.total_stride, audit.profile, set(audit.energy)
    if not 1 <= total <= LONGEST_PERIOD or audit.pictures < 1 or audit.replicates not in ("pictures", "tiles"):
        raise ValueError(f"{audit.pictures} pictures, errors from {audit.replicates[:40]!r}, a total stride of {total}")
    if len(profile) not in (1, total) or any(len(row) != total for row in profile):
        raise ValueError(f"its profile has not {total} columns, and one row or as many")
    if any(value < 0 for row in profile for value in row):
        raise ValueError("its profile holds a negative energy")
    if periods != set(audit.exact_periods) or any(total % period for period in {*periods, *audit.signed_comb}):
        raise ValueError("its energies are not those of divisors of the total stride")
    if periods and total not in periods:
        raise ValueError("its energies lack that of the total stride")
    pairs = [audit.traced, *audit.not_measurable, *(found.period for found in audit.found)]
    if any(pair is not None and not all(1 <= length <= LONGEST_PERIOD for length in pair) for pair in pairs):
        raise ValueError("a period is no number of pixels")
    for culprit in audit.culprits:
        sizes = (*culprit.kernel, *culprit.stride, culprit.period)
        if not (culprit.kernel and len(culprit.kernel) == len(culprit.stride) == len(culprit.remainder)):
            raise ValueError(f"the culprit {culprit.layer[:40]!r} has sizes of different axes")
        if not all(1 <= size <= LONGEST_PERIOD for size in sizes):
            raise ValueError(f"the culprit {culprit.layer[:40]!r} has a size that no layer has")
        if set(culprit.left) != periods or set(culprit.shares) != periods:
            raise ValueError(f"the culprit {culprit.layer[:40]!r} lacks a period")


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
        try:
            saved = read_record(_SavedProfile, content)
        except ValueError as error:
            raise FeatvisError(f"the profile is damaged ({error}); measure it again") from None
        rows = saved.profile
        if not rows or len({len(row) for row in rows}) != 1 or any(value < 0 for row in rows for value in row):
            raise FeatvisError("the profile is not a table of non-negative numbers; measure it again")
        profile = torch.tensor(rows, dtype=torch.float64)
        # Its mean is 1, or a little more where noise made an empty phase negative.
        if not 1 - 1e-6 <= float(profile.mean()) < 2:
            raise FeatvisError(f"the profile has a mean of {float(profile.mean()):g}, not 1; measure it again")
        return profile, saved.settings

    return read_saved(path, "the profile ", parse, "--save-profile")


@dataclass(frozen=True)
class _SavedProfile:
    profile: tuple[tuple[float, ...], ...]
    pictures: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def check_gradients(gradients: Tensor, names: Sequence[str], score: str) -> None:
    """Raises FeatvisError naming the first picture whose gradient holds NaN, infinity or nothing but zeros."""
    for name, largest in zip(names, gradients.abs().flatten(1).amax(1).tolist(), strict=True):
        if not 0 < largest < float("inf"):
            what = "nothing but zeros" if largest == 0 else "NaN or infinity"
            raise FeatvisError(
                f"the gradient of the score {score!r} at {name} holds {what}; choose another score, or check the weights"
            )
