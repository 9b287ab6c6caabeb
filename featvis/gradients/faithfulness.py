"""How faithful an attribution is: deletion and insertion curves, and the areas under them.

Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, section 4.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.models.model import Model
from featvis.tracing.networks import as_input
from featvis.tracing.prepared import Prepared

STEPS = 16
"""Steps in which the pixels go or come; they are finer at the start, where curves bend."""

BLUR_WIDTH, BLUR_SPREAD = 11, 5.0
"""Taps and standard deviation of the Gaussian that an insertion starts from, as in the authors' code."""


class Curves(NamedTuple):
    """The probability of each picture's own top class while its pixels go, and while they come.

    fractions: (steps + 1,), of the pixels that went or came, from 0 to 1. deletion, insertion: (B, steps + 1).
    """

    fractions: Tensor
    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_area(self) -> Tensor:
        """(B,), by the trapezoidal rule; small where the pixels named first are those that the class stands on."""
        return torch.trapezoid(self.deletion, self.fractions)

    @property
    def insertion_area(self) -> Tensor:
        """(B,), by the trapezoidal rule; large where the pixels named first are enough for the class."""
        return torch.trapezoid(self.insertion, self.fractions)


class Faithfulness:
    """Deletion and insertion of one network, for attribution after attribution of any pictures.

    Pixels are ordered by the sum over channels of the attribution's absolute value, the largest first, equal ones row by row. A
    deletion sets them to zero in the prepared input, the mean colour, grey; an insertion puts them onto the blurred picture. The network
    that is handed in stays as it is: a frozen twin runs, its batch norms folded.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2, bias=False))
    >>> pictures = torch.rand(2, 3, 4, 4)
    >>> curves = featvis.Faithfulness(network, steps=8)(pictures, attributions=pictures)
    >>> curves.deletion.shape, curves.deletion[:, -1]  # without any pixel, both classes are as likely
    (torch.Size([2, 9]), tensor([0.5000, 0.5000]))
    """

    def __init__(self, model: Model | nn.Module, steps: int = STEPS, batch_size: int = 8) -> None:
        if steps < 1 or batch_size < 1:
            raise FeatvisError(f"{steps} steps in batches of {batch_size}; give at least 1 of each")
        self.module = model.module if isinstance(model, Model) else model
        self.steps, self.batch_size = steps, batch_size
        self._network: Prepared | None = None

    def __call__(self, images: Tensor, attributions: Tensor) -> Curves:
        """The curves of a batch: both (B, C, H, W), or (B, C, L). Raises FeatvisError where they do not fit or are not finite."""
        if images.shape != attributions.shape:
            raise FeatvisError(
                f"attributions of shape {tuple(attributions.shape)} for pictures of {tuple(images.shape)}; give one for each value"
            )
        if not bool(attributions.isfinite().all()):
            raise FeatvisError("the attributions hold NaN or infinity; pixels cannot be ordered by them")
        if self._network is None:
            self._network = Prepared(self.module, [""], images[:1])
            with torch.no_grad():
                self._network.prepare(lambda run: [run(images[:1])[""]])
        with torch.inference_mode():
            images = as_input(self.module, images)
            chosen = self._logits(images).argmax(1)
            ranks = pixel_ranks(attributions.to(images.device))
            count = ranks[0].numel()
            limits = (count * torch.linspace(0, 1, self.steps + 1, dtype=torch.float64).square()).round().to(ranks)
            deletion = self._curve(images, torch.zeros_like(images), ranks, limits, chosen)
            insertion = self._curve(blurred(images), images, ranks, limits, chosen)
            return Curves(limits.to(deletion) / count, deletion, insertion)

    def _curve(self, start: Tensor, end: Tensor, ranks: Tensor, limits: Tensor, chosen: Tensor) -> Tensor:
        """The probability of the chosen class while the first pixels, up to each limit, are those of the end: (B, limits)."""
        pictures = torch.arange(len(start), device=ranks.device).repeat_interleave(len(limits))
        reached = limits.repeat(len(start)).view(-1, *[1] * (ranks.ndim - 1))
        probabilities = []
        for picture, limit in zip(pictures.split(self.batch_size), reached.split(self.batch_size), strict=True):
            passed = ranks[picture] < limit
            logits = self._logits(torch.where(passed.unsqueeze(1), end[picture], start[picture]))
            probabilities.append(logits.softmax(1).gather(1, chosen[picture].unsqueeze(1)).squeeze(1))
        return torch.cat(probabilities).view(len(start), -1).cpu()

    def _logits(self, images: Tensor) -> Tensor:
        assert self._network is not None
        logits = self._network.use(lambda run: run(images)[""])
        if logits.ndim != 2:
            raise FeatvisError(
                f"the network returns shape {tuple(logits.shape)}; deletion needs one logit for each class"
            )
        return logits


def pixel_ranks(attributions: Tensor) -> Tensor:
    """The place of each pixel, 0 for the largest sum over channels of absolute values: (B, C, ...) to (B, ...)."""
    relevance = attributions.abs().sum(1)
    order = relevance.flatten(1).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).view_as(relevance)


def blurred(images: Tensor) -> Tensor:
    """Each channel after a Gaussian of BLUR_WIDTH taps and BLUR_SPREAD pixels, edges repeated; (B, C, H, W) or (B, C, L)."""
    taps = torch.arange(BLUR_WIDTH, dtype=images.dtype, device=images.device) - BLUR_WIDTH // 2
    kernel = torch.exp(-taps.square() / (2 * BLUR_SPREAD**2))
    kernel = kernel / kernel.sum()
    planes = images.flatten(0, 1).unsqueeze(1)
    for axis in range(2, planes.ndim):
        along = planes.transpose(axis, -1)
        lines = F.pad(along.flatten(0, -2).unsqueeze(1), (BLUR_WIDTH // 2,) * 2, mode="replicate")
        planes = F.conv1d(lines, kernel.view(1, 1, -1)).view_as(along).transpose(axis, -1)
    return planes.reshape(images.shape)
