"""What a network does to its input, operation by operation, seen while it runs.

One forward pass is watched below autograd, where functional pooling, slicing and exported programs look the same as modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from featvis.errors import FeatvisError
from featvis.tracing.following import follow, rearranges
from featvis.tracing.grids import Grid
from featvis.tracing.networks import copy_module
from featvis.tracing.outputs import Form, form_of, form_within, output_tensor, outputs_in, preferred
from featvis.tracing.places import Place, varying
from featvis.tracing.refusals import check_traceable, refusals
from featvis.tracing.steps import Lost, Places, Step
from featvis.tracing.traced import TracedPeriods
from featvis.tracing.watching import Watcher
from featvis.tracing.windows import Window, window_of

WEIGHTED = ("convolution", "mm", "addmm", "bmm", "baddbmm", "mkldnn_rnn_layer", "_cudnn_rnn")
"""Operations that weights take part in."""

COARSE = torch.float16, torch.bfloat16
"""Precisions that round gradients to three digits, of which the first also loses small ones."""


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the input, by its number in the trace."""

    number: int


@dataclass(frozen=True)
class Operation:
    """One operation on a tensor that depends on the input.

    operator: its name without overload ("convolution"). layer: the dotted name of the innermost module that was running, and call:
    which module call that was. arguments, keywords: as given, traced tensors replaced by Values. places: where the elements of its first
    result lie; lost: what made that unknown, empty where it is not, or was before.
    """

    operator: str
    overload: Any
    layer: str
    call: int
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: tuple[int, ...]
    shape: tuple[int, ...]
    grid: Grid | None
    places: Places = ()
    lost: str = ""

    @property
    def inputs(self) -> tuple[int, ...]:
        leaves = tree_leaves((self.arguments, self.keywords), is_leaf=lambda item: isinstance(item, Value))
        return tuple(leaf.number for leaf in leaves if isinstance(leaf, Value))

    @property
    def window(self) -> Window | None:
        """What it reads along each axis, None where it reads no windows."""
        return window_of(self.operator, self.arguments)


@dataclass
class Trace:
    """The operations of one forward pass, in order, with the value each layer returned last.

    coarse: the first coarse precision that was computed in and the layer it was in, None where there was none.
    """

    operations: list[Operation] = field(default_factory=list)
    grids: dict[int, Grid | None] = field(default_factory=dict)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    along: dict[int, set[int]] = field(default_factory=dict)
    layer_outputs: dict[str, int] = field(default_factory=dict)
    layer_calls: dict[str, int] = field(default_factory=dict)
    layer_types: dict[str, str] = field(default_factory=dict)
    output: int | None = None
    form: Form = field(default_factory=Form)
    coarse: tuple[torch.dtype, str] | None = None

    def leading_to(self, value: int | None) -> list[Operation]:
        """The operations that a value depends on, in order."""
        wanted = {value}
        found = []
        for operation in reversed(self.operations):
            if wanted.intersection(operation.outputs):
                wanted.update(operation.inputs)
                found.append(operation)
        return found[::-1]

    def form_at(self, layer: str) -> Form:
        """How a layer's output is read, the network's own where it is "": its channels are dimension 1, or the last of tokens."""
        if not layer:
            return self.form
        number = self.layer_outputs.get(layer)
        if number is None:
            return Form()
        return form_within(self.shapes[number], self.along[number], self.shapes[0])

    def periods(self, layer: str | None = None) -> TracedPeriods:
        """What the strides between the input and a layer's output (the network's where None) lead to, by axis.

        Raises FeatvisError for a layer that did not run.
        """
        if layer is not None and layer not in self.layer_outputs:
            raise FeatvisError(f"the layer {layer!r} did not run on this input; `featvis layers` lists those that do")
        end = self.output if layer is None else self.layer_outputs[layer]
        last = None if end is None else self.grids[end]
        return TracedPeriods.of(self.leading_to(end), tuple(self.shapes[0][2:]), last)

    def total_stride(self, layer: str | None = None) -> int:
        """The period in pixels of everything between the input and a layer's output (the network's where None).

        The least common multiple over axes and branches; what stands for the whole map, such as a global mean, repeats nowhere and does
        not count, nor does what repeats after no whole number of pixels that fits. Raises FeatvisError for a layer that did not run.
        """
        return math.lcm(1, *self.periods(layer).strides)


class _Recorder(Watcher):
    """Writes each operation on a traced tensor into a Trace."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.trace = Trace()
        self.numbers = WeakIdKeyDictionary()
        self.running: list[tuple[str, int]] = [("", 0)]
        self.calls = 0
        self.places: dict[int, Places] = {}
        self._number(example, (Place.of_pixels(example.shape),))

    def _number(self, tensor: Tensor, places: Places) -> int:
        number = len(self.trace.shapes)
        self.numbers[tensor] = number
        self.places[number] = places
        self.trace.grids[number] = Grid.of(places[0], tensor.shape) if places else None
        self.trace.shapes[number] = tuple(tensor.shape)
        self.trace.along[number] = {dimension for place in places for axis in place.axes for dimension in varying(axis)}
        return number

    def _places_of(self, tensor: Tensor) -> Places:
        number = self.numbers.get(tensor)
        return () if number is None else self.places[number]

    def number_of(self, tensor: Tensor) -> int | None:
        return self.numbers.get(tensor)

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        traced = tree_map_only(Tensor, self._as_value, (tuple(arguments), keywords))
        result = self.perform(function, arguments, keywords)
        inputs = [leaf for leaf in tree_leaves(traced) if isinstance(leaf, Value)]
        if not inputs:
            return result
        operator = function.overloadpacket.__name__.removesuffix("_") or function.overloadpacket.__name__
        if operator.startswith("new_") or operator.endswith("_like"):
            return result  # reads the shape, not the values
        tensors = [item for item in tree_leaves(result) if isinstance(item, Tensor)]
        places, lost = self._followed(function, tuple(arguments), keywords, inputs, tensors)
        numbers = tuple(self._number(tensor, its) for tensor, its in zip(tensors, places, strict=True))
        if tensors:
            self._append(operator, function, traced, numbers, places[0], lost)
            if self.trace.coarse is None and tensors[0].dtype in COARSE:
                self.trace.coarse = tensors[0].dtype, self.running[-1][0]
        target = arguments[0] if function._schema.is_mutable else None
        if isinstance(target, Tensor) and target._base is not None:
            self._write_through(target._base, target)
        return result

    def _followed(
        self,
        function: Any,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        inputs: list[Value],
        results: list[Tensor],
    ) -> tuple[list[Places], str]:
        """Where the elements of each result lie, and what made that unknown, if this operation did."""
        if any(not self.places[value.number] for value in inputs):
            return [() for _ in results], ""
        step = Step(function, arguments, keywords, results, self._places_of)
        try:
            return follow(step), ""
        except Lost:
            return [() for _ in results], step.name

    def _append(
        self, operator: str, function: Any, traced: Any, numbers: tuple[int, ...], places: Places, lost: str
    ) -> None:
        layer, call = self.running[-1]
        shape, grid = self.trace.shapes[numbers[0]], self.trace.grids[numbers[0]]
        found = Operation(
            operator,
            function,
            layer,
            call,
            traced[0],
            traced[1],
            numbers,
            shape,
            grid,
            () if rearranges(function) else places,
            lost,
        )
        self.trace.operations.append(found)

    def _write_through(self, base: Tensor, view: Tensor) -> None:
        """What was written into a view of a tensor is part of that tensor from now on."""
        before, part = self._as_value(base), self._as_value(view)
        inputs = [item for item in (before, part) if isinstance(item, Value)]
        positions = torch.empty_strided(base.shape, base.stride(), dtype=torch.long, device=base.device)
        positions.copy_(torch.arange(base.numel(), device=base.device).view(base.shape))
        where = positions.as_strided(view.shape, view.stride(), view.storage_offset() - base.storage_offset())
        places = [own for own in (self._places_of(base), self._places_of(view)) if own]
        kept = (
            places[0]
            if before in inputs or not places
            else tuple(_put(place, where, view, base) for place in places[0])
        )
        written = (self._number(base, kept),)
        overload = torch.ops.aten.put.default
        self._append("put", overload, ((before, where.contiguous(), part), {}), written, kept, "")

    def _as_value(self, tensor: Tensor) -> Tensor | Value:
        number = self.numbers.get(tensor)
        return tensor if number is None else Value(number)

    def settle(self, output: Any) -> None:
        """Find out which of the network's outputs is taken, and how it is read."""
        outputs = outputs_in(output)
        numbers = {name: self.number_of(tensor) for name, tensor in outputs.items()}
        depending = {name: number for name, number in numbers.items() if number is not None}
        if not depending:
            self.trace.output = self.number_of(output_tensor(output))
            return
        if len(depending) > 1:
            name = self._preferred(outputs, depending)
        else:
            (name,) = depending
        self.trace.output = depending[name]
        self.trace.form = form_of(outputs, name, self.trace.along[depending[name]], self.trace.shapes[0])

    def _preferred(self, outputs: Mapping[str, Tensor], depending: Mapping[str, int]) -> str:
        """The output to take of several that depend on the input, by name."""
        leading = {name: self.trace.leading_to(its) for name, its in depending.items()}
        made_of = {
            name: {number for operation in before for number in operation.inputs} for name, before in leading.items()
        }
        upstream = {
            name: {other for other, number in depending.items() if other != name and number in made_of[name]}
            for name in depending
        }
        depths = {name: sum(operation.operator in WEIGHTED for operation in before) for name, before in leading.items()}
        return preferred({name: outputs[name] for name in depending}, upstream, depths)

    def enter(self, name: str, module: nn.Module) -> None:
        self.calls += 1
        self.running.append((name, self.calls))
        self.trace.layer_types[name] = type(module).__name__
        self.trace.layer_calls[name] = self.trace.layer_calls.get(name, 0) + 1

    def leave(self, name: str, output: Any) -> None:
        self.running.pop()
        try:
            number = self.number_of(output_tensor(output))
        except FeatvisError:
            return
        if number is not None:
            self.trace.layer_outputs[name] = number


def _put(place: Place, where: Tensor, view: Tensor, base: Tensor) -> Place:
    """Places that were written into a part of a tensor that had none."""
    axes = []
    for axis in place.axes:
        written = torch.full(base.shape, torch.nan, dtype=torch.float64)
        written.view(-1)[where.reshape(-1)] = axis.expand(view.shape).reshape(-1)
        axes.append(written)
    return place.with_axes(axes)


def trace(module: nn.Module, example: Tensor) -> Trace:
    """Run a copy of the network once, without gradients, and record what happens to the input.

    example: (B, C, H, W) or (B, C, L). Raises FeatvisError for TorchScript, for weights on the meta device, and where the network
    refuses the input, with its own words.
    """
    check_traceable(module)
    twin = copy_module(module)
    # A copy, as the first layer may work in place; laid out plainly, as its layout would go on to all layers.
    example = example.detach().clone(memory_format=torch.contiguous_format)
    recorder = _Recorder(example)
    for name, part in twin.named_modules():
        part.register_forward_pre_hook(_entering(recorder, name))
        part.register_forward_hook(_leaving(recorder, name))
    with torch.no_grad(), refusals(example):
        with recorder:
            output = twin(example)
        recorder.settle(output)
    return recorder.trace


def _entering(recorder: _Recorder, name: str) -> Callable[..., None]:
    return lambda module, arguments: recorder.enter(name, module)


def _leaving(recorder: _Recorder, name: str) -> Callable[..., None]:
    return lambda module, arguments, output: recorder.leave(name, output)
