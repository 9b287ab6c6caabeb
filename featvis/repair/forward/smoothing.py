"""Fixes that leave strided layers as they are and smooth beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.changes import Change
from featvis.repair.forward.sites import Site, enlarges, resamples, upsamples
from featvis.repair.forward.surrounding import check_axes, sites, surround
from featvis.repair.layers import SmoothHold1d, SmoothHold2d, SmoothingDeconv1d, SmoothingDeconv2d
from featvis.tracing.outputs import output_tensor
from featvis.tracing.windows import Window, per_axis, size_words

ORDER = 1
"""Order of the smooth hold: the first above 0, which is a plain mean over the stride."""

_HOLD: dict[int, Any] = {1: SmoothHold1d, 2: SmoothHold2d}
_SMOOTHING: dict[int, Any] = {1: SmoothingDeconv1d, 2: SmoothingDeconv2d}


def smooth_hold(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """A smooth hold before every strided layer and behind every transposed convolution with a stride."""
    found = [entry for entry in sites(module) if resamples(entry[2])]
    axes = [check_axes(name, site) for name, _, site, _ in found]
    changes = []
    for (name, layer, site, note), count in zip(found, axes, strict=True):
        hold = _HOLD[count](site.window.stride, ORDER)
        surround(layer, **{"after" if upsamples(site) else "before": hold})
        after = f"{site}, then smooth hold" if upsamples(site) else f"smooth hold, then {site}"
        changes.append(Change(name, str(site), after, note))
    return changes


def stride1_smooth(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """A trainable transposed convolution of stride 1, as wide as the stride, behind the last upsampling layer; it starts as a mean.

    images: without them, the last layer is the last one registered.
    """
    found = [entry for entry in sites(module) if enlarges(entry[2])]
    if not found:
        return []
    if images is None:
        name, layer, site, note = found[-1]
        channels = _channels(name, layer, site)
    else:
        output, (name, layer, site, note) = _last_to_run(module, images, found)
        channels = output.shape[1]
    stride = site.window.stride or _scale(name, layer)
    like = next((parameter for parameter in module.parameters()), torch.zeros(()))
    count = check_axes(name, Site(site.kind, Window((), stride, (), ())))
    smoothing = _SMOOTHING[count](
        channels, channels, stride, groups=channels, bias=False, device=like.device, dtype=like.dtype
    )
    surround(layer, after=smoothing.box_())
    said = f"its own parameters; it removes the period of this layer alone; {note}".removesuffix("; ")
    return [Change(name, str(site), f"{site}, then transposed convolution {size_words(stride)} stride 1", said)]


def _channels(name: str, layer: Any, site: Site) -> int:
    if not upsamples(site):
        raise FeatvisError(f"the channels that {name!r}, {site}, gives are not known; give an example batch, images")
    return int(layer.out_channels)


def _scale(name: str, layer: Any) -> tuple[int, ...]:
    """The factors of a pixel shuffle or an interpolation."""
    scale = getattr(layer, "upscale_factor", None) or getattr(layer, "scale_factor", None)
    factors = per_axis(scale, 2)
    if scale is None or any(factor != int(factor) for factor in factors):
        raise FeatvisError(f"the layer {name!r} enlarges by {scale}; a smoothing layer needs a whole factor")
    return tuple(int(factor) for factor in factors)


def _last_to_run(module: nn.Module, images: Tensor, found: list[Any]) -> tuple[Tensor, Any]:
    """What the last upsampling layer to run gives, and its entry."""
    seen: list[tuple[Tensor, Any]] = []
    hooks = [
        entry[1].register_forward_hook(
            lambda layer, given, output, entry=entry: seen.append((output_tensor(output), entry))
        )
        for entry in found
    ]
    with torch.no_grad():
        module(images)
    for hook in hooks:
        hook.remove()
    if not seen:
        raise FeatvisError("none of the network's upsampling layers runs on these images; give others")
    return seen[-1]
