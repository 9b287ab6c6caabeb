"""The terminal: how wide it is, and what it can show."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any

import click

from featvis.errors import shown

WIDE = "featvis.wide"
"""Where a command's context says that --wide was given."""

NARROWEST, USUAL = 20, 80
"""Characters of the narrowest terminal that is taken seriously, and of one that does not say how wide it is."""

PLAINER = {
    "±": "+-", "×": "x", "·": "*", "−": "-", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "√": "sqrt", "─": "-",
    "“": '"', "”": '"', "’": "'", "½": "1/2", "¼": "1/4",
}  # fmt: skip
"""What stands for a character that the terminal's encoding lacks; anything else becomes a question mark."""


class _Forgiving(io.FileIO):
    """The standard output, where nobody may read on: files are still written and limits judged."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content) or 0
        except BrokenPipeError:
            return len(content)


def show_everywhere() -> None:
    """Let standard output and error take every text, whatever their encoding."""
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        raw = _Forgiving(sys.stdout.fileno(), "wb", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding=sys.stdout.encoding, line_buffering=sys.stdout.line_buffering
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="featvis")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(PLAINER.get(letter, "?") for letter in text), error.end


codecs.register_error("featvis", _plainer)


def as_shown(text: object) -> str:
    """Text of others as this output shows it, so that what is measured is what stands there."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return shown(text).encode(encoding, "featvis").decode(encoding)


def room() -> int | None:
    """The characters of a line: COLUMNS, or the terminal's. None, no limit, with --wide, and in a file or a pipe."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(WIDE):
        return None
    # COLUMNS alone does not count: readline puts it into the environment of every process that it starts.
    if not sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    try:
        found = int(given) if given.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        found = 0
    return max(NARROWEST, found or USUAL)
