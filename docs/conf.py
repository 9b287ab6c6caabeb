"""How Sphinx makes the documentation: `sphinx-build -W --keep-going -b html docs build/docs`."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import featvis

project = "featvis"
author = "the featvis authors"
version = release = featvis.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "notebook_pages", "command_pages"]
html_theme = "furo"
html_title = f"featvis {version}"
html_copy_source = False
html_show_copyright = False

myst_heading_anchors = 3

# Docstrings are prose; what stands between single backticks is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90

TEXT_WIDTH = 736
"""Pixels of a line of text in this theme."""

REGISTRIES = {"featvis.FIXES": "description", "featvis.ZOO": "summary"}
"""Dictionaries that are shown by what they hold, and the attribute that says what an entry is."""


def parameters(value: Any) -> list[str]:
    """Names of what a function takes, none where it takes nothing."""
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return []


def as_prose(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Take a docstring as text without markup but for backticks, show its parameters as code, and list what a registry holds."""
    if name in REGISTRIES:
        lines[:] = [f"- `{key}`: {getattr(entry, REGISTRIES[name])}" for key, entry in value.items()]
        return
    text = "\n".join(lines)
    if known := "|".join(map(re.escape, parameters(value))):
        text = re.sub(rf"(?<![\w.`])({known})(?=(?:, (?:{known}))*:)", r"`\1`", text)
    parts = text.split("`")
    parts[::2] = [re.sub(r"[*|\\]|_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    parts[1::2] = [part.strip() for part in parts[1::2]]
    lines[:] = "`".join(parts).split("\n")


def link_wide_images(app: Any, doctree: nodes.document) -> None:
    """Let an image that is wider than the text lead to itself in full size."""
    for image in doctree.findall(nodes.image):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".png" and Image.open(path).width > TEXT_WIDTH:
            image["width"] = "100%"


def setup(app: Any) -> None:
    app.connect("doctree-read", link_wide_images)
    app.connect("autodoc-process-docstring", as_prose)
