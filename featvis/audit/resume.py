"""An unfinished audit in a folder: one file for each process that worked on it, merged when it goes on."""

from __future__ import annotations

import hashlib
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
from featvis.measure.sums import EnergySums

SCHEMA = "featvis.state/1"


@dataclass
class State:
    """What has been measured so far: the energies' sums, which pictures are in them, and what there is to say.

    settings: what must be the same when the audit goes on, plain values. done: (pictures,), bool. skipped: what was wrong with
    pictures that could not be read, which count as done. size: (H, W) of the pictures, where periods are to be found in them.
    """

    settings: Mapping[str, Any]
    done: Tensor
    metric: EnergySums | None = None
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None

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
        tensors = {"done": self.done.to(torch.uint8)}
        if self.metric is not None:
            tensors |= self.metric.tensors()
        content = {
            "settings": self.settings,
            "skipped": self.skipped,
            "notes": self.notes,
            "total_stride": None if self.metric is None else self.metric.total_stride,
        }
        metadata = {"schema": SCHEMA, "content": document_text(content)}
        write_tensors(_file(folder, rank), tensors, metadata)

    @classmethod
    def load(cls, path: Path) -> State:
        """The state in a file; raises FeatvisError for anything that `save` did not write."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        except (OSError, SafetensorError, ValueError) as error:
            raise FeatvisError(
                f"cannot read the saved audit {str(path)!r} ({error}); delete it and start anew"
            ) from None
        try:
            if metadata["schema"] != SCHEMA:
                raise KeyError("schema")
            content = json.loads(metadata["content"])
            done, metric = tensors.pop("done").bool(), None
            if content["total_stride"] is not None:
                metric = EnergySums.of(tensors, int(content["total_stride"]))
            skipped, notes = ([str(text) for text in content[name]] for name in ("skipped", "notes"))
            return cls(dict(content["settings"]), done, metric, skipped, notes)
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError, FeatvisError) as error:
            raise FeatvisError(
                f"the saved audit {str(path)!r} is damaged ({type(error).__name__}: {error}); delete it and start anew"
            ) from None

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


def resumed(folder: Path, settings: Mapping[str, Any], pictures: int) -> State:
    """Everything that a folder's files hold, as one state; raises FeatvisError where it belongs to another run, saying what differs."""
    state = State(settings, torch.zeros(pictures, dtype=torch.bool))
    parts = [State.load(path) for path in _files(folder)]
    for part in parts:
        differing = [
            f"{name}: {part.settings.get(name)!r}, now {settings.get(name)!r}"
            for name in dict.fromkeys((*part.settings, *settings))
            if part.settings.get(name) != settings.get(name)
        ]
        if differing or len(part.done) != pictures:
            what = "; ".join(differing) or f"pictures: {len(part.done)}, now {pictures}"
            raise FeatvisError(
                f"the audit in {str(folder)!r} is of another run ({what}); give its settings, or another folder"
            )
    # The largest part first: it may hold the others already.
    for part in sorted(parts, key=lambda part: -int(part.done.sum())):
        state.add(part)
    return state


@dataclass(frozen=True)
class Kept:
    """Where an audit's state is kept, if anywhere, and the processes that work on it.

    folder: None to keep nothing. settings: what must be the same when it goes on. pictures: how many there are in all, of which size
    (H, W), where periods are to be found in them.
    """

    folder: Path | None
    settings: Mapping[str, Any]
    pictures: int
    group: Group = field(default_factory=Group)
    size: tuple[int, int] | None = None

    def open(self, resume: bool) -> tuple[State, list[int]]:
        """This process's state to begin with, and the numbers of the pictures that are left for all processes.

        What was kept goes to the first process. Raises FeatvisError where the folder holds an audit and resume is not asked for, and where
        what it holds is of another run.
        """
        empty = State(self.settings, torch.zeros(self.pictures, dtype=torch.bool), size=self.size)
        if self.folder is None:
            return empty, empty.left()
        if not resume and self.folder.is_dir() and _files(self.folder):
            raise FeatvisError(
                f"{str(self.folder)!r} holds an unfinished audit; add --resume to go on with it, or give another folder"
            )
        make_folder(self.folder)
        before = resumed(self.folder, self.settings, self.pictures)
        before.size = self.size
        self.group.gather(None)  # all have read it before the first merges it
        if not self.group.leads:
            return empty, before.left()
        if before.done.any():
            keep_merged(before, self.folder)
        return before, before.left()

    def save(self, state: State) -> None:
        """Keep this process's part."""
        if self.folder is not None:
            state.save(self.folder, self.group.rank)

    def merged(self, state: State) -> State:
        """The states of all processes as one; every process gets it."""
        if self.group.size == 1:
            return state
        stride = self.group.largest(0 if state.metric is None else state.metric.total_stride)
        whole = State(self.settings, self.group.sum(state.done.to(torch.uint8)).bool())
        if stride:
            own = state.metric_of(stride).tensors()
            whole.metric = EnergySums.of({name: self.group.sum(value) for name, value in own.items()}, stride)
        for skipped, notes in self.group.gather([state.skipped, state.notes]):
            whole.skipped += skipped
            whole.notes += notes
        return whole

    def told(self) -> str:
        """Whether anything is kept, and how to go on."""
        if self.folder is None:
            return "nothing is kept; give --state FOLDER to be able to go on"
        return f"they are kept in {str(self.folder)!r}: go on with --resume"

    def close(self) -> None:
        """Delete the files of an audit that is finished, and the folder where nothing else is in it."""
        if self.folder is None:
            return
        self.group.gather(None)  # nobody writes any more
        if self.group.leads:
            for path in _files(self.folder):
                path.unlink()
            if not os.listdir(self.folder):
                self.folder.rmdir()


def keep_merged(state: State, folder: Path) -> None:
    """Write the state as the folder's only file; a kill in between leaves parts that are known to be in it."""
    state.save(folder)
    for path in _files(folder):
        if path != _file(folder, 0):
            path.unlink()


def pictures_hash(paths: Sequence[Path]) -> str:
    """SHA-256 of the files' names and sizes in their order, 16 hexadecimal digits."""
    lines = (f"{path.name} {path.stat().st_size if path.is_file() else -1}\n" for path in paths)
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _file(folder: Path, rank: int) -> Path:
    return folder / f"part-{rank}.safetensors"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.safetensors"))
