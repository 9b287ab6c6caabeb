"""What a network says of an input that it does not take, in one line."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError


class refusals:  # noqa: N801, reads as a phrase: `with refusals(images)`
    """Turns what a network raises on its input into one line that says what was given."""

    def __init__(self, images: Tensor) -> None:
        self.shape = tuple(images.shape)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, FeatvisError):
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            name = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            raise FeatvisError(
                f"the network refuses an input of shape {self.shape}: {name}{said}; check --channels and --size"
            ) from error


def check_traceable(module: nn.Module) -> None:
    """Raises FeatvisError for a network whose operations cannot be watched, or whose weights are not there."""
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            what = f"the layer {name!r}" if name else "the network"
            raise FeatvisError(
                f"{what} is TorchScript, whose layers cannot be watched; give the nn.Module that it was made from"
            )
    if any(one.is_meta for one in (*module.parameters(), *module.buffers())):
        raise FeatvisError(
            "the network is on the meta device and has no weights; give it some: network.to_empty(device='cpu'), then load_state_dict"
        )
