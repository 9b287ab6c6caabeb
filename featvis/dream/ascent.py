"""How a picture climbs: the step that follows a gradient, how its length changes, and its random numbers."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featvis.gradients.compensations import SMALLEST, largest_one


class NormalisedAscent(torch.optim.Optimizer):
    """Steps of a fixed length: the gradient over its mean absolute value, or over its standard deviation.

    lr: the length of a step, in units of the values. measure: takes a gradient to what it is divided by.
    """

    def __init__(self, values: list[Tensor], lr: float, measure: Callable[[Tensor], Tensor]) -> None:
        super().__init__(values, {"lr": lr})
        self.measure = measure

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step down the loss that the closure gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for value in group["params"]:
                    if value.grad is not None:
                        gradient = largest_one(value.grad, tuple(range(value.ndim)))
                        value -= group["lr"] * gradient / self.measure(gradient).clamp_min(SMALLEST)
        return loss


@dataclass(frozen=True)
class Ascent:
    """An optimiser of a list of values, given its rate, and the rate that it has where none is given."""

    rate: float
    optimiser: Callable[[list[Tensor], float], torch.optim.Optimizer]


ASCENTS: dict[str, Ascent] = {
    "mean-absolute": Ascent(1.5 / 255, lambda values, rate: NormalisedAscent(values, rate, lambda g: g.abs().mean())),
    "standard-deviation": Ascent(0.02, lambda values, rate: NormalisedAscent(values, rate, lambda g: g.std())),
    "adam": Ascent(0.05, lambda values, rate: torch.optim.Adam(values, rate)),
}
"""Steps by name: as in Google's DeepDream notebook (1.5 of 255 levels), by standard deviation, and Adam with Lucent's rate."""


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}
"""What a step's length is multiplied by, from the share of an octave's steps that are done."""


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Everything that draws from torch, numpy or random by itself draws from this seed, and all three are put back after it."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002, Lucent draws from it
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
