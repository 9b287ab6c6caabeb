"""Where a layer's gradient is expected to fall: by the overlap of its weights, or as measured at pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.measure.phases import fold, interior, period_parts, shrunk
from featvis.repair.backward.windows import planes_of, window_in_plane
from featvis.tracing.outputs import FIRST, Form, by_class
from featvis.tracing.refusals import refusals
from featvis.tracing.windows import CONVOLUTIONS, times

BATCH = 8
"""Pictures at a time while profiles are calibrated."""

LEAST = 0.05
"""A measured profile is taken to be at least this, so that no phase is blown up by chance."""

CHANCE = 1e-6
"""Weights count as trained where their taps differ by more than drawing them alike would bring about with this probability."""


def overlap_profile(layer: nn.Module) -> Tensor:
    """The expected energy by phase of what a strided layer sends back from an even map, (C or 1, rows, columns), mean 1.

    Each tap of a convolution counts with its squared weights, of pooling alike; phases that no window reads are 0.
    """
    window = window_in_plane(layer)
    assert window is not None
    taps = torch.ones(1, *window.kernel, dtype=torch.float64)
    if isinstance(layer, CONVOLUTIONS):
        squares = layer.weight.detach().double().square().unflatten(0, (layer.groups, -1)).sum(1)
        taps = squares.view(-1, *window.kernel).cpu()
    taps = window.by_phase(taps)
    level = taps.mean((1, 2), keepdim=True)
    return torch.where(level > 0, taps / level, 1.0)


def drawn_alike(module: nn.Module) -> bool:
    """Whether the taps of the network's convolutions are as strong as each other but for chance, as before any training.

    Each filter's energy is shared out over its taps. Where all taps are drawn alike, the squared distance of the mean shares from equal
    ones follows a chi-squared law, which is summed over layers.
    """
    statistic, freedom = 0.0, 0
    for layer in module.modules():
        if not isinstance(layer, CONVOLUTIONS) or math.prod(layer.kernel_size) == 1:
            continue
        energies = layer.weight.detach().flatten(0, 1).flatten(1).double().square()
        energies = energies[energies.sum(1) > 0]
        shares = energies / energies.sum(1, keepdim=True)
        count, taps = shares.shape
        spread = float(shares.var(0).sum()) if count > 1 else 0.0
        if spread > 0:
            distance = float((shares.mean(0) - 1 / taps).square().sum())
            statistic += count * distance / spread * (taps - 1)
            freedom += taps - 1
    if freedom == 0:
        return True
    surplus = torch.special.gammaincc(*torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64))
    return float(surplus) > CHANCE


def measured_profile(
    network: nn.Module, layer: nn.Module, images: Tensor, phases: tuple[int, ...], form: Form = FIRST
) -> Tensor:
    """The expected energy by phase of the gradient at a layer's input, (C, rows, columns), each channel with mean 1.

    Each picture counts alike. What the mean profile of a channel owes to the spread between pictures is taken off, for each exact period
    (James and Stein 1961). form: how the network's output is read. Channels without any energy have ones. Raises FeatvisError where the map
    holds no whole period.
    """
    deviations, level, count = torch.zeros(()), torch.zeros(()), 0
    squares: dict[int, Tensor] = {}
    for gradient in _arriving(network, layer, images, form):
        energy = planes_of(gradient).double().square()
        total = energy.mean((1, 2, 3), keepdim=True)
        energy = (energy / total)[(total > 0).flatten()]
        if any(size < period for size, period in zip(energy.shape[2:], phases, strict=True)):
            raise FeatvisError(
                f"pictures of {times(images.shape[2:])} leave a map of {times(gradient.shape[2:])} within the network, less than the "
                f"period of {times(phases[-(gradient.ndim - 2) :])} there; give larger ones to calibrate backward-even"
            )
        rows, columns = (interior(size, period) for size, period in zip(energy.shape[2:], phases, strict=True))
        profile = fold(energy[..., rows, columns], *phases)
        mean = profile.mean((2, 3), keepdim=True)
        for period, part in period_parts(profile - mean).items():
            squares[period] = squares.get(period, torch.zeros(())) + part.square().mean((2, 3)).sum(0)
        deviations, level, count = deviations + (profile - mean).sum(0), level + mean.sum(0), count + len(energy)
    if not count or not bool(level.sum() > 0):
        raise FeatvisError("no gradient of the top logit arrives at a strided layer; its profile cannot be calibrated")
    parts = period_parts(deviations / count)
    plain = {period: part.square().mean((1, 2)) for period, part in parts.items()}
    expected = shrunk(parts, {p: plain[p] - (squares[p] / count - plain[p]) / (count - 1) for p in parts})
    return torch.where(level > 0, 1 + expected * count / level, 1.0).clamp_min(LEAST)


def _arriving(network: nn.Module, layer: nn.Module, images: Tensor, form: Form) -> Iterator[Tensor]:
    """What a layer of a frozen network sends back to its input from the top logit: batch after batch, call after call."""
    seen: list[Tensor] = []

    def watch(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        seen.append(arguments[0].view_as(arguments[0]))
        return (seen[-1], *arguments[1:])

    # In front of the other hooks, so that the gradient has passed them.
    handle = layer.register_forward_pre_hook(watch, prepend=True)
    try:
        for batch in images.split(BATCH):
            seen.clear()
            with torch.enable_grad(), refusals(batch):
                logits = by_class(form.of(network(batch.clone().requires_grad_().clone())))
                found = torch.autograd.grad(logits.amax(1).sum(), seen, allow_unused=True)
            yield from (gradient for gradient in found if gradient is not None)
    finally:
        handle.remove()
