"""What there is to say of dreams: the checkerboard in what they drew."""

from __future__ import annotations

import math
from collections.abc import Sequence

from featvis.audit.record import Audit
from featvis.dream.comparison import Measured
from featvis.measure.change import Change, least
from featvis.measure.estimates import Estimate


def verdict(found: Sequence[Measured]) -> str:
    """One sentence: the checkerboard in what the first dream drew, and the dream that leaves least of it."""
    first = found[0].picture
    if first is None:
        return "What the dream drew is too small or too even for a checkerboard to be measured."
    said = Audit.of(first).finding.clause()
    if first.energy:
        said += " in the fine detail of what the dream drew"
        said += f" at a {found[0].title}" if len(found) > 1 else ""
    best = least(changes(found))
    if best is not None:
        said += best.leaves()
    return f"{said}."


def changes(found: Sequence[Measured]) -> list[Change]:
    """E of what each dream but the first drew, at the period of the first's sentence, with the difference; empty where it is not known."""
    spoken = None if found[0].picture is None else Audit.of(found[0].picture).finding.spoken
    period = spoken if isinstance(spoken, int) else found[0].dream.total_stride
    first, *others = ((one.title, one.picture.energy.get(period) if one.picture is not None else None) for one in found)
    before = first[1]
    if before is None:
        return []
    return [
        Change(
            f"“{title}”",
            energy,
            Estimate(energy.value - before.value, math.hypot(energy.error or 0, before.error or 0)),
        )
        for title, energy in others
        if energy is not None
    ]
