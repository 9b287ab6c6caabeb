"""Where on the picture the elements of a tensor lie, and after which distance their places repeat."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

LARGEST_DENOMINATOR = 4096
"""Distances are ratios of sizes: of whole numbers up to this."""

MOST_PLACES = 2
"""Dependencies that are followed apart: an element's own place, and that of the window whose elements it is mixed with."""

MIXED = 0.8
"""A share of the widest extent: means of pixels from all over the picture lie closer together than this."""

CLOSE = 1e-5
"""Pixels within which two coordinates are the same."""

MARGIN = 3
"""Distances at each end that padding may have changed."""

LINES_TRIED = 32
"""Of a map whose axes cannot be told apart, so many rows are looked at for the distances along them."""


@dataclass(frozen=True)
class Place:
    """The mean coordinate of the pixels that each element of a tensor depends on, along each axis of the picture.

    axes: in pixels; each broadcasts to the tensor's shape, NaN where an element comes from no pixel, such as padding. nominal: the stride
    of each axis where a map has a single element and so no distances; 0 where that element stands for the whole axis.
    """

    axes: tuple[Tensor, ...]
    nominal: tuple[Fraction, ...]

    @staticmethod
    def of_pixels(shape: Sequence[int]) -> Place:
        """That of a picture, (B, C, H, W) or (B, C, L)."""
        axes = []
        for axis, size in enumerate(shape[2:], 2):
            sizes = [size if dimension == axis else 1 for dimension in range(len(shape))]
            axes.append(torch.arange(size, dtype=torch.float64).view(sizes))
        return Place(tuple(axes), (Fraction(1),) * len(axes))

    def with_axes(self, axes: Iterable[Tensor], nominal: Iterable[Fraction] | None = None) -> Place:
        """The same with other coordinates, without what these repeat."""
        return Place(tuple(compact(axis) for axis in axes), self.nominal if nominal is None else tuple(nominal))

    def broadcast(self, ndim: int) -> Place:
        """For a tensor of more dimensions, which come in front."""
        if self.axes[0].ndim == ndim:
            return self
        return replace(self, axes=tuple(axis.view([1] * (ndim - axis.ndim) + list(axis.shape)) for axis in self.axes))

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether the coordinates broadcast to a shape."""
        return all(
            axis.ndim == len(shape) and all(mine in (1, size) for mine, size in zip(axis.shape, shape, strict=True))
            for axis in self.axes
        )

    @property
    def is_local(self) -> bool:
        """Whether elements lie at different places."""
        return any(varying(axis) for axis in self.axes)

    @functools.cached_property
    def detail(self) -> int:
        """How many different coordinates there are."""
        return sum(len(torch.unique((axis / CLOSE).round())) for axis in self.axes)

    @functools.cached_property
    def extent(self) -> float:
        """From the first coordinate to the last, in pixels, added over the axes."""
        known = [axis[axis.isfinite()] for axis in self.axes]
        return sum(float(axis.max() - axis.min()) for axis in known if axis.numel())

    def dimensions(self, ndim: int) -> tuple[int, ...] | None:
        """The dimension along which each axis of the picture runs, None where one runs along several, or two along one."""
        found = []
        for number, axis in enumerate(self.axes):
            along = varying(axis)
            if len(along) > 1:
                return None
            usual = ndim - len(self.axes) + number
            found.append(along[0] if along else usual)
        return tuple(found) if len(set(found)) == len(found) else None

    @functools.cached_property
    def strides(self) -> tuple[Fraction | None, ...]:
        """The distance after which places repeat along each axis: 0 where all are one, None where they do not repeat."""
        return tuple(self._stride(axis) for axis in range(len(self.axes)))

    def _stride(self, axis: int) -> Fraction | None:
        own = self.axes[axis]
        others = [other for number, other in enumerate(self.axes) if number != axis and varying(other)]
        along = set(varying(own))
        if not along:
            return self.nominal[axis]
        if not any(along & set(varying(other)) for other in others):
            step = recurrence(own.flatten()) if len(along) == 1 else None
            return repetition(own) if step is None else step
        # Both axes run along the same dimension, as over tokens: distances along this one at one place of the other.
        shape = torch.broadcast_shapes(own.shape, *(other.shape for other in others))
        flat = torch.stack([one.expand(shape).flatten() for one in (own, *others)])
        flat = flat[:, flat.isfinite().all(0)]
        if not flat.shape[1]:
            return Fraction(0)
        lines = torch.zeros(flat.shape[1], dtype=torch.int64)
        for other in flat[1:]:
            _, number = torch.unique((other / CLOSE).round(), return_inverse=True)
            lines = lines * (int(number.max()) + 1) + number
        order = lines.argsort()
        _, counts = torch.unique_consecutive(lines[order], return_counts=True)
        parts = sorted(flat[0, order].split(counts.tolist()), key=len, reverse=True)
        known = [stride for part in parts[:LINES_TRIED] if (stride := repetition(part))]
        return max(set(known), key=known.count) if known else repetition(parts[0])


def compact(axis: Tensor) -> Tensor:
    """Coordinates without what they repeat along a dimension, of size 1 there."""
    for dimension, size in enumerate(axis.shape):
        if size > 1:
            first = axis.narrow(dimension, 0, 1)
            if axis.stride(dimension) == 0 or bool(((axis == first) | (axis.isnan() & first.isnan())).all()):
                axis = first
    return axis


def varying(axis: Tensor) -> list[int]:
    """The dimensions along which coordinates differ."""
    return [dimension for dimension, size in enumerate(axis.shape) if size > 1]


def recurrence(coordinates: Tensor) -> Fraction | None:
    """The distance by which the coordinates of a line grow from each element to the same one further on, None where there is none.

    coordinates: (N,), in the order of the elements, so that windows are seen whole where a convolution has smoothed their means. Elements
    at both ends, which padding changes, are left out where there are enough.
    """
    size = len(coordinates)
    for margin in range(min(MARGIN, size // 6) + 1):
        inner = coordinates[margin : size - margin]
        # Of a symmetric map two steps are the same whatever the lag; three are not.
        for lag in range(1, min(2 * len(inner) // 3, len(inner) - 3) + 1):
            steps = inner[lag:] - inner[:-lag]
            if float(steps[0]) > CLOSE and float((steps - steps[0]).abs().amax()) < 10 * CLOSE:
                return _ratio(float(steps.mean()))
    return None


def repetition(coordinates: Tensor) -> Fraction | None:
    """The distance after which coordinates repeat, as a ratio of whole numbers: 0 for a single one, None for no repetition.

    coordinates: in any order and shape. The outermost distances, which padding changes, are left out where there are enough.
    """
    known = coordinates[coordinates.isfinite()]
    distances = (torch.unique((known / CLOSE).round()) * CLOSE).diff()
    if not len(distances):
        return Fraction(0)
    for margin in range(min(MARGIN, (len(distances) - 1) // 3) + 1):
        inner = distances[margin : len(distances) - margin]
        for length in range(1, len(inner) // 2 + 1):
            if float((inner[length:] - inner[:-length]).abs().amax()) < 10 * CLOSE:
                return _ratio(float(inner[: len(inner) // length * length].sum()) / (len(inner) // length))
    # A small map has few distances, and its edge lies elsewhere. Where means over windows have drawn all of it together, none is whole.
    usual, count = torch.unique((distances / CLOSE / 10).round(), return_counts=True)
    most = int(count.argmax())
    ratio = _ratio(float(usual[most]) * CLOSE * 10)
    return ratio if 2 * int(count[most]) >= len(distances) and ratio.denominator == 1 else None


def _ratio(value: float) -> Fraction:
    """The simplest ratio near a distance."""
    for limit in (64, 256, LARGEST_DENOMINATOR):
        ratio = Fraction(value).limit_denominator(limit)
        if abs(float(ratio) - value) < 20 * CLOSE:
            return ratio
    return Fraction(value).limit_denominator(LARGEST_DENOMINATOR)


def merged(places: Iterable[Place]) -> tuple[Place, ...]:
    """The different places of several inputs, the most detailed first; that of the whole picture only where there is no other.

    What is spread over less than MIXED of the picture that another is spread over is a mean of far pixels, and comes last.
    """
    kept: list[Place] = []
    for place in places:
        if not any(_same(place, other) for other in kept):
            kept.append(place)
    local = [place for place in kept if place.is_local]
    if len(local) > 1:
        widest = max(place.extent for place in local)
        local = sorted(local, key=lambda place: (place.extent < MIXED * widest, -place.detail))[:MOST_PLACES]
    return tuple(local or kept[:1])


def _same(place: Place, other: Place) -> bool:
    for one, twin in zip(place.axes, other.axes, strict=True):
        if one.shape != twin.shape:
            return False
        if not bool(((one - twin).abs().nan_to_num(0) < CLOSE).all()):
            return False
    return True


def nanmean(values: Tensor, dimensions: Sequence[int]) -> Tensor:
    """The mean over dimensions, which stay with size 1, of what is known; NaN where nothing is."""
    return values.nanmean(tuple(dimensions), keepdim=True) if len(dimensions) else values


UNKNOWN = math.nan
"""The coordinate of what comes from no pixel."""
