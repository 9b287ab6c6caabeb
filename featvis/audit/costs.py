"""What a computation costs: seconds, and the bytes of the tensors that are alive at once."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from featvis.tracing.watching import Watcher

Result = TypeVar("Result")


def timed(function: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """What a function returns and the seconds that it took, until the device had finished."""
    _finish(device)
    start = time.perf_counter()
    result = function()
    _finish(device)
    return result, time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def peak_memory(function: Callable[[], Any]) -> int:
    """The largest sum of bytes of the tensors that a function makes and that are alive at once; the same on every device.

    Tensors that were there before, such as weights, do not count, nor does what a single kernel needs for itself.
    """
    meter = _Meter()
    with meter:
        function()
    return meter.peak


class _Meter(Watcher):
    """Counts storages from the operation that makes them until nothing holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        for storage in _storages((arguments, keywords)):
            self.known.add(storage)
        result = self.perform(function, arguments, keywords)
        for storage in _storages(result):
            if storage not in self.known:
                self.known.add(storage)
                size = storage.nbytes()
                self.alive += size
                self.peak = max(self.peak, self.alive)
                weakref.finalize(storage, self._free, size)
        return result

    def _free(self, size: int) -> None:
        self.alive -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
