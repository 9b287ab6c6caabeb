"""The fastest form of a network for gradients: batch norms folded into convolutions, channels last."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from featvis.tracing import Operation, Trace

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def prepare_network(network: nn.Module, record: Trace, keep: str | None = None) -> nn.Module:
    """Fold and lay out a network that may be changed, such as a fresh copy; returns it.

    record: the trace of the same network. keep: a layer whose own output must stay what it is.
    """
    for convolution, norm in foldable(network, record, keep):
        folded = fuse_conv_bn_eval(
            cast(nn.Conv2d, network.get_submodule(convolution)), cast(nn.BatchNorm2d, network.get_submodule(norm))
        )
        network.set_submodule(convolution, folded)
        network.set_submodule(norm, nn.Identity())
    network.requires_grad_(False)
    if any(parameter.ndim == 4 for parameter in network.parameters()):
        network = cast(Any, network).to(memory_format=torch.channels_last)
    return network


def foldable(network: nn.Module, record: Trace, keep: str | None = None) -> list[tuple[str, str]]:
    """Names of the (convolution, batch norm) pairs where the norm alone reads what the convolution wrote, each called once."""
    readers = Counter(number for operation in record.operations for number in set(operation.inputs))
    writer = {
        number: operation for operation in record.operations for number in operation.outputs if number is not None
    }
    pairs = []
    for operation in record.operations:
        if "batch_norm" not in operation.operator or not operation.inputs:
            continue
        source = writer.get(operation.inputs[0])
        if source is None or source.operator != "convolution" or source.layer == keep:
            continue
        alone = readers[operation.inputs[0]] == 1 and record.output != operation.inputs[0]
        if alone and _plain(network, record, source, _CONVOLUTIONS) and _plain(network, record, operation, _NORMS):
            pairs.append((source.layer, operation.layer))
    return pairs


def _plain(network: nn.Module, record: Trace, operation: Operation, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether an operation is all that a layer of one of these very types does, once, with nothing hooked to it."""
    try:
        layer = network.get_submodule(operation.layer)
    except AttributeError:
        return False
    names = [name for name, part in network.named_modules(remove_duplicate=False) if part is layer]
    hooked = bool(layer._forward_hooks or layer._forward_pre_hooks)
    statistics = getattr(layer, "running_mean", ...) is not None
    return (
        type(layer) in kinds
        and len(names) == 1
        and record.layer_calls[operation.layer] == 1
        and not hooked
        and statistics
    )
