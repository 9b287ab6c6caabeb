"""Hashes of tensors, of a network's weights and of what it does, for records that say what was measured."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from featvis.tracing.trace import Trace, Value


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape, type and values, 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers by name, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {tensor_hash(value)}".encode())
    return digest.hexdigest()[:16]


def operations_of(record: Trace) -> list[str]:
    """What a network does, a line for each operation: operator, layer, shape, and 8 digits of the SHA-256 of its arguments.

    Two networks with the same weights, one of them with another nonlinearity, have other lines.
    """
    return [
        f"{operation.operator} in {operation.layer or 'the network itself'} {operation.shape} "
        + hashlib.sha256(_plain((operation.overload, operation.arguments, operation.keywords)).encode()).hexdigest()[:8]
        for operation in record.operations
    ]


def _plain(arguments: Any) -> str:
    """Arguments as text that is the same in every process."""
    return repr(tree_leaves(tree_map(_as_text, arguments, is_leaf=lambda item: isinstance(item, Value))))


def _as_text(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return tensor_hash(leaf)
    if isinstance(leaf, torch.device):
        return leaf.type
    return repr(leaf) if isinstance(leaf, bool | int | float | complex | str | Value) or leaf is None else str(leaf)
