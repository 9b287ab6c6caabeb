"""Small trained networks and a photograph that ship with featvis, so that nothing needs a download."""

from __future__ import annotations

from pathlib import Path

from featvis.errors import FeatvisError, nearest_names
from featvis.models.zoo.cards import Card, discriminator, generator, strided, twin

__all__ = ["PHOTOGRAPH", "ZOO", "Card", "card_named"]

PHOTOGRAPH = Path(__file__).parent / "cat.png"
"""Chelsea the cat, 451 x 300 pixels, by Stefan van der Walt; CC0 1.0, from scikit-image's data folder."""

ZOO: dict[str, Card] = {
    "cifar-k3s2": strided(),
    "twin-k3s2": twin("k3s2", "3x3 stride-2 convolution"),
    "twin-k4s2": twin("k4s2", "4x4 stride-2 convolution"),
    "twin-max2": twin("max2", "3x3 convolution, 2x2 max-pooling"),
    "twin-max3": twin("max3", "3x3 convolution, 3x3 stride-2 max-pooling"),
    "twin-average": twin("average", "3x3 convolution, 2x2 average pooling"),
    "twin-l2": twin("l2", "3x3 convolution, 2x2 L2 pooling"),
    "twin-blur": twin("blur", "3x3 convolution, 4x4 blur of stride 2"),
    "twin-shortcut-1x1": twin("shortcut-1x1", "3x3 stride-2 convolution, 1x1 stride-2 shortcut"),
    "twin-shortcut-average": twin("shortcut-average", "3x3 stride-2 convolution, 2x2 average shortcut"),
    "generator-deconv3": generator("deconv3", "last two: 3x3 stride-2 transposed convolution"),
    "generator-deconv4": generator("deconv4", "last two: 4x4 stride-2 transposed convolution"),
    "generator-deconv3-last": generator("deconv3-last", "last one: 3x3 stride-2 transposed convolution"),
    "generator-deconv3-smooth4": generator(
        "deconv3-smooth4", "last two: 3x3 stride-2 transposed convolution, then 4x4 of stride 1"
    ),
    "generator-subpixel": generator("subpixel", "last two: sub-pixel convolution"),
    "generator-icnr": generator("icnr", "last two: sub-pixel convolution that began with ICNR"),
    "generator-nearest": generator("nearest", "all: nearest-neighbour resize-convolution"),
    "generator-bilinear": generator("bilinear", "last two: bilinear resize-convolution"),
    "discriminator-k3s2": discriminator("k3s2", "3x3 stride-2 convolution", "k3s2"),
    "discriminator-k5s2": discriminator("k5s2", "5x5 stride-2 convolution", "k5s2"),
    "discriminator-k4s2": discriminator("k4s2", "4x4 stride-2 convolution", "nearest"),
    "discriminator-blur": discriminator("blur", "3x3 convolution, 4x4 blur of stride 2", "blur"),
}


def card_named(name: str) -> Card:
    """The card of a network, without `zoo:`; raises FeatvisError for an unknown name, with the nearest ones."""
    if name not in ZOO:
        raise FeatvisError(f"no network {name!r} in the zoo{nearest_names(name, ZOO)}; `featvis zoo` lists it")
    return ZOO[name]
