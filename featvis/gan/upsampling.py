"""The checkerboard in the pictures of generators with random weights, by how they upsample: many networks, before any training.

Odena, Dumoulin and Olah, Distill 2016, section "Image Generation", with numbers. The energy of a picture is the sum over channels of
its squared pixels before tanh. Zero is mid-grey and the mean over networks, and no mean is taken off a single picture: what is left of
two phases then has equal energy in both, however strong their comb.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from featvis.compat import versions
from featvis.errors import FeatvisError, nearest_names
from featvis.files import document_text, plain
from featvis.measure.estimates import Estimate
from featvis.measure.periods import exact_periods, periods_of
from featvis.measure.phases import fold
from featvis.measure.replicates import mean_of, moments, squared_mean
from featvis.measure.sums import FEWEST_PICTURES, EnergySums
from featvis.models.zoo.generators import GENERATORS, draw_weights, parse_upsampler
from featvis.predict.overlap import Stage, energies_by_period

SCHEMA = "featvis.generators/1"

PERIOD = 4
"""What the last two layers can leave, in pixels; every variant is measured at it."""

LATENTS = 16
"""Pictures of each network: the replicates of its own energy."""

BORDER = 4
"""Pixels left out on each side before the measure leaves out its own, so that no padding reaches what is measured."""

SMALLEST, LARGEST = 32, 512
"""Sides of a picture in pixels: enough periods to measure, and little enough to hold 16 of them."""

SHOWN = 3
"""Networks whose first picture is kept for the figure."""

STAGES: dict[str, Stage] = {
    "deconv3": Stage(3, 2, 1),
    "deconv4": Stage(4, 2, 1),
    "subpixel": Stage(6, 2, 2),
    "icnr": Stage(6, 2, 2),
    "nearest": Stage(4, 2, 1),
    "bilinear": Stage(6, 2, 2),
}
"""The transposed convolution that reads as many pixels as each layer of UPSAMPLING: all but the first are divisible by their stride."""


@dataclass(frozen=True)
class UpsamplerEnergies:
    """What one way of upsampling does to the pictures of networks with random weights; periods are in pixels.

    closed_form: E(p) that the overlap of the layers leads one to expect. energy: E(p) of the energy expected over networks, and
    exact_periods its split. own_energy: the mean over networks of each one's own E(p), over its latents. signed_comb: S(p) of a
    picture, mean over networks. controls: periods that no layer can cause. profile: (4, 4), mean 1. pictures: (networks, C, H, W),
    the first of some networks, before tanh.
    """

    name: str
    closed_form: dict[int, float]
    energy: dict[int, Estimate]
    exact_periods: dict[int, Estimate]
    own_energy: dict[int, Estimate]
    signed_comb: dict[int, Estimate]
    controls: dict[int, Estimate]
    high_frequency_share: Estimate
    profile: Tensor
    pictures: Tensor = field(repr=False)

    def content(self) -> dict[str, Any]:
        """Plain numbers for JSON, without the pictures; periods become strings."""
        return plain({name: value for name, value in vars(self).items() if name != "pictures"})


@dataclass(frozen=True)
class GeneratorComparison:
    """Several ways of upsampling, measured with the same settings and seed."""

    variants: tuple[UpsamplerEnergies, ...]
    settings: dict[str, Any]

    def to_json(self) -> str:
        """The comparison as JSON, without the pictures."""
        return document_text({"schema": SCHEMA, **vars(self)})


def closed_form_energies(name: str) -> dict[int, float]:
    """E(p) of the overlap of a variant's layers, what is expected without batch norm; exact but for two bilinear resizes in a row.

    The second mixes neighbours whose correlation the first left uneven: E(4) is 5e-5 where the features are white.
    """
    layers, smoothing = parse_upsampler(name)
    smooth = [] if smoothing is None else [Stage(smoothing, 1, (smoothing - 1) // 2)]
    stack = [*smooth, STAGES[layers[-1]], STAGES[layers[-2]]]
    return {period: float(value) for period, value in energies_by_period(stack, stack).items()}


def expected_energies(profiles: Tensor) -> tuple[dict[int, Estimate], dict[int, Estimate]]:
    """E(p) of the mean of many networks' energy profiles, without bias, and its split by exact period.

    profiles: (networks, P, P), mean energy of each phase in the same units for all networks, so that strong networks count as they do
    in an expectation; `EnergySums` gives each the same weight, which for pictures of three channels comes out a tenth too low.
    The error counts the ratio to the mean level by its first-order expansion.
    """
    level = profiles.mean((-2, -1), keepdim=True)
    mean = profiles.mean(0) / level.mean()
    deviations = (profiles - level * mean) / level.mean() + (mean - 1)
    grams = {}
    counts = torch.ones(len(profiles), dtype=profiles.dtype)
    for period in periods_of(profiles.shape[-1]):
        folded = fold(deviations, period, period).flatten(1)
        grams[period] = folded @ folded.T / folded.shape[1]
    energy, exact = (
        {period: squared_mean(gram, gram.diagonal(), counts) for period, gram in split.items()}
        for split in (grams, exact_periods(grams))
    )
    return energy, exact


def measure_upsampler(
    family: str,
    name: str,
    samples: int,
    size: tuple[int, int],
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> UpsamplerEnergies:
    """Draw a generator's weights `samples` times and measure 16 pictures of each before tanh; see `compare_upsampling`."""
    with torch.random.fork_rng(devices=[]):
        network = GENERATORS[family](parse_upsampler(name), size).requires_grad_(False)
    source = torch.Generator().manual_seed(seed)
    metric = EnergySums(PERIOD)
    inside = [slice(BORDER, side - BORDER) for side in size]
    profiles, own, shown = [], [], []
    for number in range(samples):
        draw_weights(network, source)
        pictures = network.before_tanh(torch.randn(LATENTS, network.latent, generator=source))
        if number < SHOWN:
            shown.append(pictures[0])
        pictures = pictures[..., inside[0], inside[1]].double()
        # One replicate for each network: its pictures are further channels.
        metric.update(pictures.flatten(0, 1)[None])
        own.append(expected_energies(fold(pictures.square().sum(1), PERIOD, PERIOD))[0])
        profiles.append(fold(pictures.square().mean((0, 1)), PERIOD, PERIOD))
        progress(number + 1)
    together = metric.compute()
    stacked = torch.stack(profiles)
    energy, exact = expected_energies(stacked)
    return UpsamplerEnergies(
        name=name,
        closed_form=closed_form_energies(name),
        energy=energy,
        exact_periods=exact,
        own_energy={
            period: mean_of(moments(torch.tensor([its[period].value for its in own], dtype=torch.float64)))
            for period in energy
        },
        signed_comb=together.signed_comb,
        controls=together.controls,
        high_frequency_share=together.high_frequency_share,
        profile=stacked.mean(0) / stacked.mean(),
        pictures=torch.stack(shown),
    )


def compare_upsampling(
    family: str,
    names: Sequence[str],
    samples: int = 64,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> GeneratorComparison:
    """Measure the checkerboard in pictures of generators with random weights, for several ways of upsampling.

    family: a name of GENERATORS. names: as `parse_upsampler` reads them. samples: independent networks for each. size: (H, W) in
    pixels. progress is called with the networks measured so far, of all variants. Raises FeatvisError for an unknown family or name,
    for one given twice, for fewer networks than give an error, and for a size that is no multiple of 16.

    >>> found = featvis.compare_upsampling("dcgan", ["deconv3", "nearest"], samples=8)
    >>> [round(variant.closed_form[2], 3) for variant in found.variants]
    [0.235, 0.0]
    >>> [variant.energy[2].value > 0.1 for variant in found.variants]
    [True, False]
    """
    if family not in GENERATORS:
        near = nearest_names(family, GENERATORS)
        raise FeatvisError(f"no generator {family!r}{near}; give one of {', '.join(GENERATORS)}")
    if not names:
        raise FeatvisError("no upsampling was given; name at least one, such as deconv3")
    for name in names:
        parse_upsampler(name)
        if list(names).count(name) > 1:
            raise FeatvisError(f"the upsampling {name!r} is given twice; give each once")
    if samples < FEWEST_PICTURES:
        raise FeatvisError(
            f"{samples} networks leave no spread to estimate an error from; give at least {FEWEST_PICTURES}"
        )
    if any(side % 16 or not SMALLEST <= side <= LARGEST for side in size):
        raise FeatvisError(
            f"a size of {size[0]}x{size[1]} pixels; give a multiple of 16 from {SMALLEST} to {LARGEST}, such as 64"
        )
    done = itertools.count(1)
    variants = [measure_upsampler(family, name, samples, size, seed, lambda _: progress(next(done))) for name in names]
    settings = {
        "generator": family,
        "upsample": list(names),
        "samples": samples,
        "latents": LATENTS,
        "size": list(size),
        "seed": seed,
        "measured": "before tanh, no mean taken off",
        "versions": versions(),
    }
    return GeneratorComparison(tuple(variants), settings)
