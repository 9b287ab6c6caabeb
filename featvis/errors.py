"""The one exception that featvis raises for what a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FeatvisError(Exception):
    """One line: what was given, what was expected and how to mend it.

    >>> featvis.load_model("zoo:resnet")
    Traceback (most recent call last):
      ...
    featvis.errors.FeatvisError: no network 'resnet' in the zoo; `featvis zoo` lists it
    """


def nearest_names(name: str, names: Iterable[str]) -> str:
    """A clause with the names most like the one given: "; nearest: a, b", empty where none is near."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else ""


def shown(text: object) -> str:
    """Text of others, such as a label or a file name, as it may be printed: in one line, without what would steer a terminal.

    Control and formatting characters stand as their escapes.

    >>> shown("cat\\x1b[2J.png")
    'cat\\\\x1b[2J.png'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in str(text)
    )
