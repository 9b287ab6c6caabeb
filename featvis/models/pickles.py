"""Tensors that torch pickled: sizes are judged before contents are read, and nothing of the pickle is run."""

from __future__ import annotations

import io
import pickletools
import warnings
from pathlib import Path
from typing import Any

import torch

from featvis.errors import FeatvisError
from featvis.models.archives import opened

_LONGEST = 2**22
"""Bytes of the pickle that describes the tensors, whose values stand beside it: about 150 for each."""

_MOST_STEPS = 500_000

_LARGEST_UNMAPPED = 600 * 2**20
"""Bytes of a file in the format before torch 1.6, which is read whole."""


def load_tensors(file: Path | io.BytesIO) -> Any:
    """What torch's reader of plain tensors gives, on the CPU; values of a file are mapped, and read where they are used.

    Raises FeatvisError for a file whose description is out of proportion, and whatever torch raises for one that is damaged or holds
    other objects.
    """
    zipped = _beginning(file, 4) == b"PK\x03\x04"
    if zipped:
        with opened(file) as (archive, entries):
            description = entries.get("data.pkl")
            if description is not None:
                _check_steps(io.BytesIO(archive.open(description).read(_LONGEST + 1)), 1)
    else:
        size = file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())
        if size > _LARGEST_UNMAPPED:
            raise FeatvisError(
                f"has {size} bytes in a format that is read whole; save it again with torch, or as .safetensors"
            )
        _check_steps(io.BytesIO(_beginning(file, _LONGEST + 1)), 5)
    if not isinstance(file, Path):
        file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapped = zipped and isinstance(file, Path)
        return torch.load(file, weights_only=True, map_location="cpu", mmap=mapped or None)


def _beginning(file: Path | io.BytesIO, length: int) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened_file:
            return opened_file.read(length)
    return bytes(file.getbuffer()[:length])


def _check_steps(pickled: io.BytesIO, count: int) -> None:
    """Counts what pickles ask for, one after the other, without doing it: each step may take memory."""
    steps = 0
    try:
        for _ in range(count):
            for step, argument, _ in pickletools.genops(pickled):
                steps += 1
                if steps > _MOST_STEPS:
                    raise FeatvisError(
                        f"describes its tensors in more than {_MOST_STEPS} steps; save model.state_dict() alone"
                    )
                if step.name == "GLOBAL" and str(argument).endswith(" bytearray"):
                    raise FeatvisError("asks for memory without content; save model.state_dict() again")
    except ValueError:  # torch says better what is wrong with it
        pass
    if len(pickled.getbuffer()) > _LONGEST and pickled.tell() > _LONGEST:
        raise FeatvisError(f"describes its tensors in more than {_LONGEST} bytes; save model.state_dict() alone")
