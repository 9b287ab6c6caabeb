"""What a page says: its verdict, its numbers, and the command that measures them again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from featvis.audit import Audit, Culprit
from featvis.comparison import Comparison, Row
from featvis.estimates import Estimate
from featvis.plots.panels import number_words

MOST_NAMED, ENOUGH, FAINTEST = 3, 0.9, 0.05
"""A verdict names at most so many layers, no further one once their shares reach this part, and none with less than this."""

CLEAR, PAIRED = 3.0, 2.0
"""Standard errors by which an energy must be above 0, and a difference below it, before a verdict speaks of it."""

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


def verdict(audit: Audit, addition: str = "") -> str:
    """One sentence: the strongest period, what makes it, and an addition."""
    return f"{finding(audit)}{blame(audit)}{addition}."


def finding(audit: Audit) -> str:
    """The strongest period and E(total stride), or that there is nothing above the noise, as the beginning of a sentence."""
    total = audit.energy.get(audit.total_stride)
    if total is None:
        return "No layer has a stride, so there is no period in which a checkerboard could repeat"
    strongest = strongest_period(audit)
    said = "No checkerboard above the noise:" if strongest is None else f"Period-{strongest} checkerboard,"
    return f"{said} E({audit.total_stride}) = {words(total)}"


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
    return f"; {name} leaves {'none beyond the error, ' if even else ''}{words(energy)}"


def least(comparison: Comparison) -> Row | None:
    """The variant with the least E(total stride) of those whose paired difference to the first is beyond its error."""
    period = comparison.total_stride
    lower = [
        row
        for row in comparison.rows[1:]
        if (change := row.difference.get(period)) is not None and change.value < -PAIRED * (change.error or 0)
    ]
    return min(lower, key=lambda row: row.audit.energy[period].value, default=None)


def command_of(audit: Audit, pictures: Sequence[str] = ("PICTURES",)) -> str:
    """The command line that repeats an audit at these pictures, as far as its settings tell."""
    parts = ["featvis", "audit", *_parts_of(audit.settings, pictures)]
    return shlex.join([*parts, *(["--culprits"] if audit.culprits else [])])


def comparison_command_of(comparison: Comparison, pictures: Sequence[str] = ("PICTURES",)) -> str:
    """The command line that repeats a comparison at these pictures, as far as its settings tell."""
    parts = ["featvis", "compare", *_parts_of(comparison.settings, pictures)]
    for row in comparison.rows[1:]:
        settings = row.audit.settings
        if row.kind:
            parts += ["--with", row.name]
        elif settings.get("method", "vanilla") != "vanilla":
            parts += ["--method", settings["method"]]
        elif settings.get("compensation", "none") != "none":
            parts += ["--compensate", settings["compensation"]]
        else:
            parts += ["--also", row.name]
    return shlex.join(parts)


def _parts_of(given: Mapping[str, Any], pictures: Sequence[str]) -> list[str]:
    """The model, the pictures and the options that settings stand for."""
    settings = {**given}
    if settings.get("weights") in NAMELESS:
        settings["weights"] = NAMELESS[settings["weights"]]
    parts = [str(settings.get("model", "MODEL")), *pictures]
    if "input_size" in settings:
        parts += ["--size", "x".join(map(str, settings["input_size"][1:]))]
        parts += ["--channels", str(settings["input_size"][0])] if settings["input_size"][0] != 3 else []
    for name in ("mean", "std"):
        if name in settings:
            parts += [f"--{name}", ",".join(map(str, settings[name]))]
    options = {**DEFAULTS, **{name: settings[name] for name in DEFAULTS if name in settings}}
    for name, value in options.items():
        if value is True:
            parts.append(f"--{name.replace('_', '-')}")
        elif value not in (DEFAULTS[name], False):
            parts += ["--compensate" if name == "compensation" else f"--{name}", str(value)]
    # Settings hold what the profile was, not where it lies.
    return parts + (["--profile", "PROFILE"] if settings.get("compensation") == "equalise" else [])


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every setting as a line; those within another one behind its name."""
    lines = []
    for name, value in settings.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += flat_settings(value, f"{label}: ")
        elif isinstance(value, list | tuple):
            lines.append((label, ", ".join(map(str, value)) or "none"))
        else:
            lines.append((label, "none" if value is None else str(value)))
    return lines
