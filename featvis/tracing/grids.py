"""Where the pixels of a tensor lie on the input, and how an operation moves them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch.utils._pytree import tree_leaves

POOLING = ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d")

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
    if operator == "convolution":
        stride = per_axis(arguments[3], axes)
        if not arguments[6] and _covers(grid, kernel_of(arguments[1]), arguments[4], shape):
            return None
        return _scaled(grid, [Fraction(1, s) if arguments[6] else s for s in stride], shape)
    if operator in POOLING:
        kernel = per_axis(arguments[1], axes)
        stride = per_axis(arguments[2], axes) if len(arguments) > 2 and arguments[2] else kernel
        return None if _covers(grid, kernel, arguments[3:4] or (0,), shape) else _scaled(grid, stride, shape)
    if operator in ("slice", "unfold"):
        dimension, step = arguments[1] % len(before), arguments[3 if operator == "unfold" else 4 :] or (1,)
        return _scaled(grid, [step[0] if known == dimension else 1 for known in dimensions], shape)
    if operator in ("pixel_unshuffle", "pixel_shuffle"):
        factor = Fraction(arguments[1])
        return _scaled(grid, [factor if operator == "pixel_unshuffle" else 1 / factor] * axes, shape)
    if operator == "im2col":
        return _columns(grid, *(per_axis(values, axes) for values in arguments[1:5]))
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


def _covers(grid: Grid, kernel: tuple[int, ...], padding: Any, shape: tuple[int, ...]) -> bool:
    """Whether a single window covers the whole map, as in global pooling. Smaller or padded ones are strides that ran out of pixels."""
    assert grid.dimensions is not None
    single = all(shape[dimension] == 1 for dimension in grid.dimensions) and any(size > 1 for size in grid.sizes)
    return single and not any(tree_leaves(padding)) and max(kernel, default=0) > SMALL_WINDOW


def kernel_of(weight: Any) -> tuple[int, ...]:
    """The kernel size of a convolution's weight, empty where the weight is computed from the input."""
    return tuple(weight.shape[2:]) if hasattr(weight, "shape") else ()


def _scaled(grid: Grid, factors: Iterable[Fraction | int], shape: tuple[int, ...]) -> Grid:
    """The grid after each axis' stride was multiplied."""
    assert grid.dimensions is not None
    sizes = tuple(shape[dimension] for dimension in grid.dimensions)
    strides = tuple(stride * factor for stride, factor in zip(grid.strides, factors, strict=True))
    return replace(grid, strides=strides, sizes=sizes)


def per_axis(values: Any, count: int) -> tuple[int, ...]:
    """One value for each axis; a one-dimensional map may stand in a picture of one row, its values are the last ones."""
    values = tuple(values)
    return values[-count:] if len(values) >= count else values * count


def _columns(grid: Grid, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Grid:
    """The grid of windows that were laid out as columns."""
    windows = zip(grid.sizes, kernel, dilation, padding, stride, strict=True)
    sizes = tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, d, p, s in windows)
    strides = tuple(old * step for old, step in zip(grid.strides, stride, strict=True))
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
