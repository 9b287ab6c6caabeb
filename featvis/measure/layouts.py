"""In which order an array's dimensions come, and its values as gradients to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.parts import real_gradients

LAYOUTS = ("hw", "chw", "hwc", "bhw", "bchw", "bhwc", "bcl")
"""Orders of an array's dimensions: b pictures, c channels, h rows, w columns, l samples of signals."""

COLOURS = 4
"""More channels than this are none of a picture, and an axis of fewer pixels cannot be measured."""


def as_gradients(values: Any, layout: str | None = None, signals: bool = True) -> Tensor:
    """Values of any layout as (B, C, H, W), or (B, C, L) for signals.

    values: a tensor or a NumPy array. layout: one of LAYOUTS; by default what the shape can only be. signals: whether three dimensions may
    be those of signals, (B, C, L); where not, they are one map in colours or several maps without. Raises FeatvisError for what is no
    array of real numbers, and where the layout cannot be told.

    >>> as_gradients(np.ones((2, 32, 32, 3))).shape, as_gradients(torch.ones(8, 32, 32), "bhw").shape
    (torch.Size([2, 3, 32, 32]), torch.Size([8, 1, 32, 32]))
    """
    tensor = real_gradients(_tensor(values) if isinstance(values, np.ndarray) else values)
    layout = guessed(tensor.shape, signals) if layout is None else layout
    if layout not in LAYOUTS or len(layout) != tensor.ndim:
        fitting = [one for one in LAYOUTS if len(one) == tensor.ndim]
        raise FeatvisError(
            f"gradients of shape {tuple(tensor.shape)} and a layout of {layout!r}; "
            + (f"give one of {', '.join(fitting)}" if fitting else "expected two to four dimensions")
        )
    if layout == "bcl":
        return tensor
    order = [layout.index(letter) for letter in "bchw" if letter in layout]
    tensor = tensor.permute(order)
    for place, letter in enumerate("bchw"):
        if letter not in layout:
            tensor = tensor.unsqueeze(place)
    return tensor


def guessed(shape: Sequence[int], signals: bool = True) -> str:
    """The layout that a shape can only have; raises FeatvisError where it may have several."""
    few = [size <= COLOURS for size in shape]
    if len(shape) == 2:
        return "hw"
    if len(shape) == 4:
        return "bhwc" if few[3] and not any(few[1:3]) else "bchw"
    if len(shape) == 3 and few[2] and not any(few[:2]):
        return "hwc"
    if len(shape) == 3 and not few[2]:
        if signals and few[1]:
            return "bcl"
        if not signals and not few[1]:
            return "chw" if few[0] else "bhw"
    fitting = [layout for layout in LAYOUTS if len(layout) == len(shape) and (signals or layout != "bcl")]
    raise FeatvisError(
        f"gradients of shape {tuple(shape)}: which dimension is which cannot be told; "
        + (f"give the layout, {' or '.join(fitting)}" if fitting else "expected two to four dimensions")
    )


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
        raise FeatvisError("gradients in a masked array; fill what is masked first")
    if array.dtype.kind not in "fiu":
        raise FeatvisError(f"gradients of {array.dtype}; expected real numbers, such as float32")
    # A copy in this machine's order of bytes: torch takes no other, and no strides below 0.
    kind = np.float64 if array.dtype.kind in "iu" or array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(array, dtype=kind))
