"""Checkerboard energies of gradients that come in batches."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from torch import Tensor

from featvis.gradients.engine import GradientEngine
from featvis.measure.metric import CheckerboardEnergy
from featvis.measure.sums import Energies
from featvis.models.model import Model

PERIODS = {"classifier": 8, "discriminator": 4, "generator": 4}
"""The longest period that is measured of each kind of network in the zoo, in pixels."""

PICTURES, BATCH = 1000, 125
"""Pictures at which networks of the zoo are measured, and how many at once."""


def energies_in(batches: Iterable[Tensor], total_stride: int) -> Energies:
    """What batches of gradients measure together."""
    metric = CheckerboardEnergy(total_stride)
    for gradients in batches:
        metric.update(gradients)
    return metric.compute()


def energies_at(engine: GradientEngine, pixels: Iterable[Tensor]) -> Energies:
    """What the gradients at batches of pixels measure; the engine learns its total stride from the first one."""
    gradients = map(engine, pixels)
    first = next(gradients)
    return energies_in(chain([first], gradients), engine.total_stride)


def energies_of(model: Model, pictures: Tensor) -> Energies:
    """What the gradient of the top logit measures at pictures (N, 3, 32, 32) in [0, 1]."""
    return energies_at(GradientEngine(model), map(model.normalise, pictures.split(BATCH)))
