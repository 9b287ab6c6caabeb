"""What a comparison of variants found: plain numbers, one row for each, that can be saved, read again and joined."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from featvis.audit.drift import Drift
from featvis.audit.reading import check_settings, read_record
from featvis.audit.record import LONGEST_PERIOD, Audit
from featvis.errors import FeatvisError
from featvis.files import document_text, plain, read_document
from featvis.measure.change import Change, least, remedy
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding

SCHEMA = "featvis.compare/1"

MOST_VARIANTS = 1000
"""A comparison that is read from a file holds no more."""

FREE = ("batch_size", "versions")
"""Settings that may differ between comparisons that are joined."""


@dataclass(frozen=True)
class Row:
    """One variant.

    kind: what its fixes do, "forward", "backward" or "exact", empty without. changed: the layers that they changed. audit: its energies.
    difference: E minus that of the first variant, by period, with the paired error. accuracy: share of the pictures of known class
    that it gets right; consistency: probability that two shifted crops get the same class; None where not measured.
    milliseconds: of one picture's gradient; memory: bytes of the tensors alive at once in a batch's gradient; parameters: numbers.
    """

    name: str
    kind: str
    changed: tuple[str, ...]
    audit: Audit
    difference: dict[int, Estimate]
    drift: Drift
    accuracy: Estimate | None
    consistency: Estimate | None
    milliseconds: float
    memory: int
    parameters: int


@dataclass(frozen=True)
class Comparison:
    """Variants measured at the same pictures, with the same score and seed; the first row is what the others are held against.

    settings: everything that was resolved, with hashes of the pictures as the networks saw them and of the first variant's weights.

    >>> from featvis.models.zoo import PHOTOGRAPH
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> model = featvis.Model(network, "mine", input_size=(3, 32, 32), mean=(0.5,), std=(0.5,))
    >>> variants = {"plain": model, "spun": featvis.Variant(model, featvis.CycleSpinning())}
    >>> comparison = featvis.compare_variants(variants, [PHOTOGRAPH], crops=0)
    >>> [(change.name, round(change.difference.value, 3)) for change in comparison.changes]
    [('spun', -3.0)]
    """

    rows: tuple[Row, ...]
    total_stride: int
    pictures: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        """The first variant's checkerboard, the variant that leaves least of it, and what to do next."""
        first = self.rows[0]
        found = first.audit.finding
        subject = first.name if len(self.rows) > 1 else ""
        return replace(found, subject=subject, remedy=self.remedy(), step=self._step(found))

    def _step(self, finding: Finding) -> str:
        """A command that leads on; `...` stands for what this one was given. Empty where there is nothing to do."""
        best = least(self.changes)
        if finding.period is None:
            return ""
        if best is None:
            known = {row.audit.settings.get("compensation") for row in self.rows}
            return "" if "jitter" in known else "featvis compare ... --compensate jitter"
        row = next(row for row in self.rows if row.name == best.name)
        return f"featvis fix ... --with {row.name} --save FILE" if row.kind else ""

    @property
    def period(self) -> int | None:
        """The period that the finding names, in pixels; None where it is not one of those that all variants were measured at."""
        spoken = self.rows[0].audit.finding.spoken
        return spoken if isinstance(spoken, int) and spoken in self.rows[0].audit.energy else None

    @property
    def changes(self) -> list[Change]:
        """E of each variant but the first at the period that the finding names, with its paired difference; empty without."""
        period = self.period
        return [
            Change(row.name, row.audit.energy[period], row.difference.get(period))
            for row in self.rows[1:]
            if period in row.audit.energy
        ]

    def verdict(self) -> str:
        """One sentence: the first variant's checkerboard, and the variant that leaves least of it."""
        return self.finding.sentence()

    def remedy(self) -> str:
        """What the best variant leaves, as the end of a sentence; empty where there is nothing to remove."""
        return remedy(self.rows[0].audit.finding, self.changes)

    def to_json(self) -> str:
        """The comparison as JSON, with what it comes to in words; periods become strings."""
        return document_text({"schema": SCHEMA, **vars(self), **({"finding": self.finding} if self.rows else {})})

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """The comparison that `to_json` wrote; raises FeatvisError for anything else."""
        content = read_document(text, SCHEMA, "a comparison that `featvis compare --json` wrote")
        rows = content.pop("rows", None)
        content.pop("finding", None)  # It follows from the rest.
        if not isinstance(rows, list) or not rows or len(rows) > MOST_VARIANTS:
            raise FeatvisError("the comparison is damaged (it has no rows, or too many); measure it again")
        try:
            read = read_record(cls, {**content, "rows": []})
            found = replace(read, rows=tuple(_row(entry, f"rows[{place}]") for place, entry in enumerate(rows)))
            check_settings(read.settings)
            if len({row.name for row in found.rows}) < len(found.rows) or not 1 <= found.total_stride <= LONGEST_PERIOD:
                raise ValueError("two variants have one name, or its total stride is no number of pixels")
            if any(set(row.audit.energy) != set(found.rows[0].audit.energy) for row in found.rows):
                raise ValueError("its variants are measured at other periods")
        except ValueError as error:
            raise FeatvisError(f"the comparison is damaged ({error}); measure it again") from None
        return found

    def joined(self, other: Comparison) -> Comparison:
        """One table of both, the first variant once.

        Raises FeatvisError, with what differs, where the pictures, the settings or the first variant are others, and where another
        variant is in both.
        """
        mine, its = _comparable(self), _comparable(other)
        for name in [*mine, *(name for name in its if name not in mine)]:
            if mine.get(name) != its.get(name):
                raise FeatvisError(
                    f"these cannot be compared: {name} is {mine.get(name)!r} in one and {its.get(name)!r} in the other; "
                    "measure both at the same pictures with the same settings"
                )
        names = {row.name for row in self.rows}
        twice = [row.name for row in other.rows[1:] if row.name in names]
        if twice:
            raise FeatvisError(f"the variant {twice[0]!r} is in both comparisons; leave it out of one")
        note = "joined from several runs: their times compare only where the machine was the same and quiet"
        return replace(
            self,
            rows=(*self.rows, *other.rows[1:]),
            notes=tuple(dict.fromkeys((*self.notes, *other.notes, note))),
        )


def _comparable(comparison: Comparison) -> dict[str, Any]:
    """What must be the same in two comparisons, in the form that JSON gives it."""
    settings = {name: value for name, value in comparison.settings.items() if name not in FREE}
    counted = {"number of pictures": comparison.pictures, "total stride": comparison.total_stride}
    return plain({**counted, **settings, "first variant": comparison.rows[0].name})


def _row(entry: object, where: str) -> Row:
    if not isinstance(entry, dict) or not isinstance(entry.get("audit"), dict):
        raise ValueError(f"{where} is no variant with an audit")
    audit = Audit.from_content({name: value for name, value in entry["audit"].items() if name != "schema"})
    row = read_record(Row, {**entry, "audit": audit}, where)
    if not set(row.difference) <= set(audit.energy):
        raise ValueError(f"{where} has differences at periods that it has no energy of")
    return row
