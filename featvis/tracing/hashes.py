"""Hashes of tensors and of a network's weights, for records that say what was measured."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's shape, type and values, 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers by name, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {tensor_hash(value)}".encode())
    return digest.hexdigest()[:16]
