"""One call of an operator, and the places of what it moves: views, indices, padding, windows laid out as columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from featvis.tracing.places import UNKNOWN, Place, merged

Places = tuple[Place, ...]


class Lost(Exception):  # noqa: N818, says that places are lost, which is no error
    """The results of an operation lie at no known place."""


@dataclass(frozen=True)
class Step:
    """One call of an operator: what it was given, what it returned, and where the elements of a tensor lie.

    places_of: the places of a tensor; () where it does not depend on the picture.
    """

    function: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    results: list[Tensor]
    places_of: Callable[[Tensor], Places]

    @property
    def name(self) -> str:
        """The operator's name, the same for its form in place."""
        name: str = self.function.overloadpacket.__name__
        return name.removesuffix("_") or name

    def given(self, name: str, default: Any = None) -> Any:
        """An argument by its name in the operator's schema."""
        for number, argument in enumerate(self.function._schema.arguments):
            if argument.name == name:
                if number < len(self.arguments):
                    return self.arguments[number]
                return self.keywords.get(name, argument.default_value if default is None else default)
        return default

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that depend on the picture."""
        leaves = tree_leaves((self.arguments, self.keywords))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor) and self.places_of(leaf)]


Rule = Callable[[Step], list[Places]]


def passed(step: Step) -> list[Places]:
    """Element by element: each result lies where its inputs lie."""
    return [_of_all(step.inputs, result, step) for result in step.results]


def _of_all(inputs: Sequence[Tensor], result: Tensor, step: Step) -> Places:
    places = [place for tensor in inputs for place in step.places_of(tensor)]
    placed = [place.broadcast(result.ndim) for place in places if place.axes[0].ndim <= result.ndim]
    found = merged(place for place in placed if place.fits(result.shape))
    if not found:
        raise Lost(step.name)
    return found


def first(step: Step) -> list[Places]:
    """As the first input that depends on the picture; further results are statistics of no place."""
    main, *rest = step.results
    return [_of_all(step.inputs[:1], main, step), *([()] * len(rest))]


def moved(step: Step) -> list[Places]:
    """Done to the coordinates as to the values."""
    return _done_to_coordinates(step, step.function, step.arguments, step.keywords)


def converted(step: Step) -> list[Places]:
    """A copy in another precision lies where it was; coordinates keep their own precision."""
    return _done_to_coordinates(step, step.function, step.arguments, {**step.keywords, "dtype": None})


def relaid(step: Step) -> list[Places]:
    """Dimensions in another order, or more or fewer of size 1, perhaps in place."""
    function = getattr(torch, step.name)
    places = step.places_of(step.inputs[0])
    return [merged(p.with_axes([function(axis, *step.arguments[1:]) for axis in p.axes]) for p in places)]


def _done_to_coordinates(
    step: Step, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> list[Places]:
    if any(not tensor.is_floating_point() and not tensor.is_complex() for tensor in step.inputs):
        raise Lost(step.name)  # places that depend on the values
    found: list[list[Place]] = [[] for _ in step.results]
    for number in range(max(len(step.places_of(tensor)) for tensor in step.inputs)):
        chosen = {id(tensor): _nth(step.places_of(tensor), number) for tensor in step.inputs}
        like = next(iter(chosen.values()))
        by_axis = []
        for axis in range(len(like.axes)):

            def coordinates(leaf: Any, axis: int = axis, chosen: dict[int, Place] = chosen) -> Any:
                if not isinstance(leaf, Tensor) or not (leaf.is_floating_point() or leaf.is_complex()):
                    return leaf
                known = chosen.get(id(leaf))
                if known is None:
                    return torch.full((), UNKNOWN, dtype=torch.float64).expand(leaf.shape)
                return known.axes[axis].expand(leaf.shape)

            given, named = tree_map(coordinates, (arguments, keywords))
            done = function(*given, **named)
            by_axis.append([leaf for leaf in tree_leaves(done) if isinstance(leaf, Tensor)])
        for result, axes in enumerate(zip(*by_axis, strict=True)):
            found[result].append(like.with_axes(axes))
    return [merged(places) for places in found]


def _nth(places: Places, number: int) -> Place:
    return places[min(number, len(places) - 1)]


def averaged(function: Callable[[Tensor], Tensor], axis: Tensor, shape: Sequence[int]) -> Tensor:
    """A linear operation's mean of the coordinates that are known, whatever its weights add up to."""
    expanded = axis.expand(shape)
    known = expanded.isfinite()
    weights = function(known.double())
    return torch.where(weights.abs() > 1e-9, function(expanded.nan_to_num(0)) / weights, UNKNOWN)


def extended(axis: Tensor, dimension: int, before: int, after: int, nominal: Fraction) -> Tensor:
    """Coordinates that go on beyond both ends of a dimension as they do at these; fewer where a number is negative."""
    size = axis.shape[dimension]
    axis = axis.narrow(dimension, max(0, -before), size - max(0, -before) - max(0, -after))
    size = axis.shape[dimension]
    slope = float(nominal)
    ends = [axis.narrow(dimension, 0, 1), axis.narrow(dimension, size - 1, 1)]
    slopes = [
        (axis.narrow(dimension, place + 1, 1) - axis.narrow(dimension, place, 1)) if size > 1 else slope
        for place in (0, max(0, size - 2))
    ]
    parts = [ends[0] + slopes[0] * number for number in range(-max(0, before), 0)]
    parts += [axis, *(ends[1] + slopes[1] * number for number in range(1, max(0, after) + 1))]
    return torch.cat(parts, dimension) if len(parts) > 1 else axis


def ordered(step: Step) -> list[Places]:
    """Sorted or chosen by value: only along dimensions where all lies at one place is it known where."""
    source = step.inputs[0]
    dimension = step.given("dim", -1) % max(source.ndim, 1)
    if any(axis.shape[dimension] > 1 for place in step.places_of(source) for axis in place.axes):
        raise Lost(step.name)
    return [_of_all([source], result, step) for result in step.results]


def padded(step: Step) -> list[Places]:
    """More at the ends of the last dimensions, where the grid goes on, or less."""
    source = step.inputs[0]
    given = step.given("pad") if step.name == "constant_pad_nd" else step.given("padding")
    found = []
    for place in step.places_of(source):
        moved_axes = []
        for axis, nominal in zip(place.axes, place.nominal, strict=True):
            for number in range(len(given) // 2):
                dimension = source.ndim - 1 - number
                if axis.shape[dimension] > 1:
                    axis = extended(axis, dimension, given[2 * number], given[2 * number + 1], nominal)
            moved_axes.append(axis)
        found.append(place.with_axes(moved_axes))
    return [merged(found)]


def unfolded(step: Step) -> list[Places]:
    """Windows laid out as columns, or columns put together again; what padding adds comes from no pixel."""
    source = step.inputs[0]

    def run(values: Tensor) -> Tensor:
        done: Tensor = step.function(values, *step.arguments[1:], **step.keywords)
        return done

    places = step.places_of(source)
    return [merged(p.with_axes([averaged(run, axis, source.shape) for axis in p.axes]) for p in places)]


def viewed(step: Step) -> list[Places]:
    """The same elements in another shape; coordinates that are not laid out in memory are copied."""
    shape = step.results[0].shape
    places = step.places_of(step.inputs[0])
    given = step.inputs[0].shape
    return [merged(p.with_axes([_reshaped(axis, given, shape) for axis in p.axes]) for p in places)]


def _reshaped(axis: Tensor, given: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Coordinates in another shape; the last dimensions that repeat them, such as channels, are not written out."""
    repeated = next((n for n, size in enumerate(reversed(axis.shape)) if size > 1), axis.ndim)
    before = {math.prod(given[len(given) - n :]): n for n in range(repeated + 1)}
    after = {math.prod(shape[len(shape) - n :]): n for n in range(len(shape) + 1)}
    common = max(size for size in before if size in after)
    kept, made = len(given) - before[common], len(shape) - after[common]
    inner = axis.view(axis.shape[:kept]).expand(given[:kept]).reshape(shape[:made])
    return inner.view(*shape[:made], *[1] * after[common])


def strided(step: Step) -> list[Places]:
    """A view of the storage: of coordinates that are laid out in memory as the values are."""
    source = step.arguments[0]
    size, stride = step.given("size"), step.given("stride")
    offset = step.given("storage_offset")
    offset = source.storage_offset() if offset is None else offset
    found = []
    for place in step.places_of(source):
        axes = []
        for axis in place.axes:
            laid = torch.empty_strided(source.shape, source.stride(), dtype=torch.float64)
            laid.copy_(axis.expand(source.shape))
            axes.append(laid.as_strided(size, stride, offset - source.storage_offset()))
        found.append(place.with_axes(axes))
    return [merged(found)]


def as_complex(step: Step) -> list[Places]:
    """Pairs of numbers become one."""
    places = step.places_of(step.inputs[0])
    return [merged(place.with_axes([axis[..., 0] for axis in place.axes]) for place in places)]


def as_real(step: Step) -> list[Places]:
    """One number becomes a pair."""
    places = step.places_of(step.inputs[0])
    return [merged(place.with_axes([axis.unsqueeze(-1) for axis in place.axes]) for place in places)]


def halved(step: Step) -> list[Places]:
    """A gate: the first half by the second, along a dimension of one place."""
    return ordered(step)


def copied(step: Step) -> list[Places]:
    """Values written over others lie where they come from."""
    source = step.arguments[1]
    return [_of_all([source], step.results[0], step)] if step.places_of(source) else [()]


def overwritten(step: Step) -> list[Places]:
    """Values that are filled in come from no pixel."""
    return [() for _ in step.results]
