"""Batches of prepared pictures, from files or tensors, and of what was measured at them: the one loop under everything that measures."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import resource_sharer
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from featvis.audit.record import check_gradients
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.models.model import Model

REMEMBERED = 2**30
"""Bytes of prepared pictures that are kept for a second pass; what does not fit is read again."""


@dataclass(frozen=True)
class Batch:
    """Prepared pictures.

    images: (B, C, H, W), or (B, C, L). numbers: theirs in the whole set. names: of their files. wide: the same pictures with room around,
    (B, C, H + margin, W + margin), where that was asked for.
    """

    images: Tensor
    numbers: list[int]
    names: list[str]
    wide: Tensor | None = None


@dataclass(frozen=True)
class Measured(Batch):
    """A batch with what was made of the gradients there, in the shape of its images, and the engine that took them."""

    gradients: Tensor = field(kw_only=True)
    engine: GradientEngine = field(kw_only=True)


Take = Callable[[Tensor, list[int]], Tensor]
"""What takes prepared pictures and their numbers to gradients, or to an attribution."""


def measured(engine: GradientEngine, batches: Iterable[Batch], take: Take | None = None) -> Iterator[Measured]:
    """Each batch with its gradients; empty ones, which some processes of many have, pass as they are.

    take: what is made of the engine's gradients; they themselves by default. Raises FeatvisError where that is nothing but zeros or not
    finite, naming the picture and the score, and where the engine does.
    """
    take = engine if take is None else take
    for batch in batches:
        gradients = take(batch.images, batch.numbers) if batch.numbers else batch.images
        if batch.numbers:
            check_gradients(gradients, batch.names, engine.score.text)
        yield Measured(**vars(batch), gradients=gradients, engine=engine)


@dataclass(frozen=True)
class Stack:
    """Pictures that are already tensors, (N, C, H, W) or (N, C, L), in batches, as often as they are asked for.

    Raises FeatvisError where there is none.
    """

    pictures: Tensor
    size: int
    name: str = "picture"

    def __post_init__(self) -> None:
        if not len(self.pictures):
            raise FeatvisError(f"images of shape {tuple(self.pictures.shape)}; expected (N, C, H, W), N at least 1")

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.pictures), self.size):
            images = self.pictures[start : start + self.size]
            numbers = list(range(start, start + len(images)))
            yield Batch(images, numbers, [f"{self.name} {number}" for number in numbers])


@dataclass(frozen=True)
class _Read:
    """A picture file as it was read: its prepared pixels, the same with room around, or what is wrong with it."""

    number: int
    pixels: tuple[Tensor, ...] = ()
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class _Round:
    """Files as they were read, the pixels of the good ones in one tensor: a worker hands over one block of memory, not many."""

    tried: list[int]
    good: list[int]
    pixels: list[Tensor]
    notes: list[str]
    faults: list[str]

    @staticmethod
    def of(read: list[_Read]) -> _Round:
        return _Round(
            [one.number for one in read],
            [one.number for one in read if one.pixels],
            [torch.stack(pixels) for pixels in zip(*(one.pixels for one in read if one.pixels), strict=True)],
            [note for one in read for note in one.notes],
            [one.fault for one in read if one.fault],
        )


class _Pictures(Dataset[_Read]):
    def __init__(self, model: Model, paths: Sequence[Path], numbers: Sequence[int], margin: int) -> None:
        # Workers get what reading needs; the network stays where it is.
        self.model = replace(model, module=nn.Identity())
        self.paths, self.numbers, self.margin = paths, numbers, margin

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> _Read:
        number = self.numbers[place]
        try:
            picture, pixels = self.model.load(self.paths[number])
            room = (self.model.pixels_of(picture, self.margin),) if self.margin else ()
        except FeatvisError as error:
            return _Read(number, fault=str(error))
        notes = tuple(f"{self.paths[number].name}: {note}" for note in picture.notes)
        return _Read(number, (pixels, *room), notes)


@dataclass
class Loader:
    """Batches of prepared pictures from files, in order; remembers what it skipped and what there is to say of the files.

    numbers: which of the paths, all by default. workers: processes that read ahead, none by default. margin: pixels of room around, for
    `wide`, read from the same file at once. tried: the pictures so far, also those that could not be read.
    """

    model: Model
    paths: Sequence[Path]
    batch_size: int = 8
    skip_bad: bool = False
    workers: int = 0
    numbers: Sequence[int] | None = None
    margin: int = 0
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the pictures that could be read, none empty. Raises FeatvisError for a bad one unless skip_bad."""
        return (batch for batch in self.rounds() if batch.numbers)

    def rounds(self, least: int = 0) -> Iterator[Batch]:
        """The same with one batch for each `batch_size` files, empty where none of them could be read; at least so many."""
        numbers = range(len(self.paths)) if self.numbers is None else self.numbers
        reader = DataLoader(
            _Pictures(self.model, self.paths, numbers, self.margin),
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=_Round.of,
            worker_init_fn=_end_with_parent,
        )
        rest = itertools.repeat(_Round.of([]), max(0, least - len(reader)))
        for read in itertools.chain(reader, rest):
            self.tried.extend(read.tried)
            if read.faults and not self.skip_bad:
                raise FeatvisError(read.faults[0])
            self.skipped.extend(read.faults)
            self.notes.extend(read.notes)
            images = [self.model.normalise(pixels) for pixels in read.pixels] or [torch.empty(0)]
            names = [self.paths[number].name for number in read.good]
            yield Batch(images[0], read.good, names, images[1] if self.margin and read.good else None)


def reading_ahead(asked: int) -> tuple[int, list[str]]:
    """How many processes read ahead where so many are asked for, at most one for each processor, and what there is to say of that."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if asked <= there:
        return asked, []
    return there, [f"{asked} workers were asked for; {there} read ahead, as there are no more processors"]


@contextlib.contextmanager
def workers_watched(told: str) -> Iterator[None]:
    """Raises FeatvisError where a process that reads ahead has died. told: how to go on."""
    try:
        try:
            yield
        except (EOFError, OSError) as error:
            if not any(
                frame.filename == resource_sharer.__file__ for frame in traceback.extract_tb(error.__traceback__)
            ):
                raise
            # Nobody is at the other end of a pipe. A moment later the system says that it died, and torch raises that wherever we are.
            time.sleep(1)
            raise RuntimeError("DataLoader worker exited while it handed over a batch") from None
    except RuntimeError as error:
        # torch says so at any moment, not only where a batch is asked for.
        if "DataLoader worker" not in str(error):
            raise
        first = str(error).strip().splitlines()[0].rstrip(". ")
        raise FeatvisError(f"a process that reads ahead has died ({first}); give fewer --workers; {told}") from None


def _end_with_parent(worker: int) -> None:
    """End a process that reads ahead once the one that it reads for has; torch's own look misses a parent that is killed right after."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def none_read(skipped: Sequence[str], count: int) -> FeatvisError:
    """That none of so many pictures could be read, and why the first could not."""
    return FeatvisError(
        f"none of {count} pictures could be read; the first: {skipped[0] if skipped else 'none was given'}"
    )


class Remembered:
    """A loader's batches, kept as they pass by while they fit into memory, so that a second pass reads no file again.

    most: bytes of prepared pictures that are kept; what does not fit is read again. again: how many pictures that is.
    """

    def __init__(self, loader: Loader, most: int = REMEMBERED) -> None:
        self.loader, self.left = loader, most
        self.kept: list[Batch] = []
        self.again: list[int] = []

    def keeping(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The loader's batches, kept as they pass."""
        for batch in batches:
            self.left -= batch.images.nbytes
            if self.left >= 0:
                self.kept.append(replace(batch, images=batch.images.cpu()))
            else:
                self.again += batch.numbers
            yield batch

    def __iter__(self) -> Iterator[Batch]:
        """The batches that have passed."""
        yield from (batch for batch in self.kept if batch.numbers)
        if self.again:
            # What is there to say of these files was said at their first time.
            yield from replace(self.loader, numbers=self.again, skip_bad=True, skipped=[], notes=[], tried=[])

    def notes(self) -> tuple[str, ...]:
        """What there is to say of pictures that were read again."""
        return (
            (f"{len(self.again)} pictures did not fit into memory beside the others and were read twice",)
            if self.again
            else ()
        )
