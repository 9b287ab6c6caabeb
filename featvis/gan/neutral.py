"""What a discriminator teaches: its gradient's profile beside the generator's pictures, and free pixels that follow the gradient alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from featvis.audit.batches import Stack
from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.files import plain
from featvis.gan.networks import outputs_of
from featvis.gan.pictures import PictureAudit, measure_pictures
from featvis.gradients.engine import GradientEngine
from featvis.measure.phases import fold, period_parts

STEPS, RATE = 200, 0.01
"""Steps of the free pixels, and how far the root mean square pixel moves in each, as a share of the range."""


@dataclass(frozen=True)
class Agreement:
    """How alike two phase profiles are at one exact period, and by chance.

    cosine: of the two profiles' parts of this period, 1 for the same comb in the same place, -1 for the opposite one. chance: the share of
    all shifts of one of them, its own place included, that agree at least as well; never below 1 / period^2.
    """

    cosine: float
    chance: float

    def others(self, period: int) -> int:
        """How many of the period^2 - 1 other places agree at least as well."""
        return round(self.chance * period**2) - 1


def agreement(first: Tensor, second: Tensor) -> dict[int, Agreement]:
    """How alike two profiles (P, P) are, by exact period; the null is one of them shifted by every number of rows and columns."""
    if first.shape != second.shape or first.ndim != 2 or first.shape[0] != first.shape[1]:
        raise FeatvisError(f"profiles of shapes {tuple(first.shape)} and {tuple(second.shape)}; expected (P, P) twice")
    parts, others = period_parts(first), period_parts(second)
    found = {}
    for period, part in parts.items():
        one, two = (fold(table, period, period) for table in (part, others[period]))
        norm = float(one.norm() * two.norm())
        if norm <= 1e-12:
            continue
        cosines = torch.stack(
            [(one * two.roll((row, column), (0, 1))).sum() for row in range(period) for column in range(period)]
        ).div(norm)
        found[period] = Agreement(float(cosines[0]), float((cosines >= cosines[0] - 1e-9).double().mean()))
    return found


@dataclass(frozen=True)
class NeutralAudit:
    """Free pixels before and after they followed a frozen discriminator; plain numbers, but for the example, a picture (C, H, W).

    change: of what was added to the pixels. output_before, output_after: the discriminator's mean output.
    """

    before: PictureAudit
    after: PictureAudit
    change: PictureAudit
    output_before: float
    output_after: float
    steps: int
    rate: float
    example: Tensor = field(repr=False, compare=False)

    @property
    def high_passed(self) -> dict[str, Audit]:
        """The fine detail of the pixels before and after, and of what was added, by these words."""
        measured = {"before": self.before, "after": self.after, "what was added": self.change}
        return {name: audit.high_passed for name, audit in measured.items()}

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {name: plain(value) for name, value in vars(self).items() if name != "example"}


def neutral_pictures(
    engine: GradientEngine,
    shape: tuple[int, int, int],
    limits: tuple[float, float],
    count: int = 16,
    period: int = 8,
    steps: int = STEPS,
    rate: float = RATE,
    batch_size: int = 32,
) -> NeutralAudit:
    """Let free pixels, neither for nor against a checkerboard, follow the gradient of a frozen discriminator, and measure them.

    engine: of the discriminator and its logit; its seed is that of the noise. shape: (C, H, W). The pixels begin as uniform noise of a
    tenth of the range around its middle; each step adds the gradient at a root mean square of rate times the range, and keeps them
    within limits. Nothing but the discriminator can prefer a phase. The setting of Schwarz, Liao and Geiger, NeurIPS 2021, section 3.2,
    with a frozen discriminator, and without Adam, whose division by each pixel's own size would even a checkerboard out.
    """
    low, high = limits
    random = torch.Generator().manual_seed(engine.seed)
    start = (low + high) / 2 + (high - low) * 0.1 * (torch.rand((count, *shape), generator=random) - 0.5)
    pixels = start.clone()
    for _ in range(steps):
        # Not `measured`: a gradient of zeros moves nothing, which is no error here.
        for batch in Stack(pixels, batch_size):
            part = batch.images
            gradient = engine(part, batch.numbers).to(part)
            size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
            part += (rate * (high - low)) * gradient / size.clamp_min(torch.finfo(part.dtype).tiny)
            part.clamp_(low, high)

    def output(pictures: Tensor) -> float:
        return float(outputs_of(engine.module, pictures, "neutral", batch_size).mean())

    return NeutralAudit(
        before=measure_pictures(start, period),
        after=measure_pictures(pixels, period),
        change=measure_pictures(pixels - start, period),
        output_before=output(start),
        output_after=output(pixels),
        steps=steps,
        rate=rate,
        example=pixels[0],
    )
