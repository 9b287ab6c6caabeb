"""Small trained networks and a photograph that ship with featvis, so that nothing needs a download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from featvis.zoo.classifiers import StridedClassifier

PHOTOGRAPH = Path(__file__).parent / "cat.png"
"""Chelsea the cat, 451 x 300 pixels, by Stefan van der Walt; CC0 1.0, from scikit-image's data folder."""

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Card:
    """What a network of the zoo is.

    input_size is (C, H, W) as trained; mean and standard deviation are by channel, for pixels in [0, 1].
    """

    architecture: Callable[[], nn.Module]
    weights: Path
    summary: str
    recipe: str
    data: str
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]
    licence: str


ZOO: dict[str, Card] = {
    "cifar-k3s2": Card(
        architecture=StridedClassifier,
        weights=Path(__file__).parent / "cifar-k3s2.safetensors",
        summary="three 3x3 stride-2 convolutions, each followed by a residual block; 0.48 M parameters",
        recipe="experiments/train_classifier.py, 20 epochs, seed 0",
        data="CIFAR-10, JPEG copy; .8545 of the test pictures",
        input_size=(3, 32, 32),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        labels=_CIFAR10,
        licence="Apache-2.0",
    ),
}
