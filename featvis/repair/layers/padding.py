"""Padding in every mode at every size, and sizes given once or for each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.errors import FeatvisError

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
"""The words of torch.nn."""

PADDING_MODES: tuple[str, ...] = get_args(PaddingMode)

Margins = tuple[tuple[int, int], ...]
"""Pixels before and after, for each spatial axis from the first to the last."""


def whole_numbers(value: int | Sequence[int], axes: int, name: str, least: int = 1) -> tuple[int, ...]:
    """A number for each axis from one for all or one for each. Raises FeatvisError, which calls it `name`, for any other."""
    numbers = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(numbers) != axes or not all(type(number) is int and number >= least for number in numbers):
        raise FeatvisError(
            f"{name} is {value!r}; give a whole number of at least {least}, or one for each of {axes} axes"
        )
    return numbers


def choice(value: str, known: Sequence[str], name: str) -> str:
    """The value where it is one of those known, else a FeatvisError that lists them."""
    if value not in known:
        raise FeatvisError(f"{name} is {value!r}; give one of {', '.join(known)}")
    return value


def same_margins(kernel_size: Sequence[int], dilation: Sequence[int] | None = None) -> Margins:
    """Margins that hold the size at stride 1; an even kernel's odd pixel goes after, as with padding="same" of torch.nn."""
    totals = [step * (size - 1) for size, step in zip(kernel_size, dilation or [1] * len(kernel_size), strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def pad(images: Tensor, margins: Margins, mode: str) -> Tensor:
    """The images with margins around their last axes, at any size.

    Where a map is smaller than its margin, a reflection or a repetition goes on, to and fro or round and round, as in
    `numpy.pad`; a single pixel is repeated.
    """
    if not any(before or after for before, after in margins):
        return images
    sizes = images.shape[-len(margins) :]
    if (
        mode == "zeros"
        or mode == "replicate"
        or all(max(pair) < size for pair, size in zip(margins, sizes, strict=True))
    ):
        flat = [pixels for pair in reversed(margins) for pixels in pair]
        return F.pad(images, flat, mode="constant" if mode == "zeros" else mode)
    for axis, (before, after) in enumerate(margins, start=-len(margins)):
        size = images.shape[axis]
        places = torch.arange(-before, size + after, device=images.device)
        if mode == "circular":
            places = places % size
        else:
            period = max(1, 2 * (size - 1))
            places = (places % period).minimum(-places % period)
        images = images.index_select(axis, places)
    return images
