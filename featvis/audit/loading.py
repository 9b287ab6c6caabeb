"""Batches of prepared pictures from files, read by this process or by workers beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from featvis.errors import FeatvisError
from featvis.models.model import Model

Batch = tuple[Tensor, list[int], list[str]]
"""Prepared pictures (B, C, H, W), their numbers in the whole set and their names."""


@dataclass(frozen=True)
class _Read:
    """A picture file as it was read: its prepared pixels, or what is wrong with it."""

    number: int
    pixels: Tensor | None
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class _Round:
    """Files as they were read, the pixels of the good ones in one tensor: a worker hands over one block of memory, not many."""

    tried: list[int]
    good: list[int]
    pixels: Tensor
    notes: list[str]
    faults: list[str]

    @staticmethod
    def of(read: list[_Read]) -> _Round:
        found = [(one.number, one.pixels) for one in read if one.pixels is not None]
        return _Round(
            [one.number for one in read],
            [number for number, _ in found],
            torch.stack([pixels for _, pixels in found]) if found else torch.empty(0),
            [note for one in read for note in one.notes],
            [one.fault for one in read if one.pixels is None],
        )


class _Pictures(Dataset[_Read]):
    def __init__(self, model: Model, paths: Sequence[Path], numbers: Sequence[int]) -> None:
        # Workers get what reading needs; the network stays where it is.
        self.load = replace(model, module=nn.Identity()).load
        self.paths, self.numbers = paths, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> _Read:
        number = self.numbers[place]
        try:
            picture, pixels = self.load(self.paths[number])
        except FeatvisError as error:
            return _Read(number, None, fault=str(error))
        return _Read(number, pixels, tuple(f"{self.paths[number].name}: {note}" for note in picture.notes))


@dataclass
class Loader:
    """Batches of prepared pictures, in order; remembers what it skipped and what there is to say of the files.

    numbers: which of the paths, all by default. workers: processes that read ahead, none by default. tried: the pictures so far, also
    those that could not be read.
    """

    model: Model
    paths: Sequence[Path]
    batch_size: int = 8
    skip_bad: bool = False
    workers: int = 0
    numbers: Sequence[int] | None = None
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the pictures that could be read, none empty. Raises FeatvisError for a bad one unless skip_bad."""
        for images, numbers, names in self.rounds():
            if numbers:
                yield images, numbers, names

    def rounds(self, least: int = 0) -> Iterator[Batch]:
        """The same with one batch for each `batch_size` files, empty where none of them could be read; at least so many."""
        numbers = range(len(self.paths)) if self.numbers is None else self.numbers
        reader = DataLoader(
            _Pictures(self.model, self.paths, numbers),
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=_Round.of,
        )
        rest = itertools.repeat(_Round.of([]), max(0, least - len(reader)))
        for read in itertools.chain(reader, rest):
            self.tried.extend(read.tried)
            if read.faults and not self.skip_bad:
                raise FeatvisError(read.faults[0])
            self.skipped.extend(read.faults)
            self.notes.extend(read.notes)
            images = self.model.normalise(read.pixels) if read.good else read.pixels
            yield images, read.good, [self.paths[number].name for number in read.good]
