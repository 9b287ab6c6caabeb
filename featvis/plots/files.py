"""Figures into files: whole or not at all, and equal figures as equal files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from featvis.errors import FeatvisError
from featvis.files import write_atomically
from featvis.plots.page import style

FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""Suffix to metadata: no dates, so that equal figures give equal files."""


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all, in the format that the suffix names.

    Raises FeatvisError for a suffix that is none of `FORMATS` and where the place cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise FeatvisError(f"cannot draw a figure into {path.name!r}: its name must end in {', '.join(FORMATS)}")
    settings: dict[str, Any] = {"format": suffix[1:], "metadata": FORMATS[suffix]}
    with style():
        return write_atomically(path, lambda temporary: figure.savefig(temporary, **settings))
