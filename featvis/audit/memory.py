"""How many pictures fit at a time: estimated from one picture, and halved where memory runs out all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featvis.errors import FeatvisError

SHARE = 0.5
"""The part of the free memory that an automatic batch may take."""

WORKING = 2.0
"""Peak memory of a gradient, in units of what its forward pass keeps; measured .8 to 1.6 on eight networks of torchvision."""

LARGEST = 256
"""Pictures; larger batches bring no speed."""

ENOUGH = {"cpu": 2**30}
"""Bytes of a batch above which it brings no more speed on a device."""

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current"))


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device, within what the system grants this process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free = int(psutil.virtual_memory().available)
    # psutil knows the machine's memory, not what a container may take of it.
    limits = [path.read_text(encoding="ascii").strip() if path.exists() else "max" for path in _LIMITS]
    if all(limit.isdecimal() for limit in limits):
        free = min(free, int(limits[0]) - int(limits[1]))
    return free


def kept_bytes(run: Callable[[], Any]) -> int:
    """Bytes that a computation keeps for its backward pass, the parameters among them."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(sizes.values())


def fitting_batch(kept: int, free: int, enough: int | None = None) -> int:
    """The largest power of two of pictures that fits; at least 1. kept: bytes for each picture; free, enough: bytes."""
    most = free * SHARE if enough is None else min(free * SHARE, enough)
    size = 1
    while 2 * size <= LARGEST and 2 * size * kept * WORKING <= most:
        size *= 2
    return size


class Halving:
    """Calls a function on a batch, in halves where it runs out of memory; later batches start with the size that fitted."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.notes: list[str] = []

    def __call__(
        self, function: Callable[[Tensor, list[int]], Tensor], images: Tensor, numbers: Sequence[int]
    ) -> Tensor:
        """The function's results for all pictures, (B, ...). Raises FeatvisError where one picture alone does not fit."""
        results: list[Tensor] = []
        done = 0
        while done < len(images):
            size = min(self.size or len(images), len(images) - done)
            try:
                results.append(function(images[done : done + size], list(numbers[done : done + size])))
                done += size
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(size, images)
        return torch.cat(results)

    def _halve(self, size: int, images: Tensor) -> None:
        if size == 1:
            shape = "x".join(map(str, images.shape[1:]))
            raise FeatvisError(f"one picture of {shape} does not fit into memory; give a smaller --size") from None
        self.size = size // 2
        self.notes.append(f"memory ran out with {size} pictures at a time; went on with {self.size}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch gave up for lack of memory, on any device."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
