"""A check for test suites and training scripts: the network has no checkerboard in its input gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from featvis.audit.batches import Stack, measured
from featvis.audit.gate import exceeded
from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.measure.periods import measurable
from featvis.measure.sums import Energies, EnergySums
from featvis.models.model import Model

PICTURES = 32
"""Noise pictures where none are given."""


def assert_no_checkerboard(
    model: Model | nn.Module,
    images: Tensor | None = None,
    *,
    above: float = 0.05,
    score: str = "top",
    batch_size: int = 8,
    seed: int = 0,
) -> Energies:
    """Raises AssertionError where E of a period, traced or found in the input gradients, is above a limit by more than two errors.

    model: a Model, or a module together with images. images: prepared input, (N, C, H, W) or (N, C, L), N at least 4; 32 pictures of
    seeded normal noise of the Model's own input size by default. above: 0.05 is a fifth of one 3x3 stride-2 convolution with random
    weights. Returns what was measured. Raises FeatvisError where a bare module comes without images, too few leave no
    error, or nothing can be told.

    >>> from featvis.testing import assert_no_checkerboard
    >>> smooth = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> assert_no_checkerboard(smooth, torch.randn(8, 3, 32, 32)).total_stride
    1
    """
    if images is None:
        if not isinstance(model, Model):
            raise FeatvisError("give images, (N, C, H, W), or a featvis.Model, whose input size is known")
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(PICTURES, *model.input_size, generator=generator)
    engine = GradientEngine(model, score, seed)
    metric: EnergySums | None = None
    for batch in measured(engine, Stack(images, batch_size)):
        dims, size = images.ndim - 2, images.shape[2:]
        metric = metric or EnergySums(measurable(engine.total_stride, min(size)), dims, size)
        metric.update(batch.gradients, batch.numbers)
    assert metric is not None
    energies = metric.compute(find=True)
    if failures := exceeded(Audit.traced_by(engine, energies), above):
        raise AssertionError(
            f"a checkerboard in the input gradients: {'; '.join(failures)}. "
            "`featvis audit --culprits` names the layers, `featvis fix` repairs them."
        )
    return energies
