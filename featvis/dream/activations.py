"""What an objective reads of a network: T(layer), from a forward pass that stops at the deepest layer asked for."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.tracing.folding import prepare_network
from featvis.tracing.networks import copy_module, layer_named, output_tensor
from featvis.tracing.refusals import refusals
from featvis.tracing.trace import Trace, trace

Objective = Callable[[Callable[[str], Tensor]], Tensor]
"""Takes T, where T(layer) is a layer's output, to a scalar that is minimised, as in Lucent."""

PRECISIONS = ("float32", "bfloat16", "float64")

SAME = 1e-4
"""Two forms of a network agree where the layers asked for differ by less than this, relative to their norm."""


class _Reached(Exception):  # noqa: N818, not an error: it ends a forward pass at the deepest layer that was asked for
    pass


class _Wanted(Exception):  # noqa: N818, not an error: it says which layer an objective asks for next
    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer


class Activations:
    """Runs a frozen twin of a network, in eval mode, as far as one objective reads it.

    module: stays as it is, in every respect. objective: called with T, where T(layer) is the output of a layer (dots, or underscores as
    in Lucent), T("input") the picture and T("labels") what the network returns. pixels: the network's input, (B, C, H, W), on which it is
    found out which layers are read. picture: what T("input") is.

    Batch norms are folded where no layer that is read changes by it, memory is laid out channels last; `prepared` says whether that
    gives the same activations to 1e-4, otherwise the plain twin is used and `notes` say so. precision: "bfloat16" runs the layers under
    autocast, "float64" the network in double precision; None keeps its own. A layer that runs several times is read at the last.

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
        parameter = next(module.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = pixels.dtype if parameter is None else parameter.dtype
        if precision in ("float32", "float64"):
            self.dtype = getattr(torch, precision)
        self.autocast = False
        self.notes: list[str] = []
        self.prepared = False
        self.layers: list[str] = []
        self._names: dict[str, str] = {}
        self._calls: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._last: str | None = None
        self._held: dict[str, Tensor] = {}
        self._network = self._plain()
        with torch.no_grad(), torch.random.fork_rng(self._random_devices()):
            self._find_layers(pixels, picture)
            self._record = self._traced(pixels)
            self._network = self._hooked(self._plain())
            if prepare and self._record is not None:
                self._try_prepared(self._record, pixels)
        self.autocast = precision == "bfloat16"

    def __call__(self, pixels: Tensor, picture: Tensor) -> Tensor:
        """The objective's value, a scalar; pixels: the network's input, picture: what T("input") is."""
        self._run(pixels)
        value = self.objective(self._reader(picture))
        self._held.clear()
        if not isinstance(value, Tensor) or value.numel() != 1:
            what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise FeatvisError(f"the objective returns {what}; expected a tensor with one value")
        return value.reshape(())

    def accepts(self, pixels: Tensor) -> bool:
        """Whether the network takes pictures of this shape, as far as the objective reads it, and answers with at least one place."""
        try:
            with torch.no_grad():
                self._run(pixels)
            return all(tensor.numel() > 0 for tensor in self._held.values())
        except FeatvisError:
            return False
        finally:
            self._held.clear()

    @property
    def total_stride(self) -> int | None:
        """The period in pixels of everything between the input and what is read; None where the network cannot be traced."""
        if self._record is None:
            return None
        return math.lcm(1, *(self._record.total_stride(layer or None) for layer in self.layers))

    def _plain(self) -> nn.Module:
        return copy_module(self.module).to(self.dtype)

    def _own(self, pixels: Tensor) -> Tensor:
        """A copy on the network's device and in its precision: the first layer may work in place."""
        return pixels.to(self.device, self.dtype, copy=True)

    def _random_devices(self) -> list[int]:
        return [self.device.index or 0] if self.device.type == "cuda" else []

    def _dotted(self, name: str) -> str:
        """A layer's dotted name, by any name it has; "" for the network itself, whose output "labels" are."""
        if name not in self._names:
            self._names[name] = "" if name == "labels" else layer_named(self.module, name)
        return self._names[name]

    def _reader(self, picture: Tensor) -> Callable[[str], Tensor]:
        def read(name: str) -> Tensor:
            if name == "input":
                return picture
            layer = self._dotted(name)
            if layer not in self._held:
                raise _Wanted(layer)
            tensor = self._held[layer]
            return tensor.to(picture.dtype) if self.autocast else tensor

        return read

    def _find_layers(self, pixels: Tensor, picture: Tensor) -> None:
        """Run and ask until the objective has all that it wants."""
        while True:
            try:
                self.objective(self._reader(picture))
            except _Wanted as wanted:
                self.layers.append(wanted.layer)
                self._watch(pixels)
                if wanted.layer not in self._held:
                    raise FeatvisError(
                        f"the layer {wanted.layer!r} did not run on this input, or returned no tensor; "
                        "`featvis layers` lists those that do"
                    ) from None
            else:
                break
        self._held.clear()

    def _watch(self, pixels: Tensor) -> None:
        """Run the whole network once, count the calls of the layers that are read, and remember which one returns last."""
        self._calls.clear()
        network = self._plain()
        for name in self.layers:
            network.get_submodule(name).register_forward_hook(self._counting(name))
        try:
            with refusals(pixels), self._casting():
                network(self._own(pixels))
        except FeatvisError:
            # A picture may be too small for layers that nobody reads.
            if not all(name in self._held for name in self.layers):
                raise

    def _counting(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            with contextlib.suppress(FeatvisError):
                # A copy: what follows may work in place.
                self._held[name] = output_tensor(output).clone()
                self._calls[name] += 1
                self._last = name

        return hook

    def _traced(self, pixels: Tensor) -> Trace | None:
        try:
            return trace(self.module, pixels[:1].to(next(self.module.parameters(), pixels)))
        except FeatvisError:
            return None

    def _hooked(self, network: nn.Module) -> nn.Module:
        for name in self.layers:
            network.get_submodule(name).register_forward_hook(self._keeping(name))
        return network

    def _keeping(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            self._seen[name] += 1
            if name == self._last and self._seen[name] == self._calls[name]:
                self._held[name] = output_tensor(output)
                raise _Reached
            # A copy: what follows may work in place.
            self._held[name] = output_tensor(output).clone()

        return hook

    def _try_prepared(self, record: Trace, pixels: Tensor) -> None:
        plain = self._network
        folded = prepare_network(self._plain(), record, keep=self.layers)
        outputs = []
        for network in (plain, self._hooked(folded)):
            self._network = network
            self._run(pixels)
            outputs.append(dict(self._held))
        self._held.clear()
        expected, found = outputs
        self.prepared = all(
            bool((found[name] - tensor).norm() <= SAME * tensor.norm()) for name, tensor in expected.items()
        )
        if not self.prepared:
            self._network = plain
            self.notes.append(
                "the network could not be prepared (its folded form gives other activations); used as it is"
            )

    def _casting(self) -> contextlib.AbstractContextManager[object]:
        if not self.autocast:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _run(self, pixels: Tensor) -> None:
        self._held.clear()
        self._seen.clear()
        with refusals(pixels), self._casting(), contextlib.suppress(_Reached):
            self._network(self._own(pixels))


def objective_value(
    module: nn.Module, objective: Objective, pixels: Tensor, picture: Tensor | None = None, prepare: bool = False
) -> Tensor:
    """What an objective says of the network's input, (B, C, H, W), a scalar; picture: what T("input") is, where not the same."""
    picture = pixels if picture is None else picture
    return Activations(module, objective, pixels, picture, prepare)(pixels, picture)
