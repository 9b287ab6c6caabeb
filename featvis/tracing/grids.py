"""Where the pixels of a tensor lie on the input, and how an operation moves them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from featvis.tracing.windows import Window, window_of

VIEWS = ("view", "_unsafe_view", "reshape", "expand")

MOVES = (*VIEWS, "permute", "transpose", "clone", "unsqueeze", "squeeze")
"""Operations that compute nothing: a cut into windows that is undone before the next map leaves no period behind."""

SMALL_WINDOW = 3
"""A window of up to this many pixels is a strided layer, also where a small picture left it a map of its own size."""


@dataclass(frozen=True)
class Grid:
    """Where a tensor's pixels lie on the input: the stride of each spatial axis, its size, and which dimension it is.

    `dimensions` is None where the tensor holds the pixels in another order, such as tokens. `whole`: the grid before it was cut into
    patches, to which the pixels return where windows are only put together again.
    """

    strides: tuple[Fraction, ...]
    sizes: tuple[int, ...]
    dimensions: tuple[int, ...] | None
    whole: Grid | None = None


def grid_after(
    operator: str, arguments: tuple[Any, ...], grid: Grid, before: tuple[int, ...], shape: tuple[int, ...]
) -> Grid | None:
    """The grid of an operation's result, from that of its main input; None where nothing repeats any more.

    before, shape: of that input and of the result.
    """
    axes = len(grid.strides)
    dimensions = grid.dimensions
    if dimensions is None:
        return _recovered(grid, shape)
    window = window_of(operator, arguments)
    if operator in ("slice", "unfold"):
        dimension, step = arguments[1] % len(before), window.stride[0] if window else arguments[3]
        return _scaled(grid, [step if known == dimension else 1 for known in dimensions], shape)
    if operator == "convolution" and arguments[6]:
        assert window is not None
        return _scaled(grid, [Fraction(1, stride) for stride in window.on(axes).stride], shape)
    if window is not None:
        window = window.on(axes)
        return None if _covers(grid, window, shape) else _scaled(grid, window.stride, shape)
    if operator == "pixel_shuffle":
        return _scaled(grid, [Fraction(1, arguments[1])] * axes, shape)
    if operator == "im2col":
        kernel, dilation, padding, stride = arguments[1:5]
        return _columns(grid, Window.of(kernel, stride, padding, dilation, axes))
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
    if operator in VIEWS:
        return _viewed(grid, before, shape)
    if operator in ("mean", "sum", "amax") and set(dimensions) <= _reduced(arguments, len(before)):
        return None
    if len(shape) <= max(dimensions):
        return replace(grid, dimensions=None)
    sizes = tuple(shape[dimension] for dimension in dimensions)
    if operator.startswith("upsample"):
        if all(size == 1 for size in sizes) and any(size > 1 for size in grid.sizes):
            return None
        return _scaled(grid, [Fraction(old, new) for old, new in zip(grid.sizes, sizes, strict=True)], shape)
    if sizes == grid.sizes:
        return grid
    if "adaptive" in operator:
        return None
    # Padding and cropping move the border, not the pixels.
    return replace(grid, sizes=sizes)


def _reduced(arguments: tuple[Any, ...], ndim: int) -> set[int]:
    """The dimensions over which a mean, sum or maximum is taken."""
    given = arguments[1] if len(arguments) > 1 and arguments[1] else range(ndim)
    return {dimension % ndim for dimension in given}


def _covers(grid: Grid, window: Window, shape: tuple[int, ...]) -> bool:
    """Whether a single window covers the whole map, as in global pooling. Smaller or padded ones are strides that ran out of pixels."""
    assert grid.dimensions is not None
    single = all(shape[dimension] == 1 for dimension in grid.dimensions) and any(size > 1 for size in grid.sizes)
    return single and not any(window.padding) and max(window.kernel, default=0) > SMALL_WINDOW


def _scaled(grid: Grid, factors: Iterable[Fraction | int], shape: tuple[int, ...]) -> Grid:
    """The grid after each axis' stride was multiplied."""
    assert grid.dimensions is not None
    sizes = tuple(shape[dimension] for dimension in grid.dimensions)
    strides = tuple(stride * factor for stride, factor in zip(grid.strides, factors, strict=True))
    return replace(grid, strides=strides, sizes=sizes)


def _columns(grid: Grid, window: Window) -> Grid:
    """The grid of windows that were laid out as columns."""
    sizes = tuple(window.count(axis, size) for axis, size in enumerate(grid.sizes))
    strides = tuple(old * step for old, step in zip(grid.strides, window.stride, strict=True))
    return Grid(strides, sizes, None, grid)


def _viewed(grid: Grid, before: tuple[int, ...], shape: tuple[int, ...]) -> Grid:
    """The grid after the dimensions were cut or joined.

    A dimension that is cut, such as rows into rows of patches and rows within a patch, goes on as its outer part, with the inner one
    among the channels; joined with what lies between its pixels, as after a sub-pixel convolution, it grows.
    """
    assert grid.dimensions is not None
    dimensions, factors = [], []
    for dimension, size in zip(grid.dimensions, grid.sizes, strict=True):
        start = math.prod(before[:dimension])
        found = next((n for n in range(len(shape)) if shape[n] > 1 and math.prod(shape[:n]) == start), None)
        if found is None or 0 in shape:
            return replace(grid, dimensions=None)
        stop = next(
            (n for n in range(dimension + 1, len(before) + 1) if math.prod(before[dimension:n]) == shape[found]), 0
        )
        joined = bool(stop) and not set(grid.dimensions) & set(range(dimension + 1, stop))
        if size % shape[found] and not joined:
            return replace(grid, dimensions=None)
        dimensions.append(found)
        factors.append(Fraction(size, shape[found]))
    sizes = tuple(shape[dimension] for dimension in dimensions)
    strides = tuple(stride * factor for stride, factor in zip(grid.strides, factors, strict=True))
    cut = any(factor > 1 for factor in factors)
    return Grid(strides, sizes, tuple(dimensions), grid if cut else grid.whole)


def _recovered(grid: Grid, shape: tuple[int, ...]) -> Grid:
    """The grid of a tensor whose pixels were rearranged, where its shape is again that of a map."""
    axes = len(grid.strides)
    if len(shape) != axes + 2 or 0 in shape:
        return grid
    known: Grid | None = grid
    while known is not None:
        for first in (1, 2):
            if shape[first : first + axes] == known.sizes:
                return replace(known, dimensions=tuple(range(first, first + axes)))
        known = known.whole
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
