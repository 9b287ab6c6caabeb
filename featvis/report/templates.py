"""The templates of the pages, with their style and scripts put into each page."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from featvis import __version__
from featvis.measure.estimates import words
from featvis.measure.finding import percent
from featvis.plots.palette import style_rules


def rendered(template: str, **values: Any) -> str:
    """A page from a template of this package; whatever is put into it appears as text."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Style and scripts are the package's own, and hold nothing that was handed in.
    environment.globals.update(
        source=lambda name: Markup(_read(name)),
        palette=Markup(style_rules()),
        featvis_version=__version__,
        words=words,
        percent=percent,
    )
    page = environment.get_template(template).render(**values)
    # A file's name may hold bytes that are no text.
    return page.encode("utf-8", "replace").decode("utf-8")


def _read(name: str) -> str:
    return (files("featvis.report") / "pages" / name).read_text(encoding="utf-8")
