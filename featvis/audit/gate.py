"""When a checkerboard is a failure: limits and baselines for continuous integration."""

from __future__ import annotations

import math

from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Period, counted, named, period_words, simple

ABOVE = 2.0
"""Standard errors by which an energy must exceed its limit to fail."""

GROWN = 3.0
"""Combined standard errors by which an energy must exceed the baseline's to fail; more, as several periods are compared."""

SAME = ("score", "method", "compensation", "input_size", "mean", "std")
"""Settings in which an audit and its baseline must agree."""


def exceeded(audit: Audit, limit: float) -> list[str]:
    """A sentence for each period, traced or found, whose energy minus two standard errors is above the limit; empty where all pass.

    Raises FeatvisError where nothing could be told: a limit that cannot fail would be no check.
    """
    if not (math.isfinite(limit) and limit >= 0):
        raise FeatvisError(f"a limit of {limit}; give a finite number from 0 on")
    judged: dict[Period, Estimate] = {}
    if audit.total_stride in audit.energy:
        judged[audit.total_stride] = audit.energy[audit.total_stride]
    for found in audit.found:
        if found.period is not None and found.energy is not None:
            judged.setdefault(simple(found.period), found.energy)
    if not judged and (audit.traced != (1, 1) or audit.found):
        raise FeatvisError(f"nothing can be judged: {audit.finding.sentence()}")
    failed = []
    for period, energy in judged.items():
        if energy.error is None:
            raise FeatvisError(
                f"E({period_words(period)}) has no standard error with {counted(audit.pictures)}; give at least 4"
            )
        if energy.value - ABOVE * energy.error > limit:
            failed.append(f"{named(period, energy)} is above {limit:g} by more than {ABOVE:g} standard errors")
    return failed


def grown(audit: Audit, baseline: Audit) -> list[str]:
    """A sentence for each period whose energy grew by more than three combined standard errors; empty where none did.

    Raises FeatvisError where the two are not comparable, saying what differs.
    """
    differing = [
        f"{name} {baseline.settings.get(name)!r}, now {audit.settings.get(name)!r}"
        for name in SAME
        if _plain(baseline.settings.get(name)) != _plain(audit.settings.get(name))
    ]
    if differing:
        raise FeatvisError(
            f"the baseline was measured with {'; '.join(differing)}; measure it again with the same settings"
        )
    said = []
    for period, now in audit.energy.items():
        # A period that the baseline's network does not have had no checkerboard there.
        before = baseline.energy.get(period, Estimate(0.0, 0.0))
        if now.error is None or before.error is None:
            raise FeatvisError(f"E({period}) has no standard error; measure both audits with at least 4 pictures")
        if now.value - before.value > GROWN * math.hypot(now.error, before.error):
            said.append(f"E({period}) grew from {before} to {now}, more than {GROWN:g} combined standard errors")
    return said


def _plain(value: object) -> object:
    """Lists as tuples, which JSON does not know."""
    return tuple(value) if isinstance(value, list) else value
