"""Fixes of strided convolutions and pooling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.changes import Change
from featvis.repair.forward.sites import (
    Site,
    downsamples,
    downsamples_unevenly,
    overlaps_unevenly,
    reads_single_pixels,
    takes_maxima,
)
from featvis.repair.forward.surrounding import check_axes, check_own_weight, check_plain, replace, sites, surround
from featvis.repair.layers import BlurPool1d, BlurPool2d, L2Pool1d, L2Pool2d
from featvis.repair.layers import pad as pad_map
from featvis.tracing.windows import AVERAGES, CONVOLUTIONS, MAXIMA, size_words

LONGEST = 32
"""Values of the longest blur: one of a stride of 16, as of vision transformers' patches."""

_BLUR: dict[int, Any] = {1: BlurPool1d, 2: BlurPool2d}
_AVERAGE: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d}
_L2: dict[int, Any] = {1: L2Pool1d, 2: L2Pool2d}


def blurpool(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every strided convolution and pooling layer evaluated densely, then blurred by a binomial filter of twice the stride's length.

    For a stride of 2 the even length leaves each phase the same energy, where the odd lengths of Zhang 2019 leave 4:2:2:1. An average over
    an even window is blurred by one value less, so that both together have an even length: 1 1 and 1 2 1 make 1 3 3 1.
    """
    found = [(*entry, _blur_length(entry[2])) for entry in _chosen(module, downsamples)]
    for name, _, site, _, length in found:
        if max(length) > LONGEST:
            raise FeatvisError(
                f"the layer {name!r}, {site}, would need a blur of {max(length)} values; the longest is {LONGEST}; use avgpool"
            )
    changes = []
    for name, layer, site, note, length in found:
        blur = _BLUR[len(length)](length, site.window.stride)
        after = f"dense, binomial blur {size_words(length)}"
        if reads_single_pixels(site) and not any(site.window.padding):
            # Linear, so the order does not matter; the smaller map is cheaper.
            layer.stride = (1,) * len(length)
            surround(layer, before=blur)
        else:
            _thin(name, layer, site, blur)
        changes.append(Change(name, str(site), after, note))
    return changes


def _blur_length(site: Site) -> tuple[int, ...]:
    averages = site.kind == "average pooling"
    axes = zip(site.window.kernel, site.window.stride, strict=True)
    return tuple(2 * stride - (averages and kernel % 2 == 0) if stride > 1 else 1 for kernel, stride in axes)


def avgpool(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every strided layer evaluated densely, then averaged over cells of the stride; maximum pooling becomes average pooling first."""
    changes = []
    for name, layer, site, note in _chosen(module, downsamples_unevenly):
        after = f"dense, mean of {size_words(site.window.stride)}"
        if takes_maxima(site):
            _check_maxima(name, layer, site)
            stride = site.window.stride if site.window.even else 1
            average = _AVERAGE[len(site.window.stride)](
                site.window.kernel, stride, layer.padding, layer.ceil_mode, count_include_pad=False
            )
            replace(layer, average)
            after = f"average pooling {size_words(site.window.kernel)}" + (
                "" if site.window.even else f", mean of {size_words(site.window.stride)}"
            )
        if not (takes_maxima(site) and site.window.even):
            _thin(name, layer, site, _cells(site))
        changes.append(Change(name, str(site), after, note))
    return changes


def l2pool(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Maximum pooling becomes the root of a mean of squares; uneven windows run densely, then the same over cells of the stride."""
    changes = []
    for name, layer, site, note in _chosen(module, takes_maxima):
        _check_maxima(name, layer, site)
        pool = _L2[len(site.window.stride)]
        ceil_mode = layer.ceil_mode and site.window.even
        other = pool(site.window.kernel, site.window.stride if site.window.even else 1, layer.padding, ceil_mode)
        geometry = _Geometry(layer, site)
        replace(layer, other)
        after = f"L2 pooling {size_words(site.window.kernel)}"
        if not site.window.even:
            surround(layer, after=geometry.completed(pool(site.window.stride, site.window.stride, ceil_mode=True)))
            after = f"dense L2 pooling {size_words(site.window.kernel)}, then of {size_words(site.window.stride)}"
        changes.append(Change(name, str(site), after, note))
    return changes


def pool_shortcut(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every 1x1 strided convolution reads the mean of each cell of its stride."""
    changes = []
    for name, layer, site, note in _chosen(module, reads_single_pixels):
        if any(site.window.padding):
            raise FeatvisError(
                f"the layer {name!r}, {site}, pads a kernel of one pixel, which this fix cannot carry over"
            )
        layer.stride = (1,) * len(site.window.stride)
        surround(layer, before=_cells(site))
        changes.append(Change(name, str(site), f"mean of {size_words(site.window.stride)}, convolution 1", note))
    return changes


def even_kernel(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Every window that its stride does not divide is widened to the next multiple; outputs keep their size and place.

    Weights are convolved with a box of one more tap than the kernel gains (k3 to k4: half of each weight goes to either neighbour),
    which keeps their sum and their centre of mass.
    """
    changes = []
    for name, layer, site, note in _chosen(module, overlaps_unevenly):
        kernel = tuple(
            -(-size // stride) * stride for size, stride in zip(site.window.kernel, site.window.stride, strict=True)
        )
        wide = Site(site.kind, dataclasses.replace(site.window, kernel=kernel))
        if isinstance(layer, AVERAGES):
            _thin(name, layer, site, _cells(site))
            wide_words = f"dense, mean of {size_words(site.window.stride)}"
        else:
            check_plain(name, layer, *CONVOLUTIONS, *MAXIMA)
            axes = zip(site.window.dilation, site.window.stride, strict=True)
            if any(stride > 1 and dilation % stride == 0 for dilation, stride in axes):
                raise FeatvisError(
                    f"the layer {name!r}, {site}, has a dilation divisible by its stride, so that no kernel reads all pixels; "
                    "use blurpool"
                )
            _widen(name, layer, site, kernel)
            wide_words = str(wide)
        changes.append(Change(name, str(site), wide_words, note))
    return changes


def _widen(name: str, layer: Any, site: Site, kernel: tuple[int, ...]) -> None:
    gained = [new - old for new, old in zip(kernel, site.window.kernel, strict=True)]
    extra = [dilation * more for dilation, more in zip(site.window.dilation, gained, strict=True)]
    margins = tuple(
        (pixels + more // 2, pixels + more - more // 2) for pixels, more in zip(site.window.padding, extra, strict=True)
    )
    if takes_maxima(site):
        check_plain(name, layer, *MAXIMA)
        lowest = _Lowest(_Geometry(layer, site), kernel, tuple(before for before, _ in margins))
        layer.kernel_size, layer.padding, layer.ceil_mode = kernel, 0, False
        surround(layer, before=lowest)
        return
    check_own_weight(name, layer)
    with torch.no_grad():
        layer.weight = nn.Parameter(_resampled(layer.weight, gained), requires_grad=False)
    layer.kernel_size, layer.padding = kernel, (0,) * len(kernel)
    layer._reversed_padding_repeated_twice = [0] * (2 * len(kernel))
    surround(layer, before=_Padding(margins, layer.padding_mode))
    layer.padding_mode = "zeros"


def _resampled(weight: Tensor, gained: Sequence[int]) -> Tensor:
    """The weight, (out, in, *kernel), convolved along each axis with a box of one more tap than it gains."""
    for axis, more in enumerate(gained, start=2):
        if more:
            shape = list(weight.shape)
            shape[axis] += more
            wide = weight.new_zeros(shape)
            for shift in range(more + 1):
                wide.narrow(axis, shift, weight.shape[axis]).add_(weight / (more + 1))
            weight = wide
    return weight


class _Padding(nn.Module):
    """Margins around a map, in a padding mode of torch.nn."""

    def __init__(self, margins: tuple[tuple[int, int], ...], mode: str) -> None:
        super().__init__()
        self.margins, self.mode = margins, mode

    def forward(self, images: Tensor) -> Tensor:
        return pad_map(images, self.margins, self.mode)

    def extra_repr(self) -> str:
        return f"margins={self.margins}, mode={self.mode}"


class _Lowest(nn.Module):
    """Margins that no maximum takes, for wider windows, as many as a pooling layer had."""

    def __init__(self, geometry: _Geometry, kernel: tuple[int, ...], before: tuple[int, ...]) -> None:
        super().__init__()
        self.geometry, self.kernel, self.before = geometry, kernel, before

    def forward(self, images: Tensor) -> Tensor:
        margins: list[int] = []
        for axis, (kernel, before) in enumerate(zip(self.kernel, self.before, strict=True)):
            size = images.shape[axis - len(self.kernel)]
            stride, dilation = self.geometry.window.stride[axis], self.geometry.window.dilation[axis]
            needed = (self.geometry.windows(axis, size) - 1) * stride + dilation * (kernel - 1) + 1
            margins = [before, needed - before - size, *margins]
        return F.pad(images, margins, value=-torch.inf)


class _Completed(nn.Module):
    """Repeats the last values of a dense map where ceil_mode takes one more window, before it is thinned out."""

    def __init__(self, geometry: _Geometry, thinning: nn.Module) -> None:
        super().__init__()
        self.geometry, self.thinning = geometry, thinning

    def forward(self, dense: Tensor) -> Tensor:
        return self.thinning(F.pad(dense, self.geometry.missing(dense), mode="replicate"))


class _Geometry:
    """Where the windows of a strided layer lie."""

    def __init__(self, layer: Any, site: Site) -> None:
        self.window = site.window
        self.ceil_mode = bool(getattr(layer, "ceil_mode", False))

    def completed(self, thinning: nn.Module) -> nn.Module:
        """The thinning module, which with ceil_mode first gets as many values as it needs."""
        return _Completed(self, thinning) if self.ceil_mode else thinning

    def windows(self, axis: int, size: int) -> int:
        """How many windows the layer takes along an axis of a map of this size."""
        stride, padding = self.window.stride[axis], self.window.padding[axis]
        if not self.ceil_mode:
            return self.window.count(axis, size)
        # As many as in a map that ends where the last one would.
        count = self.window.count(axis, size + stride - 1)
        # A window that starts behind the map and the padding before it is not taken.
        return count - 1 if (count - 1) * stride >= size + padding else count

    def missing(self, dense: Tensor) -> list[int]:
        """Values after each axis of the dense map that ceil_mode needs, in the order of F.pad."""
        missing: list[int] = []
        window = self.window
        for axis, (kernel, stride) in enumerate(zip(window.kernel, window.stride, strict=True)):
            places = dense.shape[axis - len(window.kernel)]
            size = places - 2 * window.padding[axis] + window.dilation[axis] * (kernel - 1)
            missing = [0, max(0, (self.windows(axis, size) - 1) * stride + 1 - places), *missing]
        return missing


def _chosen(module: nn.Module, applies: Callable[[Site], bool]) -> list[tuple[str, Any, Site, str]]:
    """The layers that a fix is for, all checked before the first is changed."""
    found = [entry for entry in sites(module) if applies(entry[2])]
    for name, layer, site, _ in found:
        check_axes(name, site)
        if getattr(layer, "return_indices", False):
            raise FeatvisError(
                f"the layer {name!r}, {site}, returns indices for unpooling, which no other layer can; leave it out"
            )
    return found


def _thin(name: str, layer: Any, site: Site, thinning: nn.Module) -> None:
    """Evaluate a strided layer at every place, and let `thinning` take every s-th value."""
    geometry = _Geometry(layer, site)
    layer.stride = (1,) * len(site.window.stride)
    surround(layer, after=geometry.completed(thinning))


def _cells(site: Site) -> nn.Module:
    """The mean of each cell of the stride, as many as there begin."""
    return _AVERAGE[len(site.window.stride)](
        site.window.stride, site.window.stride, ceil_mode=True, count_include_pad=False
    )


def _check_maxima(name: str, layer: Any, site: Site) -> None:
    check_plain(name, layer, *MAXIMA)
    if max(site.window.dilation) > 1:
        raise FeatvisError(f"the layer {name!r} pools with a dilation, which no average does; use blurpool")
