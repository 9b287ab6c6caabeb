"""Maps from files that other tools wrote: NumPy's .npy and .npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from torch import Tensor

from featvis.data.pictures import LARGEST_PIXELS, expanded
from featvis.errors import FeatvisError
from featvis.measure.layouts import as_gradients

SUFFIXES = (".npy", ".npz")
"""Which files of a folder or a glob count as maps."""

OURS = "gradient"
"""The array that is taken of an .npz that holds several, as `featvis grad` writes it."""

LARGEST = 16 * LARGEST_PIXELS
"""Values of all maps in a file, at most."""


def find_maps(paths: Iterable[str | Path]) -> list[Path]:
    """The files of maps that files, folders and globs stand for, as `find_pictures` does for pictures."""
    return expanded(paths, SUFFIXES, "maps")


def load_maps(path: str | Path, layout: str | None = None, name: str | None = None) -> Tensor:
    """The maps in a file, (N, C, H, W).

    layout: as `as_gradients` takes it, without signals. name: of the array, where an .npz holds several. Raises FeatvisError for what
    is no such file, and where the array or its layout cannot be told.
    """
    path = Path(path)
    try:
        array = _of_several(path, name) if path.suffix.lower() == ".npz" else _mapped(path)
        if array.size > LARGEST:
            raise FeatvisError(f"it holds {array.size:,} values; split it into files of at most {LARGEST:,}")
        return as_gradients(array, layout, signals=False)
    except FeatvisError as error:
        raise FeatvisError(f"{str(path)!r}: {error}") from None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, MemoryError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise FeatvisError(f"cannot read maps from {str(path)!r} ({reason}); expected an .npy or .npz file") from None


@dataclass(frozen=True)
class MapFiles(Sequence[Tensor]):
    """The maps in files, each read when it is asked for."""

    paths: Sequence[Path]
    layout: str | None = None
    name: str | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, number: int) -> Tensor: ...
    @overload
    def __getitem__(self, number: slice) -> MapFiles: ...
    def __getitem__(self, number: int | slice) -> Tensor | MapFiles:
        if isinstance(number, slice):
            return replace(self, paths=self.paths[number])
        return load_maps(self.paths[number], self.layout, self.name)


def _mapped(path: Path) -> np.ndarray[Any, Any]:
    # Mapped, so that a header that promises more than the file holds is an error before it takes memory.
    return np.lib.format.open_memmap(path, mode="r")


def _of_several(path: Path, name: str | None) -> np.ndarray[Any, Any]:
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
    with np.load(path, allow_pickle=False) as held:
        if name is None and len(sizes) > 1 and OURS not in sizes:
            raise FeatvisError(f"it holds {', '.join(sizes)}; say which with --array")
        chosen = name or (OURS if OURS in sizes else next(iter(sizes), ""))
        if chosen not in sizes:
            raise FeatvisError(f"it holds no array {chosen!r}, but {', '.join(sizes) or 'nothing'}")
        if sizes[chosen] > 8 * LARGEST:
            raise FeatvisError(f"{chosen!r} has {sizes[chosen]:,} bytes; at most {8 * LARGEST:,} are read")
        return held[chosen]
