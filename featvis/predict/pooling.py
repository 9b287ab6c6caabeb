"""What pooling reads along one axis, as a matrix (outputs, inputs), and the way back through such matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pooling_weights(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    padding: int = 0,
    dilation: int = 1,
    count_padding: bool = False,
) -> Tensor:
    """The weight 1/n of each value in a window's mean, 0 where the window does not read it.

    n counts the window's values, and with count_padding those of the padding too, as `torch.nn.AvgPool2d` does.
    """
    first = torch.arange(outputs).view(-1, 1) * stride - padding
    taps = first + torch.arange(kernel) * dilation
    reads = (taps.unsqueeze(-1) == torch.arange(inputs)).sum(1).double()
    if count_padding:
        return reads / ((first + kernel).clamp_max(inputs + padding) - first)
    return reads / reads.sum(1, keepdim=True)


def adaptive_weights(inputs: int, outputs: int) -> Tensor:
    """The same for adaptive pooling, whose window i of n reads from floor(i L / n) to before ceil((i + 1) L / n)."""
    edges, positions = torch.arange(outputs + 1).view(-1, 1) * inputs, torch.arange(inputs)
    starts, ends = edges[:-1] // outputs, -(-edges[1:] // outputs)
    return ((positions >= starts) & (positions < ends)).double() / (ends - starts)


def back_along_axes(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Values (..., outputs of each axis) times one matrix for each axis, transposed: (..., inputs of each axis)."""
    for axis, matrix in enumerate(matrices, values.ndim - len(matrices)):
        values = (values.transpose(axis, -1) @ matrix.to(values)).transpose(axis, -1)
    return values
