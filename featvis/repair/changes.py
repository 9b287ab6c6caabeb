"""What a fix did to a network, and how a layer becomes another one wherever the network refers to it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from featvis.errors import FeatvisError

NOT_REACHED = "not reached"
"""What stands in place of the layer afterwards where a fix would apply, but finds no module to change."""


@dataclass(frozen=True)
class Change:
    """One layer that a fix changed, or that it could not reach.

    layer: its dotted name, empty for the network itself. before, after: what computes there, in a few words; NOT_REACHED after what
    is a function call in the network's own code. note: what a user should know.

    >>> featvis.Change("stem.0", "3x3 convolution, stride 2", "4x4 convolution, stride 2").reached
    True
    """

    layer: str
    before: str
    after: str
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the layer was changed."""
        return self.after != NOT_REACHED


def become(layer: nn.Module, other: nn.Module) -> None:
    """Turn a layer into another one in place, so that every name, list and closure that refers to it sees the new one.

    Hooks on the layer and its training mode stay. Raises FeatvisError for compiled modules, whose kind cannot change.
    """
    kept = {
        name: value
        for name, value in vars(layer).items()
        if name.endswith("_hooks") or "_hooks_" in name or name == "training"
    }
    try:
        layer.__class__ = type(other)
    except TypeError as error:
        raise FeatvisError(f"a layer of type {type(layer).__name__} cannot be replaced ({error})") from None
    layer.__dict__ = {**vars(other), **kept}
    for part in layer.modules():
        part.training = layer.training


def layer_names(module: nn.Module) -> dict[nn.Module, str]:
    """The first dotted name of each layer; shared layers come once."""
    return {part: name for name, part in module.named_modules()}
