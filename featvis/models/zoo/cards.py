"""What is known of each network that ships with featvis: how it is built, how it was trained, and what it measured."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path(__file__).parent / "weights"

FIGURES = Path(__file__).parent / "figures.json"
"""What `experiments/zoo_audit.py` measured, by name of the network; no figure of a card is typed by hand."""

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
DATA = "CIFAR-10, JPEG copy"
SIZE = (3, 32, 32)


@dataclass(frozen=True)
class Card:
    """What a network of the zoo is.

    name: without `zoo:`. kind: "classifier", "discriminator" or "generator". layer: what it differs in from its twins. summary: the
    architecture in one line. input_size: (C, H, W) of the pictures that it was trained on, which a generator makes. mean and standard
    deviation are by channel, for pixels in [0, 1].
    """

    name: str
    kind: str
    architecture: Callable[[], nn.Module]
    layer: str
    summary: str
    recipe: str
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    labels: tuple[str, ...] | None = None
    data: str = DATA
    input_size: tuple[int, int, int] = SIZE
    licence: str = "Apache-2.0"

    @property
    def weights(self) -> Path:
        """The file of its weights, float16."""
        return WEIGHTS / f"{self.name}.safetensors"

    @property
    def figures(self) -> dict[str, Any]:
        """What was measured of it, empty before that; an estimate is a pair of value and standard error."""
        return measured_figures().get(self.name, {})

    def content(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {
            "kind": self.kind,
            "architecture": self.summary,
            "layer": self.layer,
            "recipe": self.recipe,
            "data": self.data,
            "input_size": list(self.input_size),
            "mean": list(self.mean),
            "std": list(self.std),
            "labels": None if self.labels is None else list(self.labels),
            "licence": self.licence,
            "bytes": self.weights.stat().st_size,
            **self.figures,
        }


@functools.cache
def measured_figures() -> dict[str, dict[str, Any]]:
    """What was measured of each network, by name."""
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}


# Architectures are imported where they are built, so that a list of the zoo loads no torch.


def strided() -> Card:
    """The card of the classifier that is wider than the twins."""

    def build() -> nn.Module:
        from featvis.models.zoo.classifiers import StridedClassifier

        return StridedClassifier()

    layer = "3x3 stride-2 convolution, more channels than its twins"
    return _classifier("cifar-k3s2", build, layer, "experiments/train_classifier.py, 20 epochs, seed 0")


def twin(downsampling: str, layer: str) -> Card:
    """The card of a classifier that differs from its twins in how it downsamples: a name in DOWNSAMPLING."""

    def build() -> nn.Module:
        from featvis.models.zoo.classifiers import TWIN_WIDTHS, StridedClassifier

        return StridedClassifier(TWIN_WIDTHS, downsampling=downsampling)

    recipe = "experiments/train_classifier.py --twins all --epochs 24 --bfloat16, seed 0"
    return _classifier(f"twin-{downsampling}", build, layer, recipe)


def _classifier(name: str, architecture: Callable[[], nn.Module], layer: str, recipe: str) -> Card:
    """The card of a classifier of CIFAR-10; layer: how it downsamples."""
    summary = f"three downsampling layers ({layer}), each followed by a residual block, then a linear layer"
    return Card(name, "classifier", architecture, layer, summary, recipe, MEAN, STD, CIFAR10)


def generator(upsampling: str, layer: str) -> Card:
    """The card of a generator that differs from its twins in how its last layers upsample: a name that `parse_upsampler` reads.

    It takes latents (B, 64), standard normal, and returns pictures in (-1, 1).
    """

    def build() -> nn.Module:
        from featvis.models.zoo.generators import Generator, parse_upsampler

        return Generator(parse_upsampler(upsampling), SIZE[1:], widths=(128, 80, 48, 24), latent=64)

    return Card(
        f"generator-{upsampling}",
        "generator",
        build,
        layer,
        f"a linear layer, then four layers that double the size ({layer}), batch norm, tanh",
        f"experiments/train_gan.py --pairs {upsampling}, seed 0",
        data=f"{DATA}, random crops",
    )


def discriminator(downsampling: str, layer: str, pair: str) -> Card:
    """The card of a discriminator that differs from its twins in how it downsamples, and the pair that it was trained in."""

    def build() -> nn.Module:
        from featvis.models.zoo.discriminators import Discriminator

        return Discriminator(downsampling)

    return Card(
        f"discriminator-{downsampling}",
        "discriminator",
        build,
        layer,
        f"three downsampling layers ({layer}), leaky ReLU, then a linear layer to one logit",
        f"experiments/train_gan.py --pairs {pair}, seed 0",
        data=f"{DATA}, random crops",
    )
