"""The checkerboard in the pictures that a generator makes: trained, with random weights, and beside real pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from featvis.compat import versions
from featvis.errors import FeatvisError
from featvis.files import plain
from featvis.gan.networks import BATCH, LATENTS, conditioned, latent_shape, sample, with_random_weights
from featvis.gan.pictures import BINS_PER_CYCLE, PERIOD, PictureAudit, measure_pictures
from featvis.measure.finding import Finding
from featvis.tracing.layer_table import LayerRow, layer_rows
from featvis.tracing.networks import as_input
from featvis.tracing.refusals import check_traceable
from featvis.tracing.trace import trace

SCHEMA = "featvis.generator/1"

HIGH = 0.25
"""Cycles per pixel above which a picture's power counts as fine detail."""


@dataclass(frozen=True)
class GeneratorAudit:
    """What a generator's pictures measured, beside those of other weights and real ones; plain numbers, but for the examples.

    pictures: "trained", "random weights" and "real", where there are any. examples: a few pictures of each, (N, C, H, W). enlarging: the
    layers that enlarge with a kernel, as far as they can be traced.
    """

    pictures: dict[str, PictureAudit]
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    enlarging: tuple[LayerRow, ...] = field(default=(), repr=False, compare=False)

    @property
    def finding(self) -> Finding:
        """Whether a checkerboard stands out in the fine detail of what the generator makes."""
        return replace(next(iter(self.pictures.values())).finding, subject="Fine detail of the generator's pictures")

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        names = ("finding", "pictures", "notes", "settings")
        return {"schema": SCHEMA, **{name: plain(getattr(self, name)) for name in names}}


def fine_detail(audit: PictureAudit) -> float:
    """The share of power above a quarter cycle per pixel, from the radial spectrum: 1 - pi/16 = 0.80 for white noise."""
    # A ring's number of frequencies grows with its radius, up to a half cycle; beyond, only the corners of the square are left.
    weights = [(frequency, power * _ring(frequency)) for frequency, power in audit.spectrum]
    return sum(part for frequency, part in weights if frequency > HIGH) / sum(part for _, part in weights)


def _ring(frequency: float) -> float:
    """The length of the circle of a radius within the square of frequencies up to a half."""
    if frequency <= 0.5:
        return 2 * math.pi * frequency
    return max(0.0, 2 * math.pi * frequency - 8 * frequency * math.acos(min(1.0, 0.5 / frequency)))


def limits_of(pictures: Tensor) -> tuple[float, float]:
    """The range that pictures are in: (-1, 1) where any value is clearly below 0, else (0, 1).

    Raises FeatvisError where they leave both.
    """
    lowest, highest = float(pictures.min()), float(pictures.max())
    if lowest < -1.1 or highest > 1.1:
        raise FeatvisError(
            f"the generator's pictures run from {lowest:.3g} to {highest:.3g}; expected -1 to 1 or 0 to 1, scale them in the factory"
        )
    return (-1.0, 1.0) if lowest < -0.05 else (0.0, 1.0)


def samples_of(
    generator: nn.Module, count: int, latent: str = "normal", category: int | None = None, seed: int = 0
) -> Tensor:
    """Pictures of a generator, (count, C, H, W) on the CPU, in eval mode, of latent values drawn with the seed.

    latent: a name in LATENTS; whether it takes (B, z) or (B, z, 1, 1) is found out. Raises FeatvisError where it makes no pictures.
    """
    network = conditioned(generator, category)
    return sample(network, latent_shape(network), latent, count, seed)


def audit_generator(
    generator: nn.Module,
    count: int = 512,
    latent: str = "normal",
    category: int | None = None,
    real: Tensor | None = None,
    period: int = PERIOD,
    seed: int = 0,
    name: str = "",
) -> GeneratorAudit:
    """Measure the checkerboard in a generator's pictures, with its weights and with random ones, and in real pictures.

    count: pictures of either. latent: a name in LATENTS. real: (N, C, H, W), of the same size. period: the longest period measured.
    The generator stays as it is. Raises FeatvisError where it makes no pictures, or others than the real ones in size.

    >>> network = nn.Sequential(nn.ConvTranspose2d(8, 6, 8), nn.ConvTranspose2d(6, 3, 3, stride=4), nn.Tanh())
    >>> found = featvis.audit_generator(network, count=16)
    >>> found.pictures["trained"].raw.energy[4].value > 0.5  # one pixel in four along each axis is never written
    True
    """
    network = conditioned(generator, category)
    check_traceable(network)
    shape = latent_shape(network)
    made = sample(network, shape, latent, count, seed)
    limits = limits_of(made)
    if real is not None and real.shape[1:] != made.shape[1:]:
        sizes = [" x ".join(map(str, pictures.shape[1:])) for pictures in (real, made)]
        raise FeatvisError(f"the real pictures are {sizes[0]}, the generator makes {sizes[1]}; prepare them alike")
    latents = LATENTS[latent]((min(count, BATCH), *shape), torch.Generator().manual_seed(seed))
    drawn = with_random_weights(network, latents, seed)
    sets = {"trained": made, "random weights": sample(drawn, shape, latent, count, seed)}
    if real is not None:
        sets["real"] = real
    notes = [
        f"latent values: {' x '.join(map(str, shape))}, {latent}",
        f"pictures in the range {limits[0]:g} to {limits[1]:g}",
        "random weights: each layer's own initialisation, batch norms with the statistics of a batch",
    ]
    if float(made.std(0).mean()) < 0.01 * (limits[1] - limits[0]):
        notes.append("all pictures of the generator are nearly the same: is --latent the one it was trained with?")
    settings = {
        "generator": name or type(generator).__name__,
        "samples": count,
        "latent": latent,
        "latent_shape": list(shape),
        "range": list(limits),
        "category": category,
        "period": period,
        "seed": seed,
        "versions": versions(),
    }
    audits = {title: measure_pictures(pictures, period) for title, pictures in sets.items()}
    examples = {title: pictures[:16] for title, pictures in sets.items()}
    return GeneratorAudit(audits, tuple(notes), settings, examples, _enlarging(network, latents))


def _enlarging(network: nn.Module, latents: Tensor) -> tuple[LayerRow, ...]:
    """The layers that enlarge with a kernel; none where the network cannot be traced."""
    try:
        rows = layer_rows(trace(network, as_input(network, latents[:2])))
    except FeatvisError:
        return ()
    return tuple(row for row in rows if row.mark == "upsampling" and row.kernel)


def power_beside(audit: PictureAudit, other: PictureAudit) -> Sequence[tuple[float, float]]:
    """The ratio of two radial spectra, frequency by frequency, where both have power."""
    known = {round(frequency * BINS_PER_CYCLE): power for frequency, power in other.spectrum}
    return [
        (frequency, power / known[ring])
        for frequency, power in audit.spectrum
        if (ring := round(frequency * BINS_PER_CYCLE)) in known and known[ring] > 0
    ]
