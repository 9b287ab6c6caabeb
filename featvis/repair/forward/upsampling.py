"""Fixes of transposed convolutions."""

from __future__ import annotations

import copy
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.changes import Change
from featvis.repair.conversions import deconv_to_subpixel
from featvis.repair.forward.sites import Site, upsamples
from featvis.repair.forward.surrounding import check_axes, check_own_weight, check_plain, replace, sites
from featvis.repair.layers import ResizeConv1d, ResizeConv2d
from featvis.tracing.windows import TRANSPOSED, size_words

_RESIZE: dict[int, Any] = {1: ResizeConv1d, 2: ResizeConv2d}


def resize_nearest(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every transposed convolution with a stride becomes nearest-neighbour resizing and a convolution, fitted to its weights."""
    return [_resized(*entry, mode="nearest") for entry in _transposed(module)]


def resize_bilinear(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every transposed convolution with a stride becomes bilinear resizing and a convolution, fitted to its weights."""
    return [_resized(*entry, mode="bilinear") for entry in _transposed(module)]


def _resized(name: str, layer: Any, site: Site, note: str, mode: str) -> Change:
    axes = len(site.window.stride)
    try:
        other = _RESIZE[axes].from_deconv(layer, "linear" if axes == 1 and mode == "bilinear" else mode)
    except FeatvisError as error:
        raise FeatvisError(f"the layer {name!r}: {error}") from None
    replace(layer, other)
    return Change(name, str(site), f"{other.mode} resizing, convolution {size_words(other.kernel_size)}", note)


def _transposed(module: nn.Module) -> list[tuple[str, Any, Site, str]]:
    """The transposed convolutions with a stride, all checked before the first is changed."""
    found = [entry for entry in sites(module) if upsamples(entry[2])]
    for name, layer, site, _ in found:
        check_axes(name, site)
        check_plain(name, layer, *TRANSPOSED)
        check_own_weight(name, layer)
    return found


def subpixel(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every transposed convolution with a stride becomes the sub-pixel convolution that computes the same."""
    return [_shuffled(*entry, shared=False) for entry in _transposed(module)]


def subpixel_icnr(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every transposed convolution with a stride becomes a sub-pixel convolution whose phases start with one kernel, their mean."""
    return [_shuffled(*entry, shared=True) for entry in _transposed(module)]


def _shuffled(name: str, layer: Any, site: Site, note: str, shared: bool) -> Change:
    try:
        other: Any = deconv_to_subpixel(_widened(layer))
    except FeatvisError as error:
        raise FeatvisError(f"the layer {name!r}: {error}") from None
    if shared:
        phases = other.weight.detach().unflatten(0, (other.out_channels, -1))
        other.weight.data = phases.mean(1, keepdim=True).expand_as(phases).flatten(0, 1).contiguous()
    replace(layer, other)
    after = f"convolution {size_words(other.kernel_size)}, pixel shuffle" + (
        ", one kernel for all phases" if shared else ""
    )
    return Change(name, str(site), after, note)


def _widened(layer: Any) -> Any:
    """The transposed convolution with zeros behind its kernel, up to a multiple of the stride; what they would write is cut off."""
    missing = [-size % stride for size, stride in zip(layer.kernel_size, layer.stride, strict=True)]
    wide = copy.deepcopy(layer)
    wide.weight = nn.Parameter(F.pad(layer.weight, [pixels for more in reversed(missing) for pixels in (0, more)]))
    wide.kernel_size = tuple(wide.weight.shape[2:])
    wide.output_padding = tuple(extra - more for extra, more in zip(layer.output_padding, missing, strict=True))
    return wide
