"""What is done with gradients: METHODS turn them into attributions, COMPENSATIONS treat the checkerboard in those.

Each works through a function that takes a batch of pictures to their gradients, and knows no network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.measure.phases import laid_out

SMOOTHGRAD_SAMPLES, SMOOTHGRAD_NOISE = 25, 0.15
"""Samples, and noise as a share of the input's range: Smilkov et al. 2017, as in their own code."""

INTEGRATION_STEPS = 50

JITTER_SHIFTS = 16

LOW_PASS_CUTOFF = 15 / 224
"""Cycles per pixel: the disc of 15 frequency bins at 224 pixels of Muzellec et al., "Saliency strikes back", 2024."""

Gradient = Callable[[Tensor], Tensor]


def vanilla(gradient: Gradient, images: Tensor, draws: Draws) -> Tensor:
    """The gradient itself: Simonyan, Vedaldi and Zisserman 2014."""
    return gradient(images)


def input_x_gradient(gradient: Gradient, images: Tensor, draws: Draws) -> Tensor:
    """The gradient times the prepared input: Shrikumar et al. 2016."""
    return images * gradient(images)


def smoothgrad(gradient: Gradient, images: Tensor, draws: Draws) -> Tensor:
    """The mean gradient of noisy copies of the picture: Smilkov et al. 2017."""
    spread = SMOOTHGRAD_NOISE * (images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True))
    total = torch.zeros_like(images)
    for _ in range(SMOOTHGRAD_SAMPLES):
        total += gradient(images + spread * draws.normal(images))
    return total / SMOOTHGRAD_SAMPLES


def integrated_gradients(gradient: Gradient, images: Tensor, draws: Draws) -> Tensor:
    """The picture times its mean gradient along the line from zero: Sundararajan, Taly and Yan 2017, midpoint rule."""
    total = torch.zeros_like(images)
    for step in range(INTEGRATION_STEPS):
        total += gradient(images * ((step + 0.5) / INTEGRATION_STEPS))
    return images * total / INTEGRATION_STEPS


METHODS: dict[str, Callable[[Gradient, Tensor, Draws], Tensor]] = {
    "vanilla": vanilla,
    "input-x-gradient": input_x_gradient,
    "smoothgrad": smoothgrad,
    "integrated-gradients": integrated_gradients,
}


@dataclass(frozen=True)
class Treatment:
    """What a compensation needs to know: the period, random numbers for each picture, and a measured profile (P, P)."""

    total_stride: int
    draws: Draws
    profile: Tensor | None = None


def uncompensated(attribute: Gradient, images: Tensor, treatment: Treatment) -> Tensor:
    """The attribution as it is."""
    return attribute(images)


def _shifted(attribute: Gradient, images: Tensor, shifts: Sequence[Sequence[int]]) -> Tensor:
    """The attribution of each picture after a circular shift of its own, shifted back."""
    axes = tuple(range(1 - len(images.shape[1:]), 0))
    moved = torch.stack([image.roll(tuple(shift), axes) for image, shift in zip(images, shifts, strict=True)])
    attributions = attribute(moved)
    back = [
        attribution.roll(tuple(-step for step in shift), axes)
        for attribution, shift in zip(attributions, shifts, strict=True)
    ]
    return torch.stack(back)


def jitter(attribute: Gradient, images: Tensor, treatment: Treatment) -> Tensor:
    """The mean over random circular shifts of up to one period: what DeepDream's jitter does over its steps, at one picture."""
    total = torch.zeros_like(images)
    for _ in range(JITTER_SHIFTS):
        shifts = treatment.draws.shifts(images.ndim - 2, treatment.total_stride)
        total += _shifted(attribute, images, shifts)
    return total / JITTER_SHIFTS


def cycle_spinning(attribute: Gradient, images: Tensor, treatment: Treatment) -> Tensor:
    """The mean over all circular shifts of the period, period squared gradients: Coifman and Donoho 1995."""
    total = torch.zeros_like(images)
    count = 0
    for shift in itertools.product(range(treatment.total_stride), repeat=images.ndim - 2):
        total += _shifted(attribute, images, [shift] * len(images))
        count += 1
    return total / count


def low_pass(attribute: Gradient, images: Tensor, treatment: Treatment) -> Tensor:
    """The attribution without frequencies outside a disc of 15/224 cycle per pixel: Muzellec et al. 2024."""
    attribution = attribute(images)
    axes = tuple(range(2, images.ndim))
    spectrum = torch.fft.fftn(attribution, dim=axes)
    radius = torch.zeros((), device=images.device)
    for number, axis in enumerate(axes):
        shape = [-1 if other == number else 1 for other in range(len(axes))]
        radius = radius + torch.fft.fftfreq(images.shape[axis], device=images.device).square().view(shape)
    return torch.fft.ifftn(spectrum * (radius.sqrt() <= LOW_PASS_CUTOFF), dim=axes).real.to(images.dtype)


def equalise(attribute: Gradient, images: Tensor, treatment: Treatment) -> Tensor:
    """The attribution divided by the root of a phase profile that other pictures gave, so that its expected energy is even.

    The profile is laid from the picture's first pixel. Raises FeatvisError without a profile, with one of another total stride, or where
    it has an empty phase.
    """
    profile = treatment.profile
    if profile is None:
        raise FeatvisError(
            "equalise needs a measured profile; make one with `featvis audit --save-profile` and give it with --profile"
        )
    expected = (1 if images.ndim == 3 else treatment.total_stride, treatment.total_stride)
    if tuple(profile.shape) != expected:
        given, wanted = (" x ".join(map(str, shape)) for shape in (profile.shape, expected))
        raise FeatvisError(
            f"the profile is {given}, this network and score need {wanted}; measure one with --save-profile"
        )
    if bool((profile <= 0).any()):
        raise FeatvisError("the profile has phases without any energy; nothing can equalise what no window reaches")
    height, width = images.shape[-2:] if images.ndim == 4 else (1, images.shape[-1])
    return attribute(images) / laid_out(profile, height, width).sqrt().to(images)


COMPENSATIONS: dict[str, Callable[[Gradient, Tensor, Treatment], Tensor]] = {
    "none": uncompensated,
    "jitter": jitter,
    "cycle-spinning": cycle_spinning,
    "low-pass": low_pass,
    "equalise": equalise,
}
