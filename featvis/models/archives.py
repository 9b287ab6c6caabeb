"""Zip archives of others: what they hold, by name, judged before any of it is read."""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from featvis.errors import FeatvisError

_LONGEST_DIRECTORY = 2**21
"""Bytes of the list of entries, about 150 for each."""

DAMAGED = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
)
"""What Python's reader raises for archives that are none, or are damaged."""


class _Directory(io.RawIOBase):
    """A file from which no more is read at once than a list of entries may take; else Python reads it whole before it is judged."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.file = file
        self.whole = False

    def read(self, length: int = -1) -> bytes:
        if self.whole:
            return self.file.read(length)
        content = self.file.read(length if 0 <= length <= _LONGEST_DIRECTORY else _LONGEST_DIRECTORY + 1)
        if len(content) > _LONGEST_DIRECTORY:
            raise zipfile.BadZipFile("a list of entries out of proportion")
        return content

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True


@contextmanager
def opened(source: Path | io.BytesIO) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An archive and its entries by name without its one folder's; nothing is extracted, nothing unpacked.

    Raises FeatvisError for entries that are compressed, encrypted or larger together than the file, which torch never writes, for
    names that leave the folder or stand twice; what is in DAMAGED for one that is none or lists more entries than fit.
    """
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        directory = _Directory(file)
        with zipfile.ZipFile(directory) as archive:
            size = file.seek(0, os.SEEK_END)
            entries = _judged(archive.infolist(), size)
            directory.whole = True
            yield archive, entries


def _judged(entries: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by their names in the folder."""
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise FeatvisError("is a TorchScript program, not weights; save the state_dict() of what torch.jit.load gives")
    if len({entry.filename.partition("/")[0] for entry in entries}) > 1:
        raise FeatvisError("holds entries beside its one folder; save it again with torch")
    if sum(entry.file_size for entry in entries) > size:
        raise FeatvisError("holds entries that are larger together than the file; save it again with torch")
    named = {}
    for entry in entries:
        folder, _, name = entry.filename.partition("/")
        parts = {folder, *name.split("/")}
        if not re.fullmatch(r"[\w.\-/ +@=]+", name) or parts & {"", ".", ".."} or "\x00" in entry.orig_filename:
            raise FeatvisError(
                f"holds an entry of the name {entry.filename[:100]!r}, which leaves its folder or is none"
            )
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise FeatvisError(f"holds the entry {name[:100]!r} compressed or encrypted; save it again with torch")
        named[name] = entry
    if len({name.casefold() for name in named}) < len(entries):
        raise FeatvisError("holds an entry twice, so that readers may differ; save it again with torch")
    return named
