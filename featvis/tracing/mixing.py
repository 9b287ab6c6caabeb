"""The places of what an operator computes over windows or dimensions: the mean of what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from featvis.tracing.places import Place, merged, nanmean, varying
from featvis.tracing.steps import Lost, Places, Step, averaged, extended
from featvis.tracing.windows import Window, per_axis

SMALL_WINDOW = 3
"""A window of up to this many pixels is a strided layer, also where a small picture left it a map of its own size."""


def linear(step: Step) -> list[Places]:
    """Interpolation, averages and the like: the operator itself, done to the coordinates of its first input."""
    source, (result, *rest) = step.inputs[0], step.results
    if len(step.inputs) > 1:
        raise Lost(step.name)  # places that depend on the values, as of a grid that is predicted

    resize = _of_lines(step.function)

    def run(values: Tensor) -> Tensor:
        def exchanged(leaf: Any) -> Any:
            if leaf is source:
                return values
            return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

        given, named = tree_map(exchanged, (step.arguments, step.keywords))
        done = resize(*given, **named)
        return next(leaf for leaf in tree_leaves(done) if isinstance(leaf, Tensor))

    factors = [Fraction(old, max(new, 1)) for old, new in zip(source.shape[2:], result.shape[2:], strict=False)]
    found = [
        place.with_axes([averaged(run, axis, source.shape) for axis in place.axes], _scaled(place, source, factors))
        for place in step.places_of(source)
    ]
    return [merged(found), *([()] * len(rest))]


def _of_lines(function: Any) -> Any:
    """An interpolation that leaves a line of coordinates a line, at the same places: bicubic weights displace it a little."""
    packet = function.overloadpacket.__name__
    twin = packet.replace("bicubic", "bilinear").replace("lanczos", "bilinear")
    return function if twin == packet else getattr(getattr(torch.ops.aten, twin), function._overloadname)


def _scaled(place: Place, source: Tensor, factors: Sequence[Fraction | int]) -> list[Fraction]:
    """The nominal strides after those of the last dimensions were multiplied."""
    first = source.ndim - len(factors)
    nominal = list(place.nominal)
    for number, dimension in enumerate(place.dimensions(source.ndim) or ()):
        if dimension >= first:
            nominal[number] = place.nominal[number] * factors[dimension - first]
    return nominal


def _window(step: Step, kernel: Any, axes: int) -> Window:
    return Window.of(
        kernel, step.given("stride") or kernel, step.given("padding") or 0, step.given("dilation") or 1, axes
    )


def _windowed(step: Step, place: Place, source: Tensor, windows: Window) -> Place:
    """The mean place of what each window reads; beyond the edge the grid goes on."""
    result, axes = step.results[0], len(windows.kernel)
    moved_axes = []
    for axis, nominal in zip(place.axes, place.nominal, strict=True):
        for number, dimension in enumerate(range(source.ndim - axes, source.ndim)):
            if axis.shape[dimension] == 1:
                continue
            stride, dilation = windows.stride[number], windows.dilation[number]
            span = dilation * (windows.kernel[number] - 1) + 1
            before = windows.padding[number]
            after = (result.shape[dimension] - 1) * stride + span - before - axis.shape[dimension]
            axis = extended(axis, dimension, before, after, nominal)
            axis = axis.unfold(dimension, span, stride)[..., ::dilation].mean(-1)
        moved_axes.append(axis)
    found = place.with_axes(moved_axes, _scaled(place, source, windows.stride))
    lost = place.is_local and not found.is_local
    covers = lost and not any(windows.padding) and max(windows.kernel) > SMALL_WINDOW
    return Place(found.axes, (Fraction(0),) * len(found.axes)) if covers else found


def pooled(step: Step) -> list[Places]:
    """Averages and maxima over windows of a fixed size."""
    source = step.inputs[0]
    kernel = step.given("kernel_size")
    axes = int(next(letter for letter in step.name if letter.isdigit()))
    windows = _window(step, kernel, axes)
    found = [_windowed(step, place, source, windows) for place in step.places_of(source)]
    return [merged(found), *([()] * (len(step.results) - 1))]


def adaptive(step: Step) -> list[Places]:
    """Pooling to a given size: window i of n reads from floor(i L / n) to before ceil((i + 1) L / n)."""
    source, result = step.inputs[0], step.results[0]
    sizes = per_axis(step.given("output_size"), int(next(letter for letter in step.name if letter.isdigit())))
    found = []
    for place in step.places_of(source):
        moved_axes = []
        for axis in place.axes:
            for dimension, size in zip(range(source.ndim - len(sizes), source.ndim), sizes, strict=True):
                length = axis.shape[dimension]
                if length > 1:
                    edges = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
                    means = [nanmean(axis.narrow(dimension, a, b - a), [dimension]) for a, b in edges]
                    axis = torch.cat(means, dimension)
            moved_axes.append(axis)
        factors = [
            Fraction(old, new)
            for old, new in zip(source.shape[-len(sizes) :], result.shape[-len(sizes) :], strict=True)
        ]
        moved_place = place.with_axes(moved_axes, _scaled(place, source, factors))
        # One element stands for the whole axis.
        gone = [bool(varying(old)) and not varying(new) for old, new in zip(place.axes, moved_place.axes, strict=True)]
        nominal = [Fraction(0) if lost else old for lost, old in zip(gone, moved_place.nominal, strict=True)]
        found.append(Place(moved_place.axes, tuple(nominal)))
    return [merged(found), *([()] * (len(step.results) - 1))]


def convolved(step: Step) -> list[Places]:
    """The mean of what a window reads; a transposed convolution enlarges the map that it reads."""
    source, weight = step.given("input"), step.given("weight")
    if not step.places_of(source):
        raise Lost(step.name)
    windows = _window(step, tuple(weight.shape[2:]), source.ndim - 2)
    found = []
    for place in step.places_of(source):
        # Channels are mixed.
        mixed = place.with_axes([nanmean(axis, [1] if axis.shape[1] > 1 else []) for axis in place.axes])
        if step.given("transposed"):
            enlarged = [_enlarged(axis, source, step.results[0], windows) for axis in mixed.axes]
            shrunk = [Fraction(1, stride) for stride in windows.stride]
            found.append(mixed.with_axes(enlarged, _scaled(mixed, source, shrunk)))
        else:
            found.append(_windowed(step, mixed, source, windows))
    return [merged(found)]


def _enlarged(axis: Tensor, source: Tensor, result: Tensor, windows: Window) -> Tensor:
    """Coordinates on the grid of a transposed convolution's output, between and beyond those that it reads."""
    for number, dimension in enumerate(range(2, source.ndim)):
        size = axis.shape[dimension]
        if size < 2:
            continue
        reach = windows.dilation[number] * (windows.kernel[number] - 1) / 2
        wanted = (torch.arange(result.shape[dimension]) + windows.padding[number] - reach) / windows.stride[number]
        left = wanted.floor().clamp(0, size - 2).long()
        share = (wanted - left).view([-1 if d == dimension else 1 for d in range(source.ndim)])
        low, high = axis.index_select(dimension, left), axis.index_select(dimension, left + 1)
        axis = low + (high - low) * share
    return axis


def reduced(step: Step) -> list[Places]:
    """The mean place over the dimensions that are reduced."""
    source = step.inputs[0]
    given = step.given("dim")
    dimensions = list(given) if isinstance(given, tuple | list) else [given] if given is not None else []
    dimensions = [dimension % source.ndim for dimension in dimensions] or list(range(source.ndim))
    kept = bool(step.given("keepdim", False))
    found = []
    for place in step.places_of(source):
        axes = [nanmean(axis, [d for d in dimensions if axis.shape[d] > 1]) for axis in place.axes]
        gone = [bool(varying(old)) and not varying(new) for old, new in zip(place.axes, axes, strict=True)]
        nominal = [Fraction(0) if lost else old for lost, old in zip(gone, place.nominal, strict=True)]
        if not kept:
            axes = [axis.squeeze(tuple(dimensions)) for axis in axes]
        found.append(place.with_axes(axes, nominal))
    return [merged(found) for _ in step.results]


def contracted(step: Step) -> list[Places]:
    """A product of matrices: the mean over what is summed, of both sides."""
    tensors = [argument for argument in step.arguments if isinstance(argument, Tensor)]
    *bias, left, right = tensors[:3] if step.name in ("addmm", "baddbmm", "addbmm", "addmv") else tensors[:2]
    result = step.results[0]
    found = [place.broadcast(result.ndim) for tensor in bias for place in step.places_of(tensor)]
    for tensor, summed in ((left, -1), (right, -2 if right.ndim > 1 else -1)):
        found += [_summed(place, tensor, summed, result.ndim) for place in step.places_of(tensor)]
    return [merged(place for place in found if place.fits(result.shape))]


def _summed(place: Place, tensor: Tensor, dimension: int, ndim: int) -> Place:
    dimension %= tensor.ndim
    axes = [nanmean(axis, [dimension] if axis.shape[dimension] > 1 else []) for axis in place.axes]
    gone = [bool(varying(old)) and not varying(new) for old, new in zip(place.axes, axes, strict=True)]
    nominal = [Fraction(0) if lost else old for lost, old in zip(gone, place.nominal, strict=True)]
    if tensor.ndim == ndim + 1:
        axes = [axis.squeeze(dimension) for axis in axes]
    return place.with_axes(axes, nominal)


def attended(step: Step) -> list[Places]:
    """Attention: a query's own place, and the mean of the keys and values that it reads."""
    query, key, value = (step.given(name) for name in ("query", "key", "value"))
    result, rest = step.results[0], step.results[1:]
    found = list(step.places_of(query))
    for tensor in (key, value):
        found += [_summed(place, tensor, -2, tensor.ndim) for place in step.places_of(tensor)]
    return [merged(place for place in found if place.fits(result.shape)), *([()] * len(rest))]


def attended_fast(step: Step) -> list[Places]:
    """A whole attention layer in one operator: each token's own place, and the mean of all."""
    source, result = step.inputs[0], step.results[0]
    own = step.places_of(source)
    means = [_summed(place, source, -2, source.ndim) for place in own]
    return [
        merged(place for place in (*own, *means) if place.fits(result.shape)),
        *([()] * (len(step.results) - 1)),
    ]


def transformed(step: Step) -> list[Places]:
    """A Fourier transform: each coefficient depends on all along the dimensions. Whatever comes back from it has lost its place."""
    source = step.inputs[0]
    if source.is_complex():
        raise Lost(step.name)
    dimensions = [dimension % source.ndim for dimension in step.given("dim")]
    found = []
    for place in step.places_of(source):
        axes = [nanmean(axis, [d for d in dimensions if axis.shape[d] > 1]) for axis in place.axes]
        gone = [bool(varying(old)) and not varying(new) for old, new in zip(place.axes, axes, strict=True)]
        found.append(
            place.with_axes(axes, [Fraction(0) if lost else old for lost, old in zip(gone, place.nominal, strict=True)])
        )
    return [merged(found)]
