"""One self-contained HTML page of an audit, of a comparison, or of both."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featvis.audit import Audit
from featvis.comparison import Comparison
from featvis.energy import white_flatness
from featvis.errors import FeatvisError
from featvis.files import write_text
from featvis.plots.panels import SEQUENTIAL, SIGNED
from featvis.report.explorer import explorer_values, stack_of
from featvis.report.tables import Scale, csv_of
from featvis.report.templates import rendered
from featvis.report.views import PictureView, coloured, data_url, shown_view
from featvis.report.words import command_of, flat_settings, percent, verdict, words

LARGEST = 4_900_000
"""Bytes of the largest page; further pictures are left out."""

SMALL_PROFILE = 8
"""A phase profile of at most so many rows has its numbers written into its cells."""


def write_report(
    path: str | Path,
    audit: Audit | None = None,
    comparison: Comparison | None = None,
    pictures: Sequence[PictureView] = (),
    command: str | None = None,
) -> Path:
    """Write `report_html` to a file."""
    return write_text(path, report_html(audit, comparison, pictures, command))


def report_html(
    audit: Audit | None = None,
    comparison: Comparison | None = None,
    pictures: Sequence[PictureView] = (),
    command: str | None = None,
) -> str:
    """A page that needs no network: verdict, energies, gradients, culprits, variants, an explorer, and how it was measured.

    audit: by default that of the comparison's first variant. pictures: with their gradients, as many as fit into 5 MB. command: what
    repeats the measurement, by default the audit's settings as a command line. Raises FeatvisError where neither is given.
    """
    if audit is None:
        if comparison is None:
            raise FeatvisError("a page needs an audit or a comparison; neither was given")
        audit = comparison.rows[0].audit
    numbers = {"audit.json": audit.to_json(), "numbers.csv": csv_of(audit, comparison)}
    if comparison is not None:
        numbers["comparison.json"] = comparison.to_json()
    downloads = [(name, _data_url(name, text)) for name, text in numbers.items()]
    values: dict[str, Any] = {
        "title": f"Checkerboard audit of {audit.settings.get('model', 'a network')}",
        "verdict": verdict(audit, comparison).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"),
        "audit": audit,
        "comparison": comparison,
        "scale": Scale.holding([*audit.energy.values(), *audit.controls.values()]),
        "variants": None if comparison is None else Scale.holding(_totals(comparison)),
        "profile": _profile(audit),
        "bars": {name: _bar(name) for name in (SEQUENTIAL, SIGNED)},
        "white": white_flatness(len(audit.profile), len(audit.profile[0])),
        "downloads": downloads,
        "command": command or command_of(audit),
        "settings": flat_settings(audit.settings if comparison is None else {**audit.settings, **comparison.settings}),
        "explorer": explorer_values(stack_of(audit)),
        "remarks": _together("notes", audit, comparison),
        "skipped": _together("skipped", audit, comparison),
        "words": words,
        "percent": percent,
        "views": [],
        "left_out": 0,
    }
    room = LARGEST - len(rendered("report.html", **values).encode())
    for view in pictures:
        shown = shown_view(view, audit.total_stride)
        room -= sum(len(text) for text in _texts(shown)) + 1000
        if room < 0:
            break
        values["views"].append(shown)
    values["left_out"] = len(pictures) - len(values["views"])
    return rendered("report.html", **values)


def _together(name: str, *findings: Audit | Comparison | None) -> list[str]:
    """What the findings say under a name, each line once."""
    return list(dict.fromkeys(line for one in findings if one is not None for line in getattr(one, name)))


def _totals(comparison: Comparison) -> list[Any]:
    audits = [row.audit for row in comparison.rows]
    return [audit.energy[comparison.total_stride] for audit in audits if comparison.total_stride in audit.energy]


def _texts(value: Any) -> list[str]:
    """All texts within nested lists and mappings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def _profile(audit: Audit) -> dict[str, Any]:
    """The mean phase profile as an image, its limits, and its numbers with their ink where there is room for them."""
    profile = np.array(audit.profile, dtype=np.float64)
    spread = max(0.1, float(np.abs(profile - 1).max()))
    low, high = max(0.0, 1 - spread), 1 + spread
    # As in the figures, 1 has the middle colour also where the range below it is cut at 0.
    relative = np.where(profile < 1, (profile - 1) / (1 - low), (profile - 1) / (high - 1)) / 2 + 0.5
    rows, columns = profile.shape
    cells = [
        (row, column, f"{profile[row, column]:.2f}", "black" if relative[row, column] > 0.55 else "white")
        for row in range(rows)
        for column in range(columns)
        if columns <= SMALL_PROFILE
    ]
    image = data_url(coloured(relative, SEQUENTIAL))
    return {"image": image, "rows": rows, "columns": columns, "cells": cells, "low": low, "high": high}


def _bar(name: str) -> str:
    """A colour bar from left to right."""
    return data_url(coloured(np.linspace(0, 1, 127)[None], name))


def _data_url(name: str, text: str) -> str:
    kind = "application/json" if name.endswith("json") else "text/csv;charset=utf-8"
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
