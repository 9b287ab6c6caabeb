"""Fixes of the backward pass alone: outputs stay as they are, bit by bit, and gradients lose their checkerboard.

Each works in place on a copy, by forward hooks that hand the layer a view of its input, or its output behind a gradient of its own. So they
come along with copies, folded networks, other tools and plain autograd. A layer's own weights keep their true gradients; those of the
layers nearer the pixels are treated as the pixels are, so train without them.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.backward.hooks import BOXES, SMALL, blurring, even_out, evening, smooth
from featvis.repair.backward.profiles import drawn_alike, measured_profile, overlap_profile
from featvis.repair.backward.windows import stride_words, strided_layers, window_in_plane, words
from featvis.repair.changes import Change
from featvis.tracing.layer_table import LayerRow, resolution_layers
from featvis.tracing.networks import as_input, copy_module
from featvis.tracing.trace import trace
from featvis.tracing.windows import MAXIMA, per_axis, times

FEWEST = 8
"""Fewer pictures than this calibrate no profile; 30 are better."""


def backward_blur(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Blur the gradient at the input of each strided layer, by four averages over one stride.

    One average over all shifts of a stride is what Herdt et al., "Smooth Deep Saliency", 2024, section 3, take; four have a
    centred kernel, 1:4:6:4:1 for a stride of 2, whose zeros at the harmonics of the stride are of fourth order. images, seed: not needed.
    """
    changes = []
    for name, layer in strided_layers(module):
        if blurring not in layer._forward_pre_hooks.values():
            layer.register_forward_pre_hook(blurring)
            after = f"its gradient averaged over {stride_words(layer)} pixels, {BOXES} times"
            changes.append(Change(name, words(layer), after))
    return changes


def backward_smooth_maxpool(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Pass the gradient of max-pooling on to its whole window: that of mean(x^2) / (.01 + mean|x|), as in Lucid's AttrSpatial.

    images, seed: not needed. Raises FeatvisError for dilated windows and returned indices, which the surrogate does not have.
    """
    changes = []
    for name, layer in module.named_modules():
        window = window_in_plane(layer) if isinstance(layer, MAXIMA) else None
        if window is None or smooth in layer._forward_hooks.values():
            continue
        if max(window.dilation) > 1 or layer.return_indices:
            raise FeatvisError(
                f"{name}: max-pooling that is dilated or returns its indices has no smooth surrogate; replace it, or leave the fix out"
            )
        layer.register_forward_hook(smooth)
        changes.append(Change(name, words(layer), f"the gradient of mean(x^2) / ({SMALL} + mean|x|)"))
    return changes


def backward_even(module: nn.Module, images: Tensor | None, seed: int) -> list[Change]:
    """Divide the gradient at each strided layer's input by the root of its expected phase profile, channel by channel.

    images: (B, C, H, W) or (B, C, L), prepared input on which the profiles of the top logit's gradient are calibrated, 8 or better 30:
    from the layer nearest the score on, over the whole period from the layer to the score, less what the spread between pictures
    leaves in doubt. With fewer or none by the overlap of each layer's squared weights, over its own stride. Phases that no window reads
    are first filled by averages. seed: not needed.

    Raises FeatvisError for trained weights without images, where the overlap does not tell where gradients fall, and for images
    smaller than the total stride.
    """
    if images is not None and len(images) >= FEWEST:
        return _calibrate(module, images)
    if not drawn_alike(module):
        raise FeatvisError(
            f"backward-even needs at least {FEWEST} pictures, better 30: these weights look trained, and their overlap alone does not "
            "tell where gradients fall; give prepared pictures as images"
        )
    changes = []
    for name, layer in strided_layers(module):
        profile = overlap_profile(layer)
        if evening not in layer._forward_pre_hooks.values() and bool((profile - 1).abs().amax() > 1e-6):
            # Where phases are never read, they are filled evenly.
            even_out(layer, torch.ones(1, 1, 1) if bool((profile == 0).any()) else profile)
            changes.append(Change(name, words(layer), "its gradient evened", "by the overlap of its weights"))
    return changes


def _calibrate(module: nn.Module, images: Tensor) -> list[Change]:
    """Even out each layer that changes the resolution, from the score to the pixels, as the gradient that arrives there needs it."""
    images = as_input(module, images.detach())
    twin = copy_module(module)
    record = trace(twin, images[:1])
    total, size = record.total_stride(), images.shape[2:]
    if min(size) < total:
        raise FeatvisError(
            f"pictures of {times(size)} are smaller than the total stride of {total}; give larger ones to calibrate backward-even"
        )
    rows = {row.name: row for row in resolution_layers(record) if not row.type.startswith("(")}
    changes = []
    for name, row in reversed(rows.items()):
        layer = twin.get_submodule(name)
        if evening in layer._forward_pre_hooks.values():
            continue
        even_out(layer, torch.ones(1, 1, 1))
        profile = measured_profile(twin, layer, images, _phases(row, total, len(size)), record.form)
        for network in (twin, module):
            even_out(network.get_submodule(name), profile)
        changes.append(Change(name, words(layer), "its gradient evened", f"calibrated on {len(images)} pictures"))
    return changes[::-1]


def _phases(row: LayerRow, total: int, axes: int) -> tuple[int, int]:
    """Rows and columns of the period from a layer's input to the score, in pixels of that input; its stride where that is no number."""
    strides = per_axis(row.stride, axes)
    sizes = []
    for stride, after in zip(strides, row.total_stride or (Fraction(total),) * axes, strict=True):
        period = Fraction(total) * stride / after
        sizes.append(int(period) if period.denominator == 1 else stride)
    return (1, sizes[0]) if axes == 1 else (sizes[0], sizes[1])
