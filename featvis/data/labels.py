"""The right classes of pictures, from the names of files and folders or from a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from featvis.errors import FeatvisError, nearest_names


def known_classes(paths: Sequence[Path], labels: Sequence[str] | None, source: str) -> list[int | None]:
    """The right class of each picture, None where it is not known.

    source: "names", for folders or file names that are a label, with or without an ImageNet synset before it (n01440764_tench.JPEG); or a
    CSV file with a line `picture,label` for each, a picture being its file name or its path and a label a class number or name.
    Raises FeatvisError where not a single picture has a class, and for labels of a file that are none.
    """
    numbers = {_plain(label): number for number, label in enumerate(labels or ())}
    known: list[int | None]
    if source == "names":
        known = [
            next((numbers[name] for name in _names(path) if name in numbers), None) if labels else None
            for path in paths
        ]
    else:
        written = _read_classes(source, numbers, labels)
        known = [written.get(path.as_posix(), written.get(path.name)) for path in paths]
    if all(number is None for number in known):
        what = "no folder or file name is a label of the network" if source == "names" else f"{source!r} names none"
        raise FeatvisError(
            f"the class of none of {len(paths)} pictures is known: {what}; give --labels a CSV file of picture,label"
        )
    return known


def _plain(label: str) -> str:
    return label.casefold().replace("_", " ").strip()


def _names(path: Path) -> list[str]:
    """What the names of a picture's file and folder could mean as labels."""
    names = []
    for name in (path.stem, path.parent.name):
        synset, _, rest = name.partition("_")
        if len(synset) == 9 and synset[0] == "n" and synset[1:].isdecimal():
            names.append(_plain(rest))
        names.append(_plain(name))
    return names


def _read_classes(source: str, numbers: dict[str, int], labels: Sequence[str] | None) -> dict[str, int]:
    try:
        with Path(source).open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FeatvisError(
            f"cannot read the labels {source!r} ({type(error).__name__}); give a CSV file of picture,label, or the word names"
        ) from None
    written = {}
    for line, row in enumerate(rows, 1):
        if [cell.strip().casefold() for cell in row] == ["picture", "label"]:
            continue
        picture, label = (row[0].strip(), row[1].strip()) if len(row) == 2 else ("", "")
        number = int(label) if label.isdecimal() else numbers.get(_plain(label))
        if number is None or not picture or (labels is not None and number >= len(labels)):
            raise FeatvisError(
                f"{source!r}, line {line}: {','.join(row)!r} is not picture,label with a class number or name"
                f"{nearest_names(label, labels or ())}"
            )
        written[Path(picture).as_posix()] = number
    return written
