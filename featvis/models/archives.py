"""Zip archives of others: what they hold, by name, judged before any of it is read."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from featvis.errors import FeatvisError

MOST_ENTRIES = 100_000

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


@contextmanager
def opened(path: str | os.PathLike[str] | IO[bytes]) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An archive and its entries by name without its one folder's; nothing is extracted, nothing unpacked.

    Raises FeatvisError for entries that are compressed, encrypted or larger together than the file, which torch never writes, for
    names that leave the folder or stand twice, and for too many.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES:
            raise FeatvisError(f"holds {len(entries)} entries; expected at most {MOST_ENTRIES}")
        assert archive.fp is not None
        size = archive.fp.seek(0, os.SEEK_END)
        packed = [
            entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1
        ]
        if packed:
            raise FeatvisError(f"holds the entry {packed[0][:100]!r} compressed or encrypted; save it again with torch")
        if sum(entry.file_size for entry in entries) > size:
            raise FeatvisError("holds entries that are larger together than the file; save it again with torch")
        names = [entry.filename for entry in entries]
        for name in names:
            if (
                not re.fullmatch(r"[\w.\-/ +@=]+", name)
                or name.startswith("/")
                or {"", ".", ".."} & set(name.split("/"))
            ):
                raise FeatvisError(f"holds an entry of the name {name[:100]!r}, which leaves its folder or is none")
        if len({name.casefold() for name in names}) < len(names):
            raise FeatvisError("holds an entry twice, so that readers may differ; save it again with torch")
        folders = {name.partition("/")[0] for name in names}
        if len(folders) > 1 or not all("/" in name for name in names):
            raise FeatvisError("holds entries beside its one folder; save it again with torch")
        yield archive, {entry.filename.partition("/")[2]: entry for entry in entries}
