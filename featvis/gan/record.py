"""What a discriminator's gradients measured: plain numbers, and what they mean to who trains the pair."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from featvis.audit.record import Audit
from featvis.files import plain
from featvis.gan.neutral import Agreement, NeutralAudit
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding, listed, percent, period_words
from featvis.measure.standing_out import Verdict

SCHEMA = "featvis.discriminator/1"


@dataclass(frozen=True)
class Resolution:
    """What a layer with a stride sends back to its input: the energy at its own stride, on a map of this size."""

    layer: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    size: tuple[int, int]
    energy: Estimate


@dataclass(frozen=True)
class SourceAudit:
    """A discriminator at one kind of picture: the audit of its gradients, what stands out, its mean output, each resolution."""

    audit: Audit
    verdict: Verdict
    output: Estimate
    resolutions: tuple[Resolution, ...]

    @property
    def finding(self) -> Finding:
        """Whether a checkerboard stands out, how strong it is, what makes it, and what to do next."""
        finding = Finding.judged_beside(self.audit, self.verdict)
        step = "featvis discriminator ... --culprits" if finding.period is not None and not self.audit.culprits else ""
        return replace(finding.blaming(self.audit.shares(finding.spoken)), step=step)

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {name: plain(getattr(self, name)) for name in ("finding", "output", "verdict", "resolutions", "audit")}


@dataclass(frozen=True)
class DiscriminatorAudit:
    """A discriminator at each source of pictures; plain numbers, but for the examples, pictures and their gradients, (N, C, H, W) each.

    agreements: "energy" and "signed", the phase profiles of the gradient at the generated pictures beside those of these pictures'
    fine detail, by exact period, where there are any. neutral: free pixels that followed the gradient, where that was asked for.
    """

    sources: dict[str, SourceAudit]
    agreements: dict[str, dict[int, Agreement]] = field(default_factory=dict)
    neutral: NeutralAudit | None = None
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def main(self) -> str:
        """The source that is spoken of: the generated pictures, else the first."""
        return "generated" if "generated" in self.sources else next(iter(self.sources))

    @property
    def finding(self) -> Finding:
        """Whether a checkerboard stands out at the source that is spoken of."""
        subject = "At noise" if self.main == "noise" else f"At {self.main} pictures"
        return replace(self.sources[self.main].finding, subject=subject)

    @property
    def meaning(self) -> str:
        """What the finding means to who trains the pair, in sentences; empty where nothing could be told."""
        finding, learnt = self.finding, self.main == "generated"
        subject = "The gradient that the generator learns from" if learnt else "The discriminator's gradient"
        if finding.period is None or finding.energy is None:
            longest = max(finding.chances or {}, default=1)
            if longest == 1:
                return ""
            return (
                f"{subject} favours no pixel of a {longest} x {longest} tile over the others, as far as this can tell."
            )
        tile = (
            period_words(finding.period)
            if isinstance(finding.period, tuple)
            else f"{finding.period} x {finding.period}"
        )
        spread = percent(math.sqrt(max(finding.energy.value, 0)))
        said = (
            f"{subject} is stronger at some pixels of every {tile} tile than at others, at the same ones in all pictures: "
            f"its energy varies by {spread} within the tile, the root of E."
        )
        # Mixed pictures hold generated ones.
        others = [name for name in ("real", "noise") if name in self.sources and name != self.main]
        words = {"real": "real pictures", "noise": "noise"}
        same = [words[name] for name in others if finding.period in self.sources[name].verdict.standing_out]
        if same:
            said += f" The same period stands out at {listed(same)}: the discriminator makes it, not the pictures."
        elif others:
            said += f" It does not stand out at {listed([words[name] for name in others])}."
        return said

    @property
    def taught(self) -> str:
        """Whether the generated pictures show the same pattern, in a sentence; empty where there is none to compare."""
        period = self.finding.period
        found = self.agreements.get("energy", {}).get(period) if isinstance(period, int) else None
        if found is None or not isinstance(period, int):
            return ""
        others, every = found.others(period), period**2 - 1
        if found.cosine > 0 and others == 0:
            said = f"has the gradient's pattern in the same place: in none of the {every} others it would agree as well"
            return (
                f"The fine detail of the generated pictures {said}{', by chance one time in 4' if period == 2 else ''}."
            )
        said = f"does not have the gradient's pattern in the same place: in {others} of the {every} others it would agree as well"
        return f"The fine detail of the generated pictures {said}."

    @property
    def even_overlap(self) -> bool:
        """Whether every kernel that strides is divisible by its stride."""
        layers = [layer for source in self.sources.values() for layer in source.resolutions]
        return bool(layers) and all(
            k % s == 0 for layer in layers for k, s in zip(layer.kernel, layer.stride, strict=True)
        )

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        names = ("finding", "meaning", "taught", "sources", "agreements", "neutral", "notes", "settings")
        return {"schema": SCHEMA, **{name: plain(getattr(self, name)) for name in names}}
