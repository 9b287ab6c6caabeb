"""Which part of a gradient is measured, and how it is cut into phases and tiles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.phases import fold, interior

TILES = 5
"""A single picture is split into at most this many replicates along each axis."""


def phases_of(period: int, dims: int) -> tuple[int, int]:
    """Rows and columns of a period's phases; signals have one row."""
    return (period, period) if dims == 2 else (1, period)


def real_gradients(gradients: Tensor) -> Tensor:
    """The gradients, laid out densely. Raises FeatvisError for what is no tensor of real numbers, and for no gradients."""
    gradients = real_tensor(gradients, "gradients")
    if gradients.dtype == torch.bool:
        raise FeatvisError(f"gradients of {gradients.dtype}; expected real numbers, such as torch.float32")
    if not gradients.numel():
        raise FeatvisError(f"gradients of shape {tuple(gradients.shape)}; expected at least one picture's")
    return gradients


def real_tensor(values: Tensor, what: str) -> Tensor:
    """The values, laid out densely. what: names them where FeatvisError is raised, for what is no tensor of real numbers."""
    if not isinstance(values, Tensor):
        raise FeatvisError(f"{what} of type {type(values).__name__}; expected a tensor, as torch.as_tensor makes")
    if values.is_complex():
        raise FeatvisError(f"{what} of {values.dtype}; expected real numbers, such as torch.float32")
    if values.is_nested:
        raise FeatvisError(f"{what} in a nested tensor; expected one of a single shape, as torch.stack makes")
    if values.is_meta:
        raise FeatvisError(f"{what} on the meta device, which holds no numbers; give them on another")
    if values.is_quantized:
        return values.dequantize()
    if values.is_floating_point() and values.element_size() == 1:
        # Little is implemented for numbers of 8 bits.
        values = values.float()
    return values if values.layout == torch.strided else values.to_dense()


def measured_part(gradients: Tensor, total_stride: int, dims: int) -> tuple[Tensor, Tensor]:
    """The interior of the gradients, (B, C, H, W) in float64, each scaled by its largest value, and these values, (B, 1, 1, 1).

    Signals get one row.

    Raises FeatvisError for another shape, pictures smaller than the total stride, and gradients with NaN, infinity or nothing but zeros.
    """
    if gradients.ndim != dims + 2:
        expected = "(B, C, H, W)" if dims == 2 else "(B, C, L)"
        raise FeatvisError(f"gradients of shape {tuple(gradients.shape)}; expected {expected}")
    if dims == 1:
        gradients = gradients.unsqueeze(2)
    height, width = gradients.shape[-2:]
    rows, columns = phases_of(total_stride, dims)
    if height < rows or width < columns:
        size = f"{height} x {width} pixels" if dims == 2 else f"{width} samples"
        raise FeatvisError(
            f"a gradient of {size} is smaller than the total stride of {total_stride}; give larger pictures"
        )
    largest = gradients.abs().amax((1, 2, 3), keepdim=True)
    for picture, value in enumerate(largest.flatten().tolist()):
        if not math.isfinite(value) or value == 0:
            what = "nothing but zeros" if value == 0 else "NaN or infinity"
            raise FeatvisError(f"the gradient of picture {picture} of the batch holds {what}; nothing can be measured")
    inner = gradients[..., interior(height, rows), interior(width, columns)]
    return inner.double() / largest, largest


def unexplained(energy: Tensor, rows: int, columns: int) -> Tensor:
    """The energy (B, H, W) less what its phases of (rows, columns) explain, about its mean.

    It would leak into windows that are no multiple of the period. Between pictures taking it off has no bias; between the tiles of a single
    small picture it is under a tenth of the error.
    """
    explained = fold(energy, rows, columns)
    repeats = energy.shape[-2] // rows, energy.shape[-1] // columns
    level = energy.mean((-2, -1), keepdim=True)
    return energy - explained.repeat(1, *repeats) + level if max(repeats) > 1 else energy


def tiles_of(energy: Tensor, rows: int, columns: int) -> Tensor:
    """At most TILES x TILES equal parts of each map (B, H, W), of whole periods: (B, down, across, height, width)."""
    down, across = energy.shape[-2] // rows, energy.shape[-1] // columns
    tiles_down, tiles_across = min(down, TILES), min(across, TILES)
    height, width = down // tiles_down * rows, across // tiles_across * columns
    area = energy[:, : tiles_down * height, : tiles_across * width]
    return area.unflatten(-1, (tiles_across, width)).unflatten(-3, (tiles_down, height)).transpose(-3, -2)
