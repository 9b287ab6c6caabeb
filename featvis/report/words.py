"""What a page says: its verdict, its numbers, and the command that measures them again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from featvis.audit import Audit, Culprit
from featvis.comparison import Comparison
from featvis.estimates import Estimate
from featvis.plots.panels import number_words

MOST_NAMED, ENOUGH = 3, 0.9
"""A verdict names at most so many layers, and no further one once their shares reach this part."""

DEFAULTS = {"score": "top", "method": "vanilla", "compensation": "none", "seed": 0, "weights": None, "skip_bad": False}
"""Settings that need not be repeated, as `featvis audit` takes them without."""


NAMELESS = {"random": "none", "zoo": None, "as given": None, "as the factory made it": None, "exported": None}
"""What `--weights` calls weights that have no name of their own; None where it is left out."""


def words(estimate: Estimate | None) -> str:
    """Value and standard error, both to the error's leading digit; a value that rounds to zero without a sign."""
    return "–" if estimate is None else re.sub(r"^−(0(\.0+)?( |$))", r"\1", number_words(*estimate))


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{share:.0%}".replace("-", "−").replace("%", " %")


def verdict(audit: Audit, comparison: Comparison | None = None) -> str:
    """One sentence: the strongest period, what makes it, and the variant that leaves least."""
    total = audit.energy.get(audit.total_stride)
    if total is None:
        return "No layer has a stride, so there is no period in which a checkerboard could repeat."
    clear = {p: e for p, e in audit.exact_periods.items() if e.error is None or e.value > 3 * e.error}
    if not clear:
        sentence = f"No checkerboard above the noise: E({audit.total_stride}) = {words(total)}"
    else:
        strongest = max(clear, key=lambda period: clear[period].value)
        sentence = f"Period-{strongest} checkerboard, E({audit.total_stride}) = {words(total)}"
        if makers := _makers(audit.culprits):
            share = sum(culprit.share for culprit in makers)
            sentence += f", {percent(share)} from {_listed([culprit.layer for culprit in makers])}"
    return f"{sentence}{_remedy(comparison)}."


def _makers(culprits: Sequence[Culprit]) -> list[Culprit]:
    """The fewest layers that make most of it, the strongest first."""
    makers: list[Culprit] = []
    for culprit in sorted(culprits, key=lambda culprit: -culprit.share):
        if culprit.share <= 0 or len(makers) == MOST_NAMED or sum(made.share for made in makers) >= ENOUGH:
            break
        makers.append(culprit)
    return makers


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _remedy(comparison: Comparison | None) -> str:
    """What the best variant leaves, where one leaves less than the first."""
    if comparison is None:
        return ""
    period = comparison.total_stride
    measured = [(row.name, row.audit.energy[period]) for row in comparison.rows if period in row.audit.energy]
    if not measured:
        return ""
    name, least = min(measured, key=lambda pair: pair[1].value)
    return "" if name == comparison.rows[0].name else f"; {name} leaves {words(least)}"


def command_of(audit: Audit, pictures: Sequence[str] = ("PICTURES",)) -> str:
    """The command line that repeats an audit at these pictures, as far as its settings tell."""
    settings = {**audit.settings}
    if settings.get("weights") in NAMELESS:
        settings["weights"] = NAMELESS[settings["weights"]]
    parts = ["featvis", "audit", str(settings.get("model", "MODEL")), *pictures]
    if "input_size" in settings:
        parts += ["--size", "x".join(map(str, settings["input_size"][1:]))]
    options = {**DEFAULTS, **{name: settings[name] for name in DEFAULTS if name in settings}}
    for name, value in options.items():
        if value is True:
            parts.append(f"--{name.replace('_', '-')}")
        elif value not in (DEFAULTS[name], False):
            parts += ["--compensate" if name == "compensation" else f"--{name}", str(value)]
    return shlex.join([*parts, *(["--culprits"] if audit.culprits else [])])


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every setting as a line; those within another one behind its name."""
    lines = []
    for name, value in settings.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += flat_settings(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            lines.append((label, ", ".join(map(str, value))))
        else:
            lines.append((label, "none" if value is None else str(value)))
    return lines
