"""What a page says of its settings, and the command that measures its numbers again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from featvis.audit.comparison import Comparison
from featvis.audit.record import Audit

DEFAULTS = {"score": "top", "method": "vanilla", "compensation": "none", "seed": 0, "weights": None, "skip_bad": False}
"""Settings that need not be repeated, as `featvis audit` takes them without."""

NAMELESS = {"random": "none", "zoo": None, "as given": None, "as the factory made it": None, "exported": None}
"""What `--weights` calls weights that have no name of their own; None where it is left out."""


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
