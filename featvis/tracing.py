"""What a network does to its input, operation by operation, seen while it runs.

One forward pass is watched below autograd, where functional pooling, slicing and exported programs look the same as modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from featvis.errors import FeatvisError
from featvis.modules import copy_module, output_tensor


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the input, by its number in the trace."""

    number: int


@dataclass(frozen=True)
class Grid:
    """Where a tensor's pixels lie on the input: the stride of each spatial axis, its size, and which dimension it is.

    `dimensions` is None where the tensor holds the pixels in another order, such as tokens.
    """

    strides: tuple[Fraction, ...]
    sizes: tuple[int, ...]
    dimensions: tuple[int, ...] | None


@dataclass(frozen=True)
class Operation:
    """One operation on a tensor that depends on the input.

    operator: its name without overload ("convolution"). layer: the dotted name of the innermost module that was running, and call:
    which module call that was. arguments, keywords: as given, traced tensors replaced by Values. `window`: kernel size, stride
    and dilation where it has them.
    """

    operator: str
    overload: Any
    layer: str
    call: int
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    outputs: tuple[int | None, ...]
    shape: tuple[int, ...]
    grid: Grid | None

    @property
    def inputs(self) -> tuple[int, ...]:
        leaves = tree_leaves((self.arguments, self.keywords), is_leaf=lambda item: isinstance(item, Value))
        return tuple(leaf.number for leaf in leaves if isinstance(leaf, Value))


@dataclass(frozen=True)
class LayerRow:
    """One line of the layer table. kernel and stride are empty where the layer has none; total_stride is None past the grid."""

    name: str
    type: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    total_stride: tuple[Fraction, ...] | None
    shape: tuple[int, ...]
    mark: str


@dataclass
class Trace:
    """The operations of one forward pass, in order, with the value each layer returned last."""

    operations: list[Operation] = field(default_factory=list)
    grids: dict[int, Grid | None] = field(default_factory=dict)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    layer_outputs: dict[str, int] = field(default_factory=dict)
    layer_calls: dict[str, int] = field(default_factory=dict)
    layer_types: dict[str, str] = field(default_factory=dict)
    output: int | None = None

    def leading_to(self, value: int | None) -> list[Operation]:
        """The operations that a value depends on, in order."""
        wanted = {value}
        found = []
        for operation in reversed(self.operations):
            if wanted.intersection(operation.outputs):
                wanted.update(operation.inputs)
                found.append(operation)
        return found[::-1]

    def total_stride(self, layer: str | None = None) -> int:
        """The period in pixels of everything between the input and a layer's output (the network's where None).

        The least common multiple over axes and branches; a window that covers the whole map, such as global pooling, repeats
        nowhere and does not count. Raises FeatvisError for a layer that did not run.
        """
        if layer is not None and layer not in self.layer_outputs:
            raise FeatvisError(f"the layer {layer!r} did not run on this input; `featvis layers` lists those that do")
        end = self.output if layer is None else self.layer_outputs[layer]
        strides = [
            stride.numerator
            for operation in self.leading_to(end)
            if operation.grid is not None
            for stride in operation.grid.strides
        ]
        return math.lcm(1, *strides)

    def layer_rows(self) -> list[LayerRow]:
        """A row for each layer without children that ran, and for each function that changes the resolution."""
        rows: list[LayerRow] = []
        calls: dict[int, int] = {}
        parents = {name.rpartition(".")[0] for name in self.layer_types if name}
        for operation in self.operations:
            kernel, stride = window(operation)
            before = [self.grids.get(number) for number in operation.inputs]
            mark = _mark(operation, before, stride)
            is_leaf = operation.layer not in parents and operation.layer in self.layer_types
            if is_leaf and operation.call in calls:
                row = rows[calls[operation.call]]
                rows[calls[operation.call]] = replace(
                    row,
                    kernel=row.kernel or kernel,
                    stride=row.stride or stride,
                    total_stride=_strides(operation.grid),
                    shape=operation.shape,
                    mark=row.mark or mark,
                )
                continue
            if is_leaf:
                calls[operation.call] = len(rows)
            elif not mark:
                continue
            kind = self.layer_types[operation.layer] if is_leaf else f"({operation.operator})"
            rows.append(
                LayerRow(operation.layer, kind, kernel, stride, _strides(operation.grid), operation.shape, mark)
            )
        return rows


def _strides(grid: Grid | None) -> tuple[Fraction, ...] | None:
    return None if grid is None or grid.dimensions is None else grid.strides


def _mark(operation: Operation, before: Iterable[Grid | None], stride: tuple[int, ...]) -> str:
    """What an operation does to the resolution, in a word; empty where it leaves it alone."""
    operator = operation.operator
    pooling = "pool" in operator
    transposed = operator == "convolution" and operation.arguments[6]
    if operation.grid is None and any(before):
        return "global" if pooling or operator in ("mean", "convolution") else ""
    if operator.startswith("upsample") or operator == "pixel_shuffle" or (transposed and max(stride) > 1):
        return "upsampling"
    if pooling:
        return "pooling"
    return "strided" if stride and max(stride) > 1 else ""


def window(operation: Operation) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel size and stride of an operation, empty where it has none."""
    arguments = operation.arguments
    if operation.operator == "convolution":
        return tuple(arguments[1].shape[2:]), tuple(arguments[3])
    if operation.operator in _POOLING:
        kernel = tuple(arguments[1])
        return kernel, tuple(arguments[2]) if len(arguments) > 2 and arguments[2] else kernel
    if operation.operator == "slice":
        return (1,), (arguments[4] if len(arguments) > 4 else 1,)
    if operation.operator == "pixel_unshuffle":
        return (arguments[1],), (arguments[1],)
    return (), ()


_POOLING = ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d")


def _scaled(grid: Grid, factors: Iterable[Fraction | int], shape: tuple[int, ...]) -> Grid | None:
    """The grid after each axis' stride was multiplied; None where a single window covers the whole map."""
    assert grid.dimensions is not None
    sizes = tuple(shape[dimension] for dimension in grid.dimensions)
    if all(size == 1 for size in sizes) and any(size > 1 for size in grid.sizes):
        return None
    strides = tuple(stride * factor for stride, factor in zip(grid.strides, factors, strict=True))
    return Grid(strides, sizes, grid.dimensions)


def _per_axis(values: Any, count: int) -> tuple[int, ...]:
    """One value for each axis; a one-dimensional map may stand in a picture of one row, its values are the last ones."""
    values = tuple(values)
    return values[-count:] if len(values) >= count else values * count


def _grid_after(operator: str, arguments: tuple[Any, ...], grid: Grid, shape: tuple[int, ...]) -> Grid | None:
    """The grid of an operation's result, from that of its main input."""
    axes = len(grid.strides)
    dimensions = grid.dimensions
    if dimensions is None:
        return _recovered(grid, shape)
    if operator == "convolution":
        stride = _per_axis(arguments[3], axes)
        return _scaled(grid, [Fraction(1, s) if arguments[6] else s for s in stride], shape)
    if operator in _POOLING:
        kernel = _per_axis(arguments[1], axes)
        stride = _per_axis(arguments[2], axes) if len(arguments) > 2 and arguments[2] else kernel
        return _scaled(grid, stride, shape)
    if operator == "slice":
        dimension, step = arguments[1] % len(shape), arguments[4] if len(arguments) > 4 else 1
        return _scaled(grid, [step if known == dimension else 1 for known in dimensions], shape)
    if operator in ("pixel_unshuffle", "pixel_shuffle"):
        factor = Fraction(arguments[1])
        return _scaled(grid, [factor if operator == "pixel_unshuffle" else 1 / factor] * axes, shape)
    if operator in ("permute", "transpose"):
        order = list(range(len(shape)))
        if operator == "permute":
            order = [dimension % len(shape) for dimension in arguments[1]]
        else:
            first, second = (dimension % len(shape) for dimension in arguments[1:3])
            order[first], order[second] = order[second], order[first]
        return replace(grid, dimensions=tuple(order.index(dimension) for dimension in dimensions))
    if operator in ("unsqueeze", "squeeze"):
        return _shifted(grid, operator, arguments, shape)
    if len(shape) <= max(dimensions):
        return replace(grid, dimensions=None)
    sizes = tuple(shape[dimension] for dimension in dimensions)
    if operator.startswith("upsample"):
        return _scaled(grid, [Fraction(old, new) for old, new in zip(grid.sizes, sizes, strict=True)], shape)
    if sizes == grid.sizes:
        return grid
    if "adaptive" in operator or operator in ("mean", "sum", "amax"):
        return None
    if operator in ("view", "_unsafe_view", "reshape", "expand"):
        return replace(grid, dimensions=None)
    # Padding and cropping move the border, not the pixels.
    return replace(grid, sizes=sizes)


def _recovered(grid: Grid, shape: tuple[int, ...]) -> Grid:
    """The grid of a tensor whose pixels were rearranged, where its shape is again that of a map."""
    axes = len(grid.strides)
    if len(shape) != axes + 2 or 0 in shape:
        return grid
    if shape[1:-1] == grid.sizes:
        return replace(grid, dimensions=tuple(range(1, axes + 1)))
    sizes = shape[2:]
    factors = {Fraction(old, new) for old, new in zip(grid.sizes, sizes, strict=True)}
    if len(factors) != 1 or (factor := factors.pop()).denominator != 1:
        return grid
    return Grid(tuple(stride * factor for stride in grid.strides), sizes, tuple(range(2, axes + 2)))


def _shifted(grid: Grid, operator: str, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> Grid:
    """The grid after dimensions of size 1 came or went, as around one-dimensional pooling."""
    assert grid.dimensions is not None
    if len(arguments) < 2 or not isinstance(arguments[1], int):
        return replace(grid, dimensions=None)
    ndim = len(shape) + (operator == "squeeze")
    where = arguments[1] % ndim
    step = 1 if operator == "unsqueeze" else -1
    return replace(grid, dimensions=tuple(known + step if known >= where else known for known in grid.dimensions))


class _Recorder(TorchDispatchMode):
    """Writes each operation on a traced tensor into a Trace."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.trace = Trace()
        self.numbers = WeakIdKeyDictionary()
        self.running: list[tuple[str, int]] = [("", 0)]
        self.calls = 0
        axes = example.ndim - 2
        grid = Grid((Fraction(1),) * axes, tuple(example.shape[2:]), tuple(range(2, example.ndim)))
        self._number(example, grid)

    def _number(self, tensor: Tensor, grid: Grid | None) -> int:
        number = len(self.trace.shapes)
        self.numbers[tensor] = number
        self.trace.grids[number] = grid
        self.trace.shapes[number] = tuple(tensor.shape)
        return number

    def number_of(self, tensor: Tensor) -> int | None:
        return self.numbers.get(tensor)

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        traced = tree_map_only(Tensor, self._as_value, (tuple(arguments), keywords))
        result = function(*arguments, **keywords)
        inputs = [leaf for leaf in tree_leaves(traced) if isinstance(leaf, Value)]
        if not inputs:
            return result
        operator = function.overloadpacket.__name__.removesuffix("_") or function.overloadpacket.__name__
        if operator.startswith("new_") or operator.endswith("_like"):
            return result  # reads the shape, not the values
        tensors = [item for item in tree_leaves(result) if isinstance(item, Tensor)]
        grids = [self._grid(operator, traced[0], inputs, tuple(tensor.shape)) for tensor in tensors]
        numbers = tuple(self._number(tensor, grid) for tensor, grid in zip(tensors, grids, strict=True))
        layer, call = self.running[-1]
        if tensors:
            self.trace.operations.append(
                Operation(
                    operator, function, layer, call, traced[0], traced[1], numbers, tuple(tensors[0].shape), grids[0]
                )
            )
        target = arguments[0] if function._schema.is_mutable else None
        if isinstance(target, Tensor) and target._base is not None:
            self._write_through(target._base, target, layer, call)
        return result

    def _write_through(self, base: Tensor, view: Tensor, layer: str, call: int) -> None:
        """What was written into a view of a tensor is part of that tensor from now on."""
        before, part = self._as_value(base), self._as_value(view)
        where = (before, part, list(view.shape), list(view.stride()), view.storage_offset())
        inputs = [item for item in (before, part) if isinstance(item, Value)]
        shape = tuple(base.shape)
        grid = self._grid("as_strided_scatter", where, inputs, shape)
        written = (self._number(base, grid),)
        overload = torch.ops.aten.as_strided_scatter.default
        self.trace.operations.append(
            Operation("as_strided_scatter", overload, layer, call, where, {}, written, shape, grid)
        )

    def _as_value(self, tensor: Tensor) -> Tensor | Value:
        number = self.numbers.get(tensor)
        return tensor if number is None else Value(number)

    def _grid(
        self, operator: str, arguments: tuple[Any, ...], inputs: list[Value], shape: tuple[int, ...]
    ) -> Grid | None:
        known = [grid for value in inputs if (grid := self.trace.grids[value.number]) is not None]
        if not known:
            return None
        results = [_grid_after(operator, arguments, grid, shape) for grid in known]
        placed = [grid for grid in results if grid is not None and grid.dimensions is not None]
        return placed[0] if placed else results[0]

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


def trace(module: nn.Module, example: Tensor) -> Trace:
    """Run a copy of the network once, without gradients, and record what happens to the input.

    example: (B, C, H, W) or (B, C, L). Raises FeatvisError where the network refuses the input, with its own words.
    """
    twin = copy_module(module)
    recorder = _Recorder(example)
    for name, part in twin.named_modules():
        part.register_forward_pre_hook(_entering(recorder, name))
        part.register_forward_hook(_leaving(recorder, name))
    with torch.no_grad(), refusals(example):
        with recorder:
            output = twin(example)
        recorder.trace.output = recorder.number_of(output_tensor(output))
    return recorder.trace


def _entering(recorder: _Recorder, name: str) -> Callable[..., None]:
    return lambda module, arguments: recorder.enter(name, module)


def _leaving(recorder: _Recorder, name: str) -> Callable[..., None]:
    return lambda module, arguments, output: recorder.leave(name, output)


class refusals:  # noqa: N801, reads as a phrase: `with refusals(images)`
    """Turns what a network raises on its input into one line that says what was given."""

    def __init__(self, images: Tensor) -> None:
        self.shape = tuple(images.shape)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (RuntimeError, ValueError, TypeError, AssertionError, IndexError)):
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise FeatvisError(
                f"the network refuses an input of shape {self.shape}: {said}; check --channels and --size"
            ) from error
