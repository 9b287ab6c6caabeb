"""The verdict of an audit or a comparison in one sentence: how large the checkerboard is, what makes it, and what removes it."""

from __future__ import annotations

from collections.abc import Sequence

from featvis.audit.comparison import Comparison, Row
from featvis.audit.record import Audit, Culprit
from featvis.measure.estimates import Estimate

MOST_NAMED, ENOUGH, FAINTEST = 3, 0.9, 0.05
"""A verdict names at most so many layers, no further one once their shares reach this part, and none with less than this."""

NO_STRIDE = "No layer has a stride, so there is no period in which a checkerboard could repeat"

CLEAR, PAIRED = 3.0, 2.0
"""Standard errors by which an energy must be above 0, and a difference below it, before a verdict speaks of it."""


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{share:.0%}".replace("%", " %")


def verdict(audit: Audit, addition: str = "") -> str:
    """One sentence: the strongest period, what makes it, and an addition."""
    return f"{finding(audit)}{blame(audit)}{addition}."


def finding(audit: Audit) -> str:
    """The strongest period and E(total stride), or that there is nothing above the noise, as the beginning of a sentence."""
    total = audit.energy.get(audit.total_stride)
    if total is None:
        return NO_STRIDE
    strongest = strongest_period(audit)
    said = "No checkerboard above the noise:" if strongest is None else f"Period-{strongest} checkerboard,"
    return f"{said} E({audit.total_stride}) = {total}"


def strongest_period(audit: Audit) -> int | None:
    """The exact period with the most energy above the noise; None where none is above it."""
    clear = {p: e for p, e in audit.exact_periods.items() if e.value > CLEAR * (e.error or 0)}
    return max(clear, key=lambda period: clear[period].value, default=None)


def blame(audit: Audit) -> str:
    """The layers that make most of a checkerboard, as the end of a sentence; empty where there is none or they were not asked for."""
    makers = [] if strongest_period(audit) is None else _makers(audit.culprits)
    if not makers:
        return ""
    share = sum(culprit.share for culprit in makers)
    return f", {percent(share)} from {_listed([culprit.layer for culprit in makers])}"


def _makers(culprits: Sequence[Culprit]) -> list[Culprit]:
    """The fewest layers that make most of it, the strongest first."""
    makers: list[Culprit] = []
    for culprit in sorted(culprits, key=lambda culprit: -culprit.share):
        if culprit.share < FAINTEST or len(makers) == MOST_NAMED or sum(made.share for made in makers) >= ENOUGH:
            break
        makers.append(culprit)
    return makers


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def comparison_verdict(comparison: Comparison) -> str:
    """One sentence: the first variant's checkerboard, and the variant that leaves least of it."""
    first = comparison.rows[0]
    of_what = f" with {first.name}" if first.audit.energy else ""
    return f"{finding(first.audit)}{of_what}{remedy(comparison)}."


def remedy(comparison: Comparison) -> str:
    """What the best variant leaves, as the end of a sentence; empty where there is nothing to remove."""
    first, *others = comparison.rows
    best = least(comparison)
    if best is not None:
        return leaves(best.name, best.audit.energy[comparison.total_stride])
    return "; no variant lowers it beyond the error" if others and strongest_period(first.audit) is not None else ""


def leaves(name: str, energy: Estimate) -> str:
    """What a variant leaves, as the end of a sentence."""
    even = energy.error is not None and energy.value <= PAIRED * energy.error
    return f"; {name} leaves {'none beyond the error, ' if even else ''}{energy}"


def least(comparison: Comparison) -> Row | None:
    """The variant with the least E(total stride) of those whose paired difference to the first is beyond its error."""
    period = comparison.total_stride
    lower = [
        row
        for row in comparison.rows[1:]
        if (change := row.difference.get(period)) is not None and change.value < -PAIRED * (change.error or 0)
    ]
    return min(lower, key=lambda row: row.audit.energy[period].value, default=None)
