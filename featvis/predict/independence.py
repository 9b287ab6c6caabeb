"""Whether the weights of a network's layers look independent, which a prediction rests on.

With independent signs the products of a layer's rows come out as their variances say; training lines rows and taps up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from featvis.tracing.trace import Operation

WEIGHTED = ("convolution", "mm", "bmm", "addmm", "baddbmm", "_native_multi_head_attention", "mkldnn_rnn_layer")
"""The operators that multiply by weights."""

LARGEST = 256, 1024
"""Rows and columns that are looked at of a larger matrix."""

SMALLEST = 4
"""Rows and columns of the smallest matrix that can tell anything."""

CERTAIN = 8.0
"""Standard deviations from which on weights are visibly not independent: 3 is the most in 1,000 layers of random weights."""


def alignment(matrix: Tensor) -> float:
    """By how many standard deviations the rows of a matrix line up more than with independent signs; the transposed one gives the same.

    matrix: (rows, columns). What is judged is the sum of all squared products of rows. With a = w squared and random signs, its mean is
    the sum of squared row sums and squared column sums of a, less that of a squared; its variance is 4 times the sum, off the diagonal, of
    (a a^T) squared less (a squared) (a squared)^T. Both are exact.
    """
    squares = matrix.square()
    products, variances = matrix @ matrix.T, squares @ squares.T
    found = float(products.square().sum())
    expected = float(squares.sum(1).square().sum() + squares.sum(0).square().sum() - squares.square().sum())
    single = squares.square() @ squares.square().T
    variance = 4 * float((variances.square() - single).fill_diagonal_(0).sum())
    return (found - expected) / math.sqrt(variance) if variance > 0 else 0.0


def dependent_layers(module: nn.Module, operations: Iterable[Operation]) -> tuple[str, ...]:
    """The layers whose weights are visibly not independent, the most visible first."""
    found = alignments(module, operations)
    return tuple(sorted((name for name in found if found[name] > CERTAIN), key=lambda name: -found[name]))


def alignments(module: nn.Module, operations: Iterable[Operation]) -> dict[str, float]:
    """The `alignment` of each layer's weights, by its name.

    Weights are the tensors that have as many values as one of the layer's parameters; fixed filters, whose rows are all alike, are none,
    nor are matrices too small to tell.
    """
    parts, found = dict(module.named_modules()), dict[str, float]()
    for operation in operations:
        layer = parts.get(operation.layer)
        if layer is None or operation.operator not in WEIGHTED:
            continue
        sizes = {parameter.numel() for parameter in layer.parameters()}
        for weight in tree_leaves(operation.arguments):
            if isinstance(weight, Tensor) and weight.ndim > 1 and weight.numel() in sizes:
                matrix = _matrix(weight)
                if min(matrix.shape) >= SMALLEST and not bool((matrix == matrix[:1]).all()):
                    found[operation.layer] = max(alignment(matrix), found.get(operation.layer, -math.inf))
    return found


def _matrix(weight: Tensor) -> Tensor:
    """A weight as (rows, columns) of about unit size."""
    weight = torch.view_as_real(weight.resolve_conj()) if weight.is_complex() else weight
    rows, columns = LARGEST
    matrix = weight.detach().flatten(1)[:rows, :columns].double()
    return matrix / matrix.abs().amax().clamp_min(torch.finfo(torch.float64).tiny)
