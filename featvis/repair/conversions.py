"""Exact conversions: the same numbers from another layer, to rounding.

Each takes a layer and returns a new one with its own parameters, in the same dtype, on the same device and in the same mode.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.layers import (
    ResizeConv1d,
    ResizeConv2d,
    SubPixelConv1d,
    SubPixelConv2d,
    UnshuffleConv1d,
    UnshuffleConv2d,
)

Deconv = nn.ConvTranspose1d | nn.ConvTranspose2d
_SUBPIXEL: dict[int, Any] = {1: SubPixelConv1d, 2: SubPixelConv2d}
_DECONV: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
_UNSHUFFLE: dict[int, Any] = {1: UnshuffleConv1d, 2: UnshuffleConv2d}


def deconv_to_subpixel(deconv: Deconv) -> SubPixelConv1d | SubPixelConv2d:
    """The sub-pixel convolution with kernel k / stride that equals a transposed convolution whose kernel k is a multiple of its stride.

    Phase r of an output pixel is written by the taps r, r + s, r + 2 s, ... of the kernel. Raises FeatvisError where a kernel is not
    such a multiple, or is dilated. Source: Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?".

    >>> from featvis.conversions import deconv_to_subpixel
    >>> deconv, maps = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1), torch.rand(1, 8, 5, 5)
    >>> torch.allclose(deconv_to_subpixel(deconv)(maps), deconv(maps), atol=1e-6)
    True
    """
    layer: Any = deconv
    axes = _axes(layer, _DECONV, "an nn.ConvTranspose1d or nn.ConvTranspose2d")
    taps = _taps(layer)
    crop = []
    margins = []
    for size, scale, cut, extra in zip(taps, layer.stride, layer.padding, layer.output_padding, strict=True):
        before, first = _margin_and_crop(size, scale, cut)
        after, last = _margin_and_crop(size, scale, cut - extra)
        margins.append((before, after))
        crop.append((first, last))
    converted = _meta(_SUBPIXEL[axes], layer, taps, scale_factor=layer.stride)
    converted.margins, converted.crop = tuple(margins), tuple(crop)
    grouped = layer.weight.detach().unflatten(0, (layer.groups, -1))
    for axis, (size, scale) in enumerate(zip(taps, layer.stride, strict=True)):
        grouped = grouped.unflatten(3 + 2 * axis, (size, scale)).flip(3 + 2 * axis)
    # (group, in, out, taps and phase of each axis) to (group, out, phases, in, taps)
    phases, places = range(4, 4 + 2 * axes, 2), range(3, 3 + 2 * axes, 2)
    weight = grouped.permute(0, 2, *phases, 1, *places).reshape(converted.weight.shape)
    bias = None if layer.bias is None else layer.bias.detach().repeat_interleave(_product(layer.stride))
    return _filled(converted, weight, bias, layer)


def subpixel_to_deconv(subpixel: SubPixelConv1d | SubPixelConv2d) -> Deconv:
    """The transposed convolution with kernel scale times k that equals a sub-pixel convolution.

    Where the padding is not the same on both sides, as an even kernel's, the kernel grows by taps of zero. Raises FeatvisError for
    a dilated kernel, a padding mode other than zeros and a bias that differs between the phases of a channel.

    >>> from featvis.conversions import subpixel_to_deconv
    >>> subpixel_to_deconv(featvis.SubPixelConv2d(8, 3, kernel_size=3))
    ConvTranspose2d(8, 3, kernel_size=(6, 6), stride=(2, 2), padding=(2, 2))
    """
    layer: Any = subpixel
    axes = _axes(layer, _SUBPIXEL, "a SubPixelConv1d or SubPixelConv2d")
    _check_plain(layer)
    scales = layer.scale_factor
    bias = None
    if layer.bias is not None:
        phases = layer.bias.detach().unflatten(0, (layer.out_channels, -1))
        if not (phases == phases[:, :1]).all():
            raise FeatvisError(
                "the bias differs between the phases of a channel; a transposed convolution has one for each channel"
            )
        bias = phases[:, 0].clone()
    weight = layer.weight.detach().unflatten(0, (layer.groups, -1, *scales))
    # (group, out, phases, in, taps) to (group, in, out, taps and phase of each axis), then each axis to one kernel.
    order = [place for axis in range(axes) for place in (3 + axes + axis, 2 + axis)]
    weight = weight.permute(0, 2 + axes, 1, *order)
    for axis in range(axes):
        weight = weight.flip(3 + axis).flatten(3 + axis, 4 + axis)
    weight = weight.flatten(0, 1)
    padding, extra, growth = [], [], []
    for size, scale, margin, crop in zip(layer.kernel_size, scales, layer.margins, layer.crop, strict=True):
        before, after = (scale * (size - 1 - pixels) + cut for pixels, cut in zip(margin, crop, strict=True))
        blocks_before = max(0, -(-(max(0, after) - before) // scale))
        before += blocks_before * scale
        blocks_after = max(0, (before - after) // scale)
        after += blocks_after * scale
        padding.append(before)
        extra.append(before - after)
        growth.append((blocks_before * scale, blocks_after * scale))
    weight = F.pad(weight, [pixels for pair in reversed(growth) for pixels in pair])
    kernel = tuple(weight.shape[2:])
    converted = _meta(_DECONV[axes], layer, kernel, stride=scales, padding=tuple(padding), output_padding=tuple(extra))
    return _filled(converted, weight, bias, layer)


def conv_to_unshuffle(conv: nn.Conv1d | nn.Conv2d) -> UnshuffleConv1d | UnshuffleConv2d:
    """The pixel unshuffle and convolution with kernel k / stride that equal a strided convolution whose kernel k is a multiple of it.

    Any padding mode. Raises FeatvisError where a kernel is not such a multiple, or is dilated, and for a stride of 1.

    >>> from featvis.conversions import conv_to_unshuffle
    >>> conv, pictures = nn.Conv2d(3, 8, 4, stride=2, padding=1), torch.rand(1, 3, 16, 16)
    >>> torch.allclose(conv_to_unshuffle(conv)(pictures), conv(pictures), atol=1e-6)
    True
    """
    layer: Any = conv
    axes = _axes(layer, {1: nn.Conv1d, 2: nn.Conv2d}, "an nn.Conv1d or nn.Conv2d")
    if max(layer.stride) == 1:
        raise FeatvisError(f"a convolution of stride {layer.stride} has nothing to unshuffle; leave it as it is")
    taps = _taps(layer)
    converted = _meta(
        _UNSHUFFLE[axes],
        layer,
        taps,
        scale_factor=layer.stride,
        padding=0 if layer.padding == "valid" else layer.padding,
        padding_mode=layer.padding_mode,
    )
    weight = layer.weight.detach()
    for axis, (size, scale) in enumerate(zip(taps, layer.stride, strict=True)):
        weight = weight.unflatten(2 + 2 * axis, (size, scale))
    weight = weight.permute(0, 1, *range(3, 3 + 2 * axes, 2), *range(2, 2 + 2 * axes, 2))
    bias = None if layer.bias is None else layer.bias.detach().clone()
    return _filled(converted, weight.reshape(converted.weight.shape), bias, layer)


def resize_to_deconv(resize: ResizeConv1d | ResizeConv2d) -> Deconv:
    """The transposed convolution with kernel k + scale - 1 that equals a nearest-neighbour resize-convolution.

    Its kernel is the convolution's, flipped and convolved with a box of ones: x2 and k3 give k4 s2 p1. Raises FeatvisError for
    another interpolation, a dilated kernel, a padding mode other than zeros, and margins that a transposed convolution does not have.

    >>> from featvis.conversions import resize_to_deconv
    >>> resize_to_deconv(featvis.ResizeConv2d(8, 3, kernel_size=3, padding_mode="zeros"))
    ConvTranspose2d(8, 3, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))
    """
    layer: Any = resize
    axes = _axes(layer, {1: ResizeConv1d, 2: ResizeConv2d}, "a ResizeConv1d or ResizeConv2d")
    _check_plain(layer)
    if layer.mode != "nearest":
        raise FeatvisError(f"the interpolation is {layer.mode}; only a nearest-neighbour one converts")
    padding = [size - 1 - before for size, (before, _) in zip(layer.kernel_size, layer.margins, strict=True)]
    extra = [after - before for before, after in layer.margins]
    if min(padding) < 0 or not all(
        0 <= pixels < scale for pixels, scale in zip(extra, layer.scale_factor, strict=True)
    ):
        raise FeatvisError(
            f"the margins {layer.margins} of {layer} fit no transposed convolution; use a kernel padded to the same size"
        )
    weight = layer.weight.detach().unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    for axis, scale in enumerate(layer.scale_factor, start=2):
        rows = weight.flip(axis).movedim(axis, -1)
        box = torch.ones(1, 1, scale, device=rows.device, dtype=rows.dtype)
        spread = F.conv1d(rows.reshape(-1, 1, rows.shape[-1]), box, padding=scale - 1)
        weight = spread.reshape(*rows.shape[:-1], -1).movedim(-1, axis)
    kernel = tuple(weight.shape[2:])
    bias = None if layer.bias is None else layer.bias.detach().clone()
    converted = _meta(
        _DECONV[axes], layer, kernel, stride=layer.scale_factor, padding=tuple(padding), output_padding=tuple(extra)
    )
    return _filled(converted, weight, bias, layer)


def _margin_and_crop(taps: int, scale: int, cut: int) -> tuple[int, int]:
    """How many low-resolution pixels to add on one side, and how many of the output to cut there, so that `cut` are gone in all."""
    margin = max(0, taps - 1 - cut // scale)
    return margin, cut - scale * (taps - 1 - margin)


def _product(numbers: tuple[int, ...]) -> int:
    return int(torch.Size(numbers).numel())


def _axes(layer: nn.Module, kinds: dict[int, Any], wanted: str) -> int:
    for axes, kind in kinds.items():
        if isinstance(layer, kind):
            return axes
    raise FeatvisError(f"this is a {type(layer).__name__}; give {wanted}")


def _taps(layer: Any) -> tuple[int, ...]:
    """Taps of each phase, along each axis."""
    if max(layer.dilation) > 1:
        raise FeatvisError(f"the dilation is {layer.dilation}; only a kernel without dilation converts")
    for size, stride in zip(layer.kernel_size, layer.stride, strict=True):
        if size % stride:
            raise FeatvisError(
                f"the kernel {layer.kernel_size} is not a multiple of the stride {layer.stride}; "
                "pad the kernel with zeros to one first"
            )
    return tuple(size // stride for size, stride in zip(layer.kernel_size, layer.stride, strict=True))


def _check_plain(layer: Any) -> None:
    if layer.padding_mode != "zeros":
        raise FeatvisError(
            f"the padding mode is {layer.padding_mode}; a transposed convolution has only zeros, give padding_mode zeros"
        )
    if max(layer.dilation) > 1:
        raise FeatvisError(f"the dilation is {layer.dilation}; only a kernel without dilation converts")


def _meta(kind: Any, layer: Any, kernel_size: tuple[int, ...], **arguments: Any) -> Any:
    """A layer of the channels and groups of another one, without values yet."""
    return kind(
        layer.in_channels,
        layer.out_channels,
        kernel_size,
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
        **arguments,
    )


def _filled(converted: Any, weight: Tensor, bias: Tensor | None, layer: Any) -> Any:
    converted.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format))
    if bias is not None:
        converted.bias = nn.Parameter(bias)
    return converted.requires_grad_(layer.weight.requires_grad).train(layer.training)
