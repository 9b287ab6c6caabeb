"""The engine's gradients of the whole bestiary equal finite differences in float64, alone and in a batch."""

import pytest
import torch
from helpers.bestiary import BESTIARY, built

from featvis.gradients.engine import GradientEngine

STEPS = 1e-4, 1e-5
"""Along a direction of norm 1. A rectifier that flips spoils the longer, rounding the shorter; neither makes a wrong gradient right."""

FIXED = ("mixer",)
"""Kinds that take pictures of one size alone; the others are tried at half of it."""


def images(name: str, seed: int) -> torch.Tensor:
    channels, *sizes = BESTIARY[name].shape
    if name not in FIXED and len(sizes) == 2:
        sizes = [size // 2 for size in sizes]
    return torch.randn(2, channels, *sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(network: torch.nn.Module, pictures: torch.Tensor, gradient: torch.Tensor) -> float:
    """How far the score's differences along a random direction are from what the gradient says, relative to what is usual for its norm.

    The largest over the pictures of the smallest over the steps.
    """
    direction = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction /= direction.flatten(1).norm(dim=1).view(-1, *(1 for _ in pictures.shape[1:]))

    def score(at: torch.Tensor) -> torch.Tensor:
        output = network(at)[:, 1]
        return output if output.ndim == 1 else output.flatten(1).mean(1)

    said = (gradient * direction).flatten(1).sum(1)
    usual = gradient.flatten(1).norm(dim=1) / pictures[0].numel() ** 0.5
    with torch.no_grad():
        found = [
            (score(pictures + step * direction) - score(pictures - step * direction)) / (2 * step) for step in STEPS
        ]
    return float(torch.stack([(one - said).abs() / usual for one in found]).amin(0).amax())


@pytest.mark.parametrize("name", BESTIARY)
def test_gradients_are_finite_differences_alone_and_in_a_batch(name: str) -> None:
    network, pictures = built(BESTIARY[name], dtype=torch.float64), images(name, 1)
    engine = GradientEngine(network, "1")
    assert error(network, pictures, engine(pictures)) < 1e-6
    assert error(network, pictures[:1], engine(pictures[:1])) < 1e-6


@pytest.mark.parametrize("name", ["conv k3 s2", "attention", "signal k3 s2"])
def test_a_slightly_wrong_gradient_is_found(name: str) -> None:
    network, pictures = built(BESTIARY[name], dtype=torch.float64), images(name, 1)
    gradient = GradientEngine(network, "1")(pictures)
    gradient[..., ::2] *= 1 + 1e-4
    assert error(network, pictures, gradient) > 1e-6
