"""How far the outputs of a network lie from those of another at the same pictures, and how steady its class is; sums only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.measure.estimates import Estimate
from featvis.measure.replicates import mean_of, moments
from featvis.tracing.outputs import by_class


@dataclass(frozen=True)
class Drift:
    """A network's outputs beside those of the first one.

    agreement: share of pictures with the same top class. divergence: Kullback-Leibler, of this network's probabilities from the first's,
    in nats. Both are None for outputs that are no logits of two or more classes. rmse: root mean square difference of the outputs, in
    their own units; relative: the same as a share of the root mean square deviation of the first's outputs from each picture's mean,
    None where they do not deviate.
    """

    agreement: Estimate | None
    divergence: Estimate | None
    rmse: float
    relative: float | None


class Moments:
    """Count, sum and sum of squares of one number a picture."""

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """values: (B,)."""
        values = values.detach().double().cpu()
        self.sums += moments(values)

    def estimate(self) -> Estimate | None:
        """The mean and its standard error; None where nothing was added."""
        return mean_of(self.sums) if self.sums[0] > 0 else None


def classes_of(outputs: Tensor) -> Tensor:
    """The top class of each picture, (B,), as the score `top` takes it: (B, K), or (B, K, ...) by the mean over the map."""
    return by_class(outputs).argmax(1)


class OutputDrift:
    """Adds up batches of outputs beside those of the first network, and the classes that are known to be right."""

    def __init__(self) -> None:
        self.agreement, self.divergence, self.accuracy = Moments(), Moments(), Moments()
        self.squares = self.deviations = 0.0
        self.values = 0

    def update(self, outputs: Tensor, first: Tensor, right: Sequence[int | None] = ()) -> None:
        """Add a batch.

        outputs, first: of this network and of the first one, of one shape, (B, K) or (B, K, ...). right: the known class of each
        picture, None where it is not known. Raises FeatvisError where the shapes differ.
        """
        if outputs.shape != first.shape:
            shapes = [tuple(tensor.shape) for tensor in (outputs, first)]
            raise FeatvisError(
                f"its outputs have the shape {shapes[0]}, those of the first variant {shapes[1]}; compare networks of one task"
            )
        outputs, first = outputs.double(), first.double()
        self.squares += float((outputs - first).square().sum())
        self.deviations += float((first - first.flatten(1).mean(1).view(-1, *[1] * (first.ndim - 1))).square().sum())
        self.values += first.numel()
        mine, its = by_class(outputs), by_class(first)
        if mine.shape[1] > 1:
            self.agreement.add(mine.argmax(1) == its.argmax(1))
            log_p, log_q = its.log_softmax(1), mine.log_softmax(1)
            self.divergence.add((log_p.exp() * (log_p - log_q)).sum(1))
        known = [(row, number) for row, number in enumerate(right) if number is not None]
        if known:
            rows, numbers = zip(*known, strict=True)
            self.accuracy.add(mine.argmax(1).cpu()[list(rows)] == torch.tensor(numbers))

    def drift(self) -> Drift:
        """The drift of all batches so far."""
        return Drift(
            agreement=self.agreement.estimate(),
            divergence=self.divergence.estimate(),
            rmse=math.sqrt(self.squares / self.values),
            relative=math.sqrt(self.squares / self.deviations) if self.deviations > 0 else None,
        )


def random_crops(pixels: Tensor, margin: int, count: int, draws: Draws) -> Tensor:
    """Crops at random places, each picture's own: (B, C, H + margin, W + margin) to (count, B, C, H, W)."""
    height, width = (size - margin for size in pixels.shape[-2:])
    crops = []
    for _ in range(count):
        corners = draws.shifts(2, margin + 1)
        crops.append(
            torch.stack(
                [
                    picture[:, row : row + height, column : column + width]
                    for picture, (row, column) in zip(pixels, corners, strict=True)
                ]
            )
        )
    return torch.stack(crops)


def shift_consistency(classes: Tensor) -> Tensor:
    """Probability that two different crops of a picture get the same class, (B,): Zhang 2019, section 4.

    classes: (crops, B), at least two crops; all pairs of them count.
    """
    count = len(classes)
    same = (classes.unsqueeze(0) == classes.unsqueeze(1)).sum((0, 1)) - count
    return same.double() / (count * (count - 1))
