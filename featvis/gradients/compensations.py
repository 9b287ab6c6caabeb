"""What treats the checkerboard in an attribution: objects that wrap one, `Jitter(SmoothGrad(), shifts=32)(engine, images)`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.gradients.attributions import METHODS, PLAIN, Attribution, Gradients, named
from featvis.measure.phases import laid_out

SMALLEST = 1e-10
"""Nothing is divided by less than this: a gradient of zeros stays one."""


@dataclass(frozen=True)
class Compensation(Attribution):
    """An attribution of another one's map; the plain gradient's where none is given."""

    inner: Attribution = PLAIN

    @property
    def parts(self) -> tuple[Attribution, ...]:
        return (*self.inner.parts, self)

    def around(self, inner: Attribution) -> Attribution:
        return replace(self, inner=self.inner.around(inner))

    def with_profile(self, profile: Tensor) -> Attribution:
        return replace(self, inner=self.inner.with_profile(profile))


@dataclass(frozen=True)
class Jitter(Compensation):
    """The mean over random circular shifts of up to one period: what DeepDream's jitter does over its steps, at one picture.

    >>> str(featvis.Jitter(featvis.SmoothGrad(samples=50), shifts=8))
    'smoothgrad:samples=50 + jitter:shifts=8'
    >>> engine = featvis.GradientEngine(featvis.load_model("zoo:cifar-k3s2"))
    >>> featvis.Jitter()(engine, torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    shifts: int = 16
    name = "jitter"
    one_pass = False
    needs_period = True

    def __post_init__(self) -> None:
        self._check("shifts")

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        total = torch.zeros_like(images)
        for _ in range(self.shifts):
            shifts = gradients.draws.shifts(images.ndim - 2, gradients.total_stride)
            total += shifted(self.inner, gradients, images, shifts)
        return total / self.shifts


@dataclass(frozen=True)
class CycleSpinning(Compensation):
    """The mean over all circular shifts of the period, period squared gradients: Coifman and Donoho 1995.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> engine, pictures = featvis.GradientEngine(network), torch.rand(4, 3, 32, 32)
    >>> plain, even = engine(pictures), featvis.CycleSpinning()(engine, pictures)
    >>> [round(abs(featvis.checkerboard_energy(one, 2).energy[2].value), 3) for one in (plain, even)]
    [3.0, 0.0]
    """

    name = "cycle-spinning"
    one_pass = False
    needs_period = True

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        total = torch.zeros_like(images)
        count = 0
        for shift in itertools.product(range(gradients.total_stride), repeat=images.ndim - 2):
            total += shifted(self.inner, gradients, images, [shift] * len(images))
            count += 1
        return total / count


def shifted(inner: Attribution, gradients: Gradients, images: Tensor, shifts: Sequence[Sequence[int]]) -> Tensor:
    """The attribution of each picture after a circular shift of its own, shifted back."""
    axes = tuple(range(1 - len(images.shape[1:]), 0))
    moved = torch.stack([image.roll(tuple(shift), axes) for image, shift in zip(images, shifts, strict=True)])
    attributions = inner.of(gradients, moved)
    back = [
        attribution.roll(tuple(-step for step in shift), axes)
        for attribution, shift in zip(attributions, shifts, strict=True)
    ]
    return torch.stack(back)


@dataclass(frozen=True)
class LowPass(Compensation):
    """The attribution without frequencies outside a disc: Muzellec et al., "Saliency strikes back", 2024.

    cutoff: its radius in cycles per pixel; theirs is 15 frequency bins at 224 pixels.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> engine, pictures = featvis.GradientEngine(network), torch.rand(4, 3, 32, 32)
    >>> plain, smooth = engine(pictures), featvis.LowPass(cutoff=0.2)(engine, pictures)
    >>> [round(abs(featvis.checkerboard_energy(one, 2).energy[2].value), 3) for one in (plain, smooth)]
    [3.0, 0.0]
    """

    cutoff: float = 15 / 224
    name = "low-pass"

    def __post_init__(self) -> None:
        self._check("cutoff", 0)

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        attribution = self.inner.of(gradients, images)
        axes = tuple(range(2, images.ndim))
        spectrum = torch.fft.fftn(attribution, dim=axes)
        radius = torch.zeros((), device=images.device)
        for number, axis in enumerate(axes):
            shape = [-1 if other == number else 1 for other in range(len(axes))]
            radius = radius + torch.fft.fftfreq(images.shape[axis], device=images.device).square().view(shape)
        return torch.fft.ifftn(spectrum * (radius.sqrt() <= self.cutoff), dim=axes).real.to(images.dtype)


@dataclass(frozen=True)
class Equalise(Compensation):
    """The attribution divided by the root of a phase profile that other pictures gave, so that its expected energy is even.

    profile: (P, P) for the total stride P, mean 1, a tensor or rows; it is laid from the picture's first pixel. Raises FeatvisError
    where it is asked for an attribution without a profile, with one of another total stride, or where that has an empty phase.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> engine, pictures = featvis.GradientEngine(network), torch.rand(4, 3, 33, 33)
    >>> profile = featvis.checkerboard_energy(engine(pictures), 2).profile
    >>> even = featvis.Equalise(profile=profile)(engine, pictures)
    >>> abs(featvis.checkerboard_energy(even, 2).energy[2].value) < 0.001
    True
    """

    profile: Tensor | tuple[tuple[float, ...], ...] | None = None
    name = "equalise"
    needs_period = True

    def __post_init__(self) -> None:
        if isinstance(self.profile, Tensor):
            # Rows of numbers, so that objects compare and hash.
            object.__setattr__(self, "profile", tuple(tuple(row) for row in self.profile.tolist()))

    def with_profile(self, profile: Tensor) -> Attribution:
        inner = self.inner.with_profile(profile)
        return replace(self, inner=inner, profile=profile if self.profile is None else self.profile)

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        if self.profile is None:
            raise FeatvisError(
                "equalise needs a measured profile; make one with `featvis audit --save-profile` and give it with --profile"
            )
        profile = torch.as_tensor(self.profile, dtype=torch.float64)
        expected = (1 if images.ndim == 3 else gradients.total_stride, gradients.total_stride)
        if tuple(profile.shape) != expected:
            given, wanted = (" x ".join(map(str, shape)) for shape in (profile.shape, expected))
            raise FeatvisError(
                f"the profile is {given}, this network and score need {wanted}; measure one with --save-profile"
            )
        if bool((profile <= 0).any()):
            raise FeatvisError("the profile has phases without any energy; nothing can equalise what no window reaches")
        height, width = images.shape[-2:] if images.ndim == 4 else (1, images.shape[-1])
        return self.inner.of(gradients, images) / laid_out(profile, height, width).sqrt().to(images)


@dataclass(frozen=True)
class Laplacian(Compensation):
    """The attribution with each band of its Laplacian pyramid brought to a root mean square of 1.

    Google's DeepDream notebook (`lap_normalize`): a binomial kernel of five, steps of two, so many levels and the rest. What is finest
    no longer outweighs what is coarse, so this lowers a checkerboard with everything of its wavelengths. Pictures only.

    >>> engine = featvis.GradientEngine(featvis.load_model("zoo:cifar-k3s2"))
    >>> featvis.Laplacian(levels=2)(engine, torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    levels: int = 4
    name = "laplacian"

    def __post_init__(self) -> None:
        self._check("levels")

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        if images.ndim != 4:
            raise FeatvisError(f"laplacian takes pictures, (B, C, H, W); got the shape {tuple(images.shape)}")
        # Squares of a gradient as small as random weights give would underflow.
        rest = largest_one(self.inner.of(gradients, images), (1, 2, 3))
        levels = max(0, min(self.levels, int(math.log2(min(rest.shape[-2:]))) - 1))
        bands = []
        for _ in range(levels):
            coarse = F.conv2d(rest, _binomial(rest), stride=2, padding=2, groups=rest.shape[1])
            bands.append(rest - _grown(coarse, rest))
            rest = coarse
        rest = _evened(rest)
        for band in reversed(bands):
            rest = _grown(rest, band) + _evened(band)
        return rest


def largest_one(gradient: Tensor, axes: tuple[int, ...]) -> Tensor:
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


COMPENSATIONS: dict[str, Attribution] = {
    "none": PLAIN,
    "jitter": Jitter(),
    "cycle-spinning": CycleSpinning(),
    "low-pass": LowPass(),
    "equalise": Equalise(),
    "laplacian": Laplacian(),
}
"""By name, around the plain gradient.

`jitter` takes 16 gradients and `cycle-spinning` one for each place in the period. DeepDream's own jitter, a new shift for each step,
costs nothing and is `dream(jitter=...)`.
"""


def attribution_named(method: str = "vanilla", compensation: str = "none") -> Attribution:
    """The attribution of two names, with their parameters: ("smoothgrad:samples=50", "jitter"). Raises FeatvisError as `named` does."""
    return named(COMPENSATIONS, "compensation", compensation).around(named(METHODS, "method", method))
