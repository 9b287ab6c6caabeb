"""The DCGAN family of PyTorch's tutorial, its channels, width and size read off a checkpoint's shapes.

Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", 2016.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from featvis.errors import FeatvisError

KERNEL = 4
SLOPE = 0.2


@dataclass(frozen=True)
class DCGAN:
    """A network and what its checkpoint's shapes say: channels of the picture, width of the layer next to it, size in pixels.

    latent: values of a generator's input, 0 for a discriminator. The keys of the network's own state are those of the checkpoint
    without their common prefix, such as `main.`.
    """

    network: nn.Sequential
    channels: int
    width: int
    size: int
    latent: int = 0


def dcgan_discriminator(state: Mapping[str, Tensor]) -> DCGAN:
    """A discriminator for these weights: convolutions k4 s2, the last one k4 s1 to a logit; the tutorial's sigmoid after it is left out.

    Raises FeatvisError where the shapes are those of no such network.
    """
    layers, kernels = _layers(state, "discriminator")
    chained = all(before.shape[0] == after.shape[1] for before, after in itertools.pairwise(kernels))
    if not chained or kernels[-1].shape[0] != 1:
        raise _misfit("discriminator", kernels, "channels in a chain that ends in 1")
    modules: list[nn.Module] = []
    for number, layer in enumerate(layers):
        if layer is None:
            modules.append(nn.LeakyReLU(SLOPE))
        elif "running_mean" in layer:
            modules.append(nn.BatchNorm2d(len(layer["weight"])))
        else:
            outputs, inputs = layer["weight"].shape[:2]
            stride, padding = (1, 0) if number == len(layers) - 1 else (2, 1)
            modules.append(nn.Conv2d(inputs, outputs, KERNEL, stride, padding, bias="bias" in layer))
    width, channels = kernels[0].shape[:2]
    return DCGAN(nn.Sequential(*modules), channels, width, KERNEL * 2 ** (len(kernels) - 1))


def dcgan_generator(state: Mapping[str, Tensor]) -> DCGAN:
    """A generator for these weights: a transposed convolution k4 s1 from the latent values, then k4 s2, and a last hyperbolic tangent.

    Raises FeatvisError where the shapes are those of no such network.
    """
    layers, kernels = _layers(state, "generator")
    chained = all(before.shape[1] == after.shape[0] for before, after in itertools.pairwise(kernels))
    if not chained or kernels[-1].shape[1] not in (1, 3):
        raise _misfit("generator", kernels, "channels in a chain that ends in 1 or 3")
    modules: list[nn.Module] = []
    for number, layer in enumerate(layers):
        if layer is None:
            modules.append(nn.ReLU())
        elif "running_mean" in layer:
            modules.append(nn.BatchNorm2d(len(layer["weight"])))
        else:
            inputs, outputs = layer["weight"].shape[:2]
            stride, padding = (1, 0) if number == 0 else (2, 1)
            modules.append(nn.ConvTranspose2d(inputs, outputs, KERNEL, stride, padding, bias="bias" in layer))
    modules.append(nn.Tanh())
    width, channels = kernels[-1].shape[:2]
    return DCGAN(nn.Sequential(*modules), channels, width, KERNEL * 2 ** (len(kernels) - 1), kernels[0].shape[0])


def _layers(state: Mapping[str, Tensor], kind: str) -> tuple[list[dict[str, Tensor] | None], list[Tensor]]:
    """The layers by their numbers in the sequence, None for one without weights, and the kernels in order."""
    found: dict[int, dict[str, Tensor]] = {}
    prefixes = set()
    for name, value in state.items():
        matched = re.fullmatch(r"(.*?)(\d+)\.(\w+)", name)
        if matched is None:
            raise FeatvisError(
                f"the weights fit no DCGAN {kind}: {name!r} is no layer of a sequence; give path/file.py:factory instead"
            )
        prefixes.add(matched[1])
        found.setdefault(int(matched[2]), {})[matched[3]] = value
    kernels = [layer["weight"] for _, layer in sorted(found.items()) if "weight" in layer and layer["weight"].ndim > 1]
    fits = len(prefixes) == 1 and all("weight" in layer for layer in found.values())
    fits = fits and len(kernels) > 2 and all(kernel.shape[2:] == (KERNEL, KERNEL) for kernel in kernels)
    # Layers without weights stand between those that have some: as many as numbers are left out.
    if not fits or max(found) > 4 * len(kernels):
        raise _misfit(kind, kernels, f"one sequence of three or more kernels of {KERNEL} x {KERNEL}")
    return [found.get(number) for number in range(max(found) + 1)], kernels


def _misfit(kind: str, kernels: list[Tensor], expected: str) -> FeatvisError:
    shapes = ", ".join("x".join(map(str, kernel.shape)) for kernel in kernels) or "none"
    return FeatvisError(
        f"the weights fit no DCGAN {kind}: kernels {shapes}; expected {expected}, or give path/file.py:factory instead"
    )
