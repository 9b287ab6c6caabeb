"""Whether a network is still what it was."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

WATCHED = 512
"""So many numbers of each tensor are compared, all of them where it has no more."""

PLAIN = (bool, int, float, str, torch.dtype, type(None))
"""Kinds of attributes that say how a layer computes."""

Attributes = dict[tuple[int, str], Any]

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class State:
    """A network's parameters, buffers, layers and forward hooks at one time, to tell later whether they have changed.

    torch counts what is written to a tensor, which costs nothing to ask. It does not count what is written through `.data`, as some
    training loops do; for these, up to WATCHED numbers of each tensor, evenly spread, are kept and compared. So are the layers' plain
    attributes, such as a stride; but for those that the network's own passes change, such as a count of its calls.

    before: its plain_attributes before it was used; where given, those that have changed since are not looked at.
    """

    def __init__(self, module: nn.Module, before: Attributes | None = None) -> None:
        self._attributes = plain_attributes(module)
        if before is not None:
            self._attributes = dict(self._attributes.items() & before.items())
        self._parts = parts = list(module.modules())  # Held, so that no other layer takes the place of one in memory.
        self._seen = _seen(parts)
        # Views of the network's own memory, which are gathered in one operation.
        views = [view for tensor in _tensors(parts) if (view := _spread(tensor)) is not None]
        kinds = sorted(views, key=_kind)
        self._views = [list(alike) for _, alike in groupby(kinds, key=_kind)]
        self._numbers = [torch.cat(alike) for alike in self._views]

    def holds(self, module: nn.Module) -> bool:
        """Whether the network is as it was."""
        same = (
            _seen(list(module.modules())) == self._seen and self._attributes.items() <= plain_attributes(module).items()
        )
        return same and all(
            torch.equal(torch.cat(views), numbers) for views, numbers in zip(self._views, self._numbers, strict=True)
        )


def plain_attributes(module: nn.Module) -> Attributes:
    """Numbers, names and tuples that layers hold as attributes, by the layer's place and the attribute's name; not whether they train."""
    return {
        (place, name): value
        for place, part in enumerate(module.modules())
        for name, value in vars(part).items()
        if name != "training" and _plain(value)
    }


def _plain(value: object) -> bool:
    return all(map(_plain, value)) if isinstance(value, tuple) else isinstance(value, PLAIN)


def _tensors(parts: list[nn.Module]) -> list[Tensor]:
    return [one for part in parts for one in (*part._parameters.values(), *part._buffers.values()) if one is not None]


def _seen(parts: list[nn.Module]) -> list[Any]:
    """Which objects a network is made of, and how often torch counted that each tensor was written to."""
    versions = [(id(one), _address(one), 0 if one.is_inference() else one._version) for one in _tensors(parts)]
    return [*versions, *((id(part), *part._forward_pre_hooks, *part._forward_hooks) for part in parts)]


def _address(tensor: Tensor) -> int:
    return tensor.data_ptr() if tensor.layout == torch.strided else 0


def _spread(tensor: Tensor) -> Tensor | None:
    """A view of numbers all over a tensor's memory, as integers, in which NaN equals itself; None where it has no plain memory."""
    if tensor.layout != torch.strided or not tensor.numel():
        return None
    memory = tensor.untyped_storage()
    kind = _INTEGERS.get(tensor.element_size(), torch.uint8)
    numbers = torch.empty(0, dtype=kind, device=tensor.device).set_(memory)
    return numbers[:: -(-len(numbers) // WATCHED)]


def _kind(view: Tensor) -> str:
    return f"{view.device} {view.dtype}"
