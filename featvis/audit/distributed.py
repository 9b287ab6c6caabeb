"""Several processes on one set of pictures, as `torchrun` starts them: which one this is, and what all of them say."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as processes
from torch import Tensor

from featvis.errors import FeatvisError

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; each must get its pictures done in this time."""

LOOK_EVERY, GRACE = 1.0, 20.0
"""Seconds between two looks at whether the parent still is there, and for the batch at hand once it is not."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Group:
    """One process of several: its rank, how many there are, and the same for its own machine; alone by default."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    @property
    def device(self) -> str:
        """The device that `auto` means here: one GPU for each process of a machine, where it has enough of them."""
        return f"cuda:{self.local_rank}" if torch.cuda.device_count() >= self.local_size else "auto"

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of what is to be done: every `size`-th item."""
        return items[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of all processes' values."""
        total = values.clone()
        if self.size > 1:
            with _one_line():
                processes.all_reduce(total)
        return total

    def largest(self, value: int) -> int:
        """The largest of all processes' numbers."""
        total = torch.tensor(value)
        if self.size > 1:
            with _one_line():
                processes.all_reduce(total, processes.ReduceOp.MAX)
        return int(total)

    def gather(self, content: Any) -> list[Any]:
        """What each process gave, in the order of ranks."""
        contents = [content]
        if self.size > 1:
            contents = [None] * self.size
            with _one_line():
                # It travels as a pickle, which is safe here: only processes of this one run speak.
                processes.all_gather_object(contents, content)
        return contents


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """The group that `torchrun` started this process in, left at the end; a group of one where it was started by itself.

    Where the process that started it ends, this one ends too, with what is done kept. Raises FeatvisError where the others cannot be
    reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Group()
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with ending_with_parent():
        with _one_line():
            _check_agent()
            processes.init_process_group(backend, timeout=PATIENCE)
        try:
            local = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", size))
            yield Group(processes.get_rank(), size, *local)
        finally:
            processes.destroy_process_group()


@contextlib.contextmanager
def ending_with_parent() -> Iterator[None]:
    """End this process once the one that started it has: by SIGTERM, which may be answered, and GRACE seconds later by SIGKILL."""
    parent, left = os.getppid(), threading.Event()

    def watch() -> None:
        while os.getppid() == parent:
            if left.wait(LOOK_EVERY):
                return
        os.kill(os.getpid(), signal.SIGTERM)
        if not left.wait(GRACE):
            os.kill(os.getpid(), signal.SIGKILL)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        # A thread that still waits while the interpreter ends can take the whole process down.
        watcher.join()


def _check_agent() -> None:
    """Raises RuntimeError where torchrun's agent, through which processes find each other, ended before the parent was looked at."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        try:
            socket.create_connection(place, GRACE).close()
        except OSError as error:
            raise RuntimeError(f"torchrun's agent at {place[0]} does not answer: {error}") from None


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise FeatvisError(
            f"another process of this run ended or cannot be reached ({first}); start the run again"
        ) from None
