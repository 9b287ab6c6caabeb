"""What an objective reads of a network: T(layer), from a forward pass that stops at the deepest layer asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.tracing.layer_table import LayerRow, resolution_layers
from featvis.tracing.networks import as_input, home, layer_named
from featvis.tracing.outputs import Form
from featvis.tracing.prepared import Prepared, Run
from featvis.tracing.trace import Trace, trace

Objective = Callable[[Callable[[str], Tensor]], Tensor]
"""Takes T, where T(layer) is a layer's output, to a scalar that is minimised, as in Lucent."""

Made = TypeVar("Made")

PRECISIONS = ("float32", "bfloat16", "float64")


class _Wanted(Exception):  # noqa: N818, not an error: it says which layer an objective asks for next
    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer


class Reader:
    """T, as an objective takes it: T(layer) is what the layer returned, T.by_channel(layer) the same with its channels in dimension 1."""

    def __init__(self, activations: Activations, held: dict[str, Tensor], picture: Tensor) -> None:
        self._activations, self._held, self._picture = activations, held, picture

    def __call__(self, name: str) -> Tensor:
        if name == "input":
            return self._picture
        features = self._activations.layer(name, self._held)
        return features.to(self._picture.dtype) if self._activations.autocast else features

    def by_channel(self, name: str) -> Tensor:
        return self._activations.form(name).of(self(name))


class Activations:
    """Runs a frozen twin of a network, in eval mode, as far as one objective reads it.

    module: stays as it is, in every respect. objective: called with T, where T(layer) is the output of a layer (dots, or underscores as
    in Lucent), T("input") the picture and T("labels") what the network returns. pixels: the network's input, (B, C, H, W), on which it is
    found out which layers are read. picture: what T("input") is.

    Batch norms are folded where no layer that is read changes by it, memory is laid out channels last; `prepared` says whether that
    gives the same activations to 1e-4; otherwise, and where that form ever raises anything, the plain twin is used and `notes` say so.
    precision: "bfloat16" runs the layers under autocast, "float64" the network in double precision; None keeps its own. A layer that
    runs several times is read at the last.

    Raises FeatvisError for a layer that the network does not have or that did not run, and where it refuses the input.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        pixels: Tensor,
        picture: Tensor,
        prepare: bool = True,
        precision: str | None = None,
    ) -> None:
        if precision is not None and precision not in PRECISIONS:
            raise FeatvisError(f"no precision {precision!r}; give one of {', '.join(PRECISIONS)}")
        self.module, self.objective = module, objective
        device, dtype = home(module)
        self.device, self.dtype = device or torch.device("cpu"), dtype or pixels.dtype
        if precision in ("float32", "float64"):
            self.dtype = getattr(torch, precision)
        self.autocast = False
        self._record: Trace | None = None
        self._example = pixels[:1]
        self.layers: list[str] = []
        self._names: dict[str, str] = {}
        with torch.no_grad(), torch.random.fork_rng(self._random_devices()):
            self._find_layers(pixels, picture)
            self._network = self._stopping(pixels)
            if prepare and self.total_stride is not None:
                self._network.prepare(lambda run: list(run(pixels).values()))
        self.autocast = precision == "bfloat16"

    def __call__(self, pixels: Tensor, picture: Tensor) -> Tensor:
        """The objective's value, a scalar; pixels: the network's input, picture: what T("input") is."""
        return self.use(lambda value: value(pixels, picture))

    def use(self, task: Callable[[Callable[[Tensor, Tensor], Tensor]], Made]) -> Made:
        """What a task makes of the objective, a function as this object is one; where the faster form fails in it, the task is repeated."""
        return self._network.use(lambda run: task(lambda pixels, picture: self._value(run, pixels, picture)))

    def accepts(self, pixels: Tensor) -> bool:
        """Whether the network takes pictures of this shape, as far as the objective reads it, and answers with at least one place."""
        try:
            with torch.no_grad():
                held = self._network.use(lambda run: self._held(run, pixels))
            return all(tensor.numel() > 0 for tensor in held.values())
        except FeatvisError:
            return False

    @property
    def prepared(self) -> bool:
        """Whether the faster form is in use."""
        return self._network.prepared

    @property
    def notes(self) -> list[str]:
        """What there is to say of the preparation, so far."""
        return self._network.notes

    @property
    def total_stride(self) -> int | None:
        """The period in pixels of everything between the input and what is read; None where the network cannot be traced."""
        try:
            return self._network.total_stride
        except FeatvisError:
            return None

    @property
    def strided(self) -> list[LayerRow]:
        """The layers with a stride that what is read depends on, each once; none where the network cannot be traced."""
        with contextlib.suppress(FeatvisError):
            record = self._network.record
            return list(dict.fromkeys(row for layer in self.layers for row in resolution_layers(record, layer or None)))
        return []

    def _random_devices(self) -> list[int]:
        return [self.device.index or 0] if self.device.type == "cuda" else []

    def _dotted(self, name: str) -> str:
        """A layer's dotted name, by any name it has; "" for the network itself, whose output "labels" are."""
        if name not in self._names:
            self._names[name] = "" if name == "labels" else layer_named(self.module, name)
        return self._names[name]

    def _stopping(self, pixels: Tensor) -> Prepared:
        return Prepared(self.module, self.layers, pixels, self.dtype, self._record)

    def _find_layers(self, pixels: Tensor, picture: Tensor) -> None:
        """Run and ask until the objective has all that it wants."""
        held: dict[str, Tensor] = {}
        while True:
            try:
                self.objective(Reader(self, held, picture))
            except _Wanted as wanted:
                self.layers.append(wanted.layer)
                held = self._held(self._stopping(pixels).plain, pixels)
            else:
                return

    def layer(self, name: str, held: dict[str, Tensor]) -> Tensor:
        """A layer's output, of those that are held."""
        layer = self._dotted(name)
        if layer not in held:
            raise _Wanted(layer)
        return held[layer]

    def form(self, name: str) -> Form:
        """How a layer's output is read, as its trace says; channels are dimension 1 where the network cannot be traced."""
        with contextlib.suppress(FeatvisError):
            self._record = self._record or trace(self.module, as_input(self.module, self._example))
            return self._record.form_at(self._dotted(name))
        return Form()

    def _held(self, run: Run, pixels: Tensor) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16) if self.autocast else contextlib.nullcontext():
            return run(pixels)

    def _value(self, run: Run, pixels: Tensor, picture: Tensor) -> Tensor:
        value = self.objective(Reader(self, self._held(run, pixels), picture))
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise FeatvisError(f"the objective returns {what}; expected a tensor with one value")
        return value.reshape(())


def objective_value(
    module: nn.Module, objective: Objective, pixels: Tensor, picture: Tensor | None = None, prepare: bool = False
) -> Tensor:
    """What an objective says of the network's input, (B, C, H, W), a scalar; picture: what T("input") is, where not the same."""
    picture = pixels if picture is None else picture
    return Activations(module, objective, pixels, picture, prepare)(pixels, picture)
