"""An unfinished audit in a folder: one file for each process that worked on it, merged when it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featvis.audit.distributed import Group
from featvis.errors import FeatvisError
from featvis.files import document_text, make_folder, write_tensors
from featvis.measure.agreement import check_agreement
from featvis.measure.sums import EnergySums
from featvis.tracing.hashes import tensor_hash

SCHEMA = "featvis.state/2"
LARGEST = 2**30
"""Bytes from which on a file is no saved audit: sums at a period of 1,000 pixels take half of this."""

ENDS = 4096
"""Bytes at each end of a picture's file that its mark is made of."""


@dataclass
class State:
    """What has been measured so far: the energies' sums, which pictures are in them, and what there is to say.

    settings: what must be the same when the audit goes on, plain values. marks: (pictures,), int64, of each picture's file. done:
    (pictures,), bool. skipped: what was wrong with pictures that could not be read, which count as done. size: (H, W) of the
    pictures, where periods are to be found in them.
    """

    settings: Mapping[str, Any]
    marks: Tensor
    done: Tensor
    metric: EnergySums | None = None
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None

    @classmethod
    def empty(cls, settings: Mapping[str, Any], marks: Tensor, size: tuple[int, int] | None = None) -> State:
        """Nothing measured yet."""
        return cls(settings, marks, torch.zeros(len(marks), dtype=torch.bool), size=size)

    def take(self, tried: list[int], skipped: list[str], notes: list[str]) -> None:
        """Count the pictures that were tried as done, with what was wrong with some and said of others; empties the lists."""
        self.done[tried] = True
        self.skipped += skipped
        self.notes += notes
        for taken in (tried, skipped, notes):
            taken.clear()

    def left(self) -> list[int]:
        """The numbers of the pictures that are still to be measured."""
        return (~self.done).nonzero().flatten().tolist()

    def metric_of(self, total_stride: int) -> EnergySums:
        """The sums, begun where there are none; raises FeatvisError for another total stride."""
        self.metric = self.metric or EnergySums(total_stride, size=self.size)
        if self.metric.total_stride != total_stride:
            raise FeatvisError(
                f"the saved audit has a total stride of {self.metric.total_stride}, this network {total_stride}; start anew"
            )
        return self.metric

    def save(self, folder: Path, rank: int = 0) -> None:
        """Write this process's part: to a temporary name, then renamed, so that a kill leaves the last whole one."""
        tensors = {"done": self.done.to(torch.uint8), "marks": self.marks}
        if self.metric is not None:
            tensors |= self.metric.tensors()
        content = document_text(
            {
                "settings": self.settings,
                "skipped": self.skipped,
                "notes": self.notes,
                "total_stride": None if self.metric is None else self.metric.total_stride,
            }
        )
        metadata = {"schema": SCHEMA, "content": content, "checksum": _checksum(content, tensors)}
        write_tensors(_file(folder, rank), tensors, metadata)

    @classmethod
    def load(cls, path: Path) -> State:
        """The state in a file; raises FeatvisError for anything that `save` did not write."""
        metadata, tensors = _read(path)
        if metadata.get("schema") != SCHEMA:
            raise FeatvisError(
                f"the saved audit {str(path)!r} has the schema {metadata.get('schema')!r:.40}, this version of featvis reads {SCHEMA!r}; "
                "go on with the version that wrote it, or delete it and start anew"
            )
        try:
            if metadata["checksum"] != _checksum(metadata["content"], tensors):
                raise ValueError("its content does not have its checksum")
            content = json.loads(metadata["content"])
            flags, marks, stride = tensors.pop("done"), tensors.pop("marks"), content["total_stride"]
            if flags.dtype != torch.uint8 or flags.ndim != 1 or bool((flags > 1).any()):
                raise ValueError("its flags are not 0 and 1")
            if marks.dtype != torch.int64 or marks.shape != flags.shape:
                raise ValueError("its pictures have no marks")
            if stride is not None and type(stride) is not int:
                raise ValueError(f"a total stride of {stride!r}")
            skipped, notes = ([str(text) for text in content[name]] for name in ("skipped", "notes"))
            metric = None if stride is None else EnergySums.of(tensors, stride)
            state = cls(dict(content["settings"]), marks, flags.bool(), metric, skipped, notes)
            state.check()
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError, FeatvisError) as error:
            raise FeatvisError(
                f"the saved audit {str(path)!r} is damaged ({type(error).__name__}: {error}); delete it and start anew"
            ) from None
        return state

    def check(self) -> None:
        """Raises FeatvisError where the sums are none that pictures give, or hold others than those that are done and could be read."""
        measured = int(self.done.sum()) - len(self.skipped)
        if self.metric is None:
            if measured:
                raise FeatvisError(f"{measured} pictures are done, of which there are no sums")
            return
        check_agreement(self.metric)
        counts = self.metric.whole.counts
        by_group = torch.bincount(self.done.nonzero().flatten() % len(counts), minlength=len(counts))
        if self.metric.pictures != measured or bool((counts > by_group).any()):
            raise FeatvisError(f"{measured} pictures are done, the sums hold {self.metric.pictures}, or others")

    def add(self, other: State) -> None:
        """Take in another process's part, unless all of it is in here already."""
        if bool((other.done & ~self.done).any()):
            if bool((other.done & self.done).any()):
                raise FeatvisError("parts of the saved audit overlap; delete the folder and start anew")
            self.done = self.done | other.done
            self.skipped += other.skipped
            self.notes += other.notes
            if other.metric is not None:
                self.size = other.metric.size
                self.metric_of(other.metric.total_stride).add(other.metric)


def resumed(folder: Path, settings: Mapping[str, Any], marks: Tensor, names: Sequence[str] = ()) -> State:
    """Everything that a folder's files hold, as one state; raises FeatvisError where it belongs to another run, saying what differs.

    names: of the pictures, to say which of them is another one.
    """
    state = State.empty(settings, marks)
    parts = [State.load(path) for path in _files(folder)]
    for part in parts:
        differing = [
            _differing(name, part.settings.get(name), settings.get(name))
            for name in dict.fromkeys((*part.settings, *settings))
            if part.settings.get(name) != settings.get(name)
        ]
        if len(part.marks) != len(marks):
            differing.append(f"pictures: {len(part.marks)}, now {len(marks)}")
        elif others := (part.marks != marks).nonzero().flatten().tolist():
            named = f", {names[others[0]]!r}" if names else ""
            differing.append(
                f"pictures: {len(others)} of {len(marks)} have another name, place or content, first number {others[0]}{named}"
            )
        if differing:
            raise FeatvisError(
                f"the audit in {str(folder)!r} is of another run ({'; '.join(differing)}); give its settings, or another folder"
            )
    # The largest part first: it may hold the others already.
    for part in sorted(parts, key=lambda part: -int(part.done.sum())):
        state.add(part)
    return state


@dataclass(frozen=True)
class Kept:
    """Where an audit's state is kept, if anywhere, and the processes that work on it.

    folder: None to keep nothing. settings: what must be the same when it goes on. marks: (pictures,), int64, of their files; names: of
    theirs, for what is said. size: (H, W) of the pictures, where periods are to be found in them.
    """

    folder: Path | None
    settings: Mapping[str, Any]
    marks: Tensor
    names: Sequence[str] = ()
    group: Group = field(default_factory=Group)
    size: tuple[int, int] | None = None

    @property
    def pictures(self) -> int:
        """How many pictures there are in all."""
        return len(self.marks)

    def open(self, resume: bool) -> tuple[State, list[int]]:
        """This process's state to begin with, and the numbers of the pictures that are left for all processes.

        What was kept goes to the first process. Raises FeatvisError where the folder holds an audit and resume is not asked for, and where
        what it holds is of another run.
        """
        empty = State.empty(self.settings, self.marks, self.size)
        if self.folder is None:
            return empty, empty.left()
        if not resume and self.folder.is_dir() and _files(self.folder):
            raise FeatvisError(
                f"{str(self.folder)!r} holds an unfinished audit; add --resume to go on with it, or give another folder"
            )
        make_folder(self.folder)
        before = resumed(self.folder, self.settings, self.marks, self.names)
        before.size = self.size
        self.group.gather(None)  # all have read it before the first merges it
        if self.group.leads:
            for path in self.folder.glob(".part-*"):
                path.unlink()  # what a killed process was writing
            if before.done.any():
                keep_merged(before, self.folder)
        self.group.gather(None)  # nobody writes a new part that would be taken for one of before
        return before if self.group.leads else empty, before.left()

    def save(self, state: State) -> None:
        """Keep this process's part."""
        if self.folder is not None:
            state.save(self.folder, self.group.rank)

    def merged(self, state: State) -> State:
        """The states of all processes as one; every process gets it."""
        if self.group.size == 1:
            return state
        stride = self.group.largest(0 if state.metric is None else state.metric.total_stride)
        whole = State(self.settings, self.marks, self.group.sum(state.done.to(torch.uint8)).bool())
        if stride:
            own = state.metric_of(stride).tensors()
            whole.metric = EnergySums.of({name: self.group.sum(value) for name, value in own.items()}, stride)
        for skipped, notes in self.group.gather([state.skipped, state.notes]):
            whole.skipped += skipped
            whole.notes += notes
        return whole

    def close(self) -> None:
        """Delete the files of an audit that is finished."""
        if self.folder is None:
            return
        self.group.gather(None)  # nobody writes any more
        if self.group.leads:
            for path in _files(self.folder):
                path.unlink()


def told(folder: Path | None) -> str:
    """Whether what is done is kept, and how to go on."""
    if folder is None:
        return "nothing is kept; give --state FOLDER to be able to go on"
    return f"what is done is kept in {str(folder)!r}: go on with --resume"


def keep_merged(state: State, folder: Path) -> None:
    """Write the state as the folder's only file; a kill in between leaves parts that are known to be in it."""
    state.save(folder)
    for path in _files(folder):
        if path != _file(folder, 0):
            path.unlink()


def marks_of(paths: Sequence[Path], group: Group) -> Tensor:
    """A mark of each picture's file, of its name, size, and first and last bytes; (pictures,), int64. Each process looks at its share."""
    marks = torch.zeros(len(paths), dtype=torch.int64)
    marks[group.rank :: group.size] = torch.tensor([_mark(path) for path in group.share(paths)], dtype=torch.int64)
    return group.sum(marks)


def _mark(path: Path) -> int:
    """The first 8 bytes of a SHA-256; a file that cannot be read is known by its name."""
    digest = hashlib.sha256(path.name.encode("utf-8", "surrogateescape"))
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"\n{size}\n".encode() + file.read(ENDS))
                file.seek(max(size - ENDS, 0))
                digest.update(file.read(ENDS))
    return int.from_bytes(digest.digest()[:8], "big", signed=True)


def _differing(name: str, before: Any, now: Any) -> str:
    """What differs of a setting; of a list, as of operations, the first item that does."""
    if isinstance(before, list) and isinstance(now, list):
        for place, (old, new) in enumerate(itertools.zip_longest(before, now)):
            if old != new:
                return f"{name}, item {place}: {old!r}, now {new!r}"
    return f"{name}: {before!r}, now {now!r}"


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a file says of its tensors, and these. Raises FeatvisError for what is no such file."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"over {LARGEST >> 20} MiB")
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (OSError, SafetensorError, ValueError, RuntimeError, TypeError) as error:
        raise FeatvisError(f"cannot read the saved audit {str(path)!r} ({error}); delete it and start anew") from None


def _checksum(content: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything in a state."""
    digest = hashlib.sha256(content.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensor_hash(tensors[name])}\n".encode())
    return digest.hexdigest()


def _file(folder: Path, rank: int) -> Path:
    return folder / f"part-{rank}.safetensors"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.safetensors"))
