"""One run a folder: a lock that ends with the processes that hold it, however they end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from featvis.audit.distributed import Group
from featvis.errors import FeatvisError, shown
from featvis.files import make_folder

NAME = ".lock"
PATIENCE = 2.0
"""Seconds that the first process waits for the others of its run to let go."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, shared: bool = False) -> None:
        if not shared:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int, shared: bool = False) -> None:
        # Of this process alone: unlike flock's it does not go on in workers that outlive it.
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextlib.contextmanager
def only_run(folder: Path | None, group: Group) -> Iterator[list[str]]:
    """Keep every other run out of a folder, which is made; it goes at the end where nothing is in it. Gives what there is to say of that.

    The first process of a group has the folder for itself, then all of them share it, so that none of them is left when another run
    comes in. Raises FeatvisError, in every process, where another run has it, saying which.
    """
    if folder is None:
        yield []
        return
    held, refusal, notes = None, "", list[str]()
    try:
        if group.leads:
            try:
                held = _taken(folder)
            except FeatvisError as error:
                refusal = str(error)
            except OSError as error:
                notes.append(
                    f"nothing keeps a second run out of {str(folder)!r}: its file system has no locks ({error.strerror})"
                )
        first = group.gather(refusal)[0]
        if first:
            raise FeatvisError(first)
        if group.size > 1:
            if held is not None:
                _lock(held, shared=True)
            group.gather(None)
            held = held if group.leads else _shared(folder)
        yield notes
    finally:
        if held is not None:
            if group.leads:
                _clear(folder, held)
            os.close(held)


def _taken(folder: Path) -> int:
    """The lock of a folder, as an open file that says who has it. Raises FeatvisError where another process does."""
    path = folder / NAME
    while True:
        make_folder(folder)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # another run has ended and taken the folder with it
        try:
            _lock(file)
            if _is(file, path):
                os.ftruncate(file, 0)
                since = time.strftime("%Y-%m-%d %H:%M:%S %z")
                os.write(file, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
                return file
        except OSError as error:
            os.close(file)
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise FeatvisError(
                    f"{_owner(path)} works on the audit in {str(folder)!r}; wait until it has ended, or give another folder"
                ) from None
            if error.errno == errno.ENOSPC:
                path.unlink(missing_ok=True)
                raise FeatvisError(f"cannot write {str(path)!r}: {error.strerror}") from None
            raise
        os.close(file)


def _is(file: int, path: Path) -> bool:
    """Whether an open file still stands at a path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _shared(folder: Path) -> int | None:
    """This process's part of a lock that its run has; None where the file system has none."""
    try:
        file = os.open(folder / NAME, os.O_RDWR)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        _lock(file, shared=True)
    return file


def _clear(folder: Path, held: int) -> None:
    """Delete the lock and an empty folder, once no other process of this run holds it; else they stay, which keeps nobody out."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            _lock(held)
            break
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)
    with contextlib.suppress(OSError):
        (folder / NAME).unlink()
        folder.rmdir()


def _owner(path: Path) -> str:
    """Who has a lock, as it says itself."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            said = path.read_text(encoding="utf-8", errors="replace")[:200]
            if said:
                return shown(said)
        time.sleep(0.05)
    return "another process"
