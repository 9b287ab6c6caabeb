"""What a network holds: weights from files and for files, and the statistics of its batch norms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from featvis.files import read_metadata
from featvis.models.checkpoints import load_strictly, read_checkpoint

Network = TypeVar("Network", bound=nn.Module)


def half(network: nn.Module) -> dict[str, Tensor]:
    """The weights rounded to float16; counts stay whole numbers."""
    return {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }


def steps_and_seed(weights: Path) -> tuple[int, int]:
    """Of the GAN training that wrote these weights."""
    found = re.search(r"(\d+) steps, seed (\d+)", read_metadata(weights)["recipe"])
    assert found is not None
    return int(found[1]), int(found[2])


def with_weights(network: Network, path: Path) -> Network:
    """The network in eval mode, with the weights of a file."""
    load_strictly(network, read_checkpoint(path), str(path))
    return network.eval()


@torch.no_grad()
def settle(network: nn.Module, inputs: Tensor | list[Tensor]) -> None:
    """Give the batch norms the statistics of these batches, (batches, B, ...)."""
    update_bn(inputs, network)
