"""How a picture climbs: what is done with the gradient at the network's input, the step that follows, and its random numbers."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.gradients.methods import Gradient, Treatment, cycle_spinning, equalise, jitter, low_pass, uncompensated

LEVELS = 4
"""Bands of the Laplacian pyramid above its rest, as in Google's DeepDream notebook."""

SMALLEST = 1e-10
"""Nothing is divided by less than this: a gradient of zeros stays one."""


def laplacian(attribute: Gradient, images: Tensor, treatment: Treatment) -> Tensor:
    """The gradient with each band of its Laplacian pyramid brought to a root mean square of 1.

    Google's DeepDream notebook (`lap_normalize`): a binomial kernel of five, steps of two, four bands and the rest. What is finest no
    longer outweighs what is coarse, so this lowers a checkerboard with everything of its wavelengths.
    """
    # Squares of a gradient as small as random weights give would underflow.
    rest = _largest_one(attribute(images), (1, 2, 3))
    levels = max(0, min(LEVELS, int(math.log2(min(rest.shape[-2:]))) - 1))
    bands = []
    for _ in range(levels):
        coarse = F.conv2d(rest, _binomial(rest), stride=2, padding=2, groups=rest.shape[1])
        bands.append(rest - _grown(coarse, rest))
        rest = coarse
    rest = _evened(rest)
    for band in reversed(bands):
        rest = _grown(rest, band) + _evened(band)
    return rest


def _largest_one(gradient: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The gradient over its largest absolute value along these axes; zeros stay zeros."""
    return gradient / gradient.abs().amax(axes, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)


def _binomial(like: Tensor) -> Tensor:
    taps = like.new_tensor([1, 4, 6, 4, 1]) / 16
    return torch.outer(taps, taps).expand(like.shape[1], 1, 5, 5)


def _grown(coarse: Tensor, like: Tensor) -> Tensor:
    """Twice the size, as large as `like`."""
    rows, columns = (side - (2 * length - 1) for side, length in zip(like.shape[2:], coarse.shape[2:], strict=True))
    kernel = 4 * _binomial(coarse)
    return F.conv_transpose2d(
        coarse, kernel, stride=2, padding=2, output_padding=(rows, columns), groups=coarse.shape[1]
    )


def _evened(band: Tensor) -> Tensor:
    return band / band.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(SMALLEST)


COMPENSATIONS: dict[str, Callable[[Gradient, Tensor, Treatment], Tensor]] = {
    "none": uncompensated,
    "jitter": jitter,
    "cycle-spinning": cycle_spinning,
    "low-pass": low_pass,
    "equalise": equalise,
    "laplacian": laplacian,
}
"""What is done with the gradient of each step: those of `featvis.gradients.methods`, and Laplacian-pyramid normalisation.

`jitter` takes 16 gradients a step and `cycle-spinning` one for each place in the period. DeepDream's own jitter, a new shift for each
step, costs nothing and is `dream(jitter=...)`.
"""


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
                        gradient = _largest_one(value.grad, tuple(range(value.ndim)))
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
