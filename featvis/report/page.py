"""One self-contained HTML page of what was measured: what every kind of page has in common."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featvis.measure.finding import Period, period_words
from featvis.plots.palette import SEQUENTIAL
from featvis.predict.overlap import Stack
from featvis.report.explorer import COMMON, explorer_values
from featvis.report.sides import Side, sides_shown
from featvis.report.templates import rendered
from featvis.report.views import PictureView, axes_of, coloured, data_url, shown_views
from featvis.report.words import flat_settings

LARGEST = 4_900_000
"""Bytes of the largest page; further pictures are left out."""


@dataclass(frozen=True)
class Parts:
    """What every kind of page has.

    numbers: files to download, by name. command: what repeats the measurement. stack, dims: what the explorer starts from, and its axes.
    views: as many as fit into 5 MB are shown. period: in pixels, of their grid and harmonics: the one that the verdict names; gridded:
    whether the grid is there to begin with. of_energy: see `shown_view`. sides: of versions, by their labels. chosen: the two versions
    that the slider begins with.
    """

    title: str
    verdict: str
    numbers: Mapping[str, str]
    command: str
    settings: Mapping[str, Any]
    stack: Stack
    dims: int = 2
    remarks: Iterable[str] = ()
    skipped: Sequence[str] = ()
    views: Sequence[PictureView] = ()
    period: Period = 1
    gridded: bool = False
    of_energy: bool = False
    sides: Mapping[str, Side] = field(default_factory=dict)
    chosen: tuple[int, int] = (0, 1)


def page_html(template: str, parts: Parts, **values: Any) -> str:
    """A page from a template that extends page.html; values: what the template reads beside the parts."""
    found, _, further = re.sub(" ([=±]) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", parts.verdict).partition(". ")
    values |= {
        "title": parts.title,
        "verdict": f"{found}." if further else found,
        "further": further,
        "downloads": [(name, _download(name, text)) for name, text in parts.numbers.items()],
        "command": parts.command,
        "settings": flat_settings(parts.settings),
        "explorer": explorer_values(parts.stack, parts.dims),
        "from_layers": parts.stack != COMMON,
        "remarks": list(dict.fromkeys(parts.remarks)),
        "skipped": parts.skipped,
        "bars": {SEQUENTIAL: _bar(SEQUENTIAL)},
        "viewed": _viewed(parts, []),
    }
    if parts.views:
        room = LARGEST - len(rendered(template, **values).encode())
        values["viewed"] = _viewed(parts, shown_views(parts.views, parts.period, room, parts.of_energy))
    return rendered(template, **values)


def _viewed(parts: Parts, views: list[dict[str, Any]]) -> dict[str, Any]:
    """What the viewer's part of a template reads."""
    return {
        "views": views,
        "left_out": len(parts.views) - len(views),
        "period": period_words(parts.period),
        "axes": axes_of(parts.period),
        "gridded": parts.gridded,
        "sides": sides_shown(parts.sides),
        "chosen": parts.chosen,
    }


def _bar(name: str) -> str:
    """A colour bar from left to right."""
    return data_url(coloured(np.linspace(0, 1, 127)[None], name))


def _download(name: str, text: str) -> str:
    kind = "application/json" if name.endswith("json") else "text/csv;charset=utf-8"
    return f"data:{kind};base64,{base64.b64encode(text.encode('utf-8', 'replace')).decode()}"
