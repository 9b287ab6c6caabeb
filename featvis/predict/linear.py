"""An upsampling layer along one axis as a matrix: which entries share a weight, and what a constant leaves at the stride's harmonics.

The matrix view of Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, section "Better Upsampling":
resizing before a convolution ties the weights of a transposed convolution.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.layers import ResizeConv1d, SubPixelConv1d
from featvis.tracing.networks import copy_module

WEIGHTS = ("ones", "random")
"""All weights 1, or independent normal ones."""

LONGEST = 512
"""Input values of the largest matrix."""


def _deconv(kernel: int, stride: int) -> nn.Module:
    padding = max(0, -(-(kernel - stride) // 2))
    return nn.ConvTranspose1d(1, 1, kernel, stride, padding, stride + 2 * padding - kernel, bias=False, device="meta")


UPSAMPLERS: dict[str, Callable[[int, int], nn.Module]] = {
    "deconv": _deconv,
    "nearest": lambda kernel, stride: ResizeConv1d(1, 1, kernel, stride, "nearest", bias=False, device="meta"),
    "linear": lambda kernel, stride: ResizeConv1d(1, 1, kernel, stride, "linear", bias=False, device="meta"),
    "subpixel": lambda kernel, stride: SubPixelConv1d(1, 1, kernel, stride, bias=False, icnr=False, device="meta"),
    "icnr": lambda kernel, stride: SubPixelConv1d(1, 1, kernel, stride, bias=False, device="meta"),
}
"""One channel, by kernel and stride: a transposed convolution, a convolution behind nearest-neighbour or linear resizing, and a
sub-pixel convolution without and with ICNR, whose phases start alike and count as tied. The output is stride times as long."""

GRAMMAR = f"one of {', '.join(UPSAMPLERS)}, then the kernel and, where it is not 2, the stride: deconv3, deconv9s4"
"""What `linear_view` reads."""


@dataclass(frozen=True, eq=False)
class LinearView:
    """An upsampling layer along one axis, as a matrix that is linear in its weights.

    stride: outputs for each input. weights: (T,), the free ones. shares: (T, outputs, inputs), how much of each weight an entry of the
    matrix holds. responses: (T, taps), what one input far from the borders writes through each weight of 1, from a multiple of the
    stride on; taps is a multiple of the stride.
    """

    name: str
    stride: int
    weights: np.ndarray
    shares: np.ndarray
    responses: np.ndarray

    @cached_property
    def matrix(self) -> np.ndarray:
        """(outputs, inputs), borders included."""
        return np.tensordot(self.weights, self.shares, 1)

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Of the matrix, descending."""
        return np.linalg.svd(self.matrix, compute_uv=False)

    @property
    def rank(self) -> int:
        return int(np.linalg.matrix_rank(self.matrix))

    @cached_property
    def ties(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Which entries are the same combination of weights: (outputs, inputs), the number of its name, -1 where an entry is always 0.

        The names are such as "w1" and "w1 + w2", first those with most of w1; combinations that only the borders have are among them.
        """
        mixes = self.shares.reshape(len(self.weights), -1).T.round(9) + 0.0
        known, numbers = np.unique(-mixes, axis=0, return_inverse=True)
        names = [_combination(-mix) for mix in known]
        if not names[-1]:
            names.pop()
        labels = numbers.reshape(self.shares.shape[1:])
        return np.where(labels < len(names), labels, -1), tuple(names)

    @property
    def constant(self) -> np.ndarray:
        """What a constant of 1 becomes far from the borders: one period, (stride,), from an output whose index is a multiple of it."""
        return self._by_phase(self.weights @ self.responses)

    @property
    def harmonics(self) -> dict[Fraction, float]:
        """The amplitude at each harmonic of the stride up to 1/2 cycle per output, relative to the mean, that a constant input leaves.

        Zero everywhere: a constant stays one. Infinite where the mean is 0.
        """
        return self._relative(np.abs(np.fft.rfft(self.constant)))

    @property
    def expected_harmonics(self) -> dict[Fraction, float]:
        """The same for independent random weights: the root mean square of the amplitude, over that of the mean.

        This is what a signed comb shows: it is 0 where the weights are tied, and 1 for each transposed convolution, whatever its kernel,
        even where the expected energy is even.
        """
        alone = np.fft.rfft([self._by_phase(taps) for taps in self.responses])
        return self._relative(np.sqrt(np.square(np.abs(alone)).sum(0)))

    @property
    def profile(self) -> np.ndarray:
        """Expected energy of each output phase with independent weights and a random input, (stride,), relative to its mean."""
        energy = self._by_phase((self.responses**2).sum(0))
        return energy / energy.mean()

    @property
    def energy(self) -> float:
        """The checkerboard energy of that profile: mean of (q - 1) squared over the phases, as in `featvis overlap --dims 1`."""
        return float(np.square(self.profile - 1).mean())

    def response(self, frequencies: np.ndarray) -> np.ndarray:
        """The layer's gain at each frequency in cycles per output: the magnitude of the transform of what one input writes.

        An input of frequency f, in cycles per output, comes out at f and, as its images, at f + k / stride.
        """
        kernel = self.weights @ self.responses
        waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(len(kernel))))
        return np.abs(waves @ kernel)

    def _relative(self, amplitudes: np.ndarray) -> dict[Fraction, float]:
        amplitudes = np.where(amplitudes > 1e-12 * np.abs(self.responses).max(initial=0.0), amplitudes, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(amplitudes > 0, amplitudes / amplitudes[0], 0.0)
        return {Fraction(k, self.stride): float(relative[k]) for k in range(1, len(relative))}

    def _by_phase(self, taps: np.ndarray) -> np.ndarray:
        return taps.reshape(-1, self.stride).sum(0)


def linear_view(
    layer: str | nn.Module, length: int = 8, weights: str | Tensor | None = None, seed: int = 0, name: str = ""
) -> LinearView:
    """The matrix of an upsampling layer along one axis, for an input of `length` values.

    layer: a name such as "deconv3" (see GRAMMAR), or a module of one channel, (B, 1, L) to (B, 1, stride L + c), that is linear in its
    input, its bias apart, and in its one weight; it is left as it is. weights: "ones", "random" (by seed), or a tensor of the free
    weights; None takes a module's own, and ones for a name.

    Raises FeatvisError for an unknown name, and for a module that does not upsample, that is not linear, or that treats its inputs
    differently far from its borders.
    """
    if type(length) is not int or not 1 <= length <= LONGEST:
        raise FeatvisError(f"the length is {length!r}; give a whole number from 1 to {LONGEST}")
    if isinstance(layer, str):
        module, basis = _named(layer)
        own = torch.ones(len(basis), dtype=torch.float64)
    else:
        module = copy_module(layer).double().cpu()
        weight = module.get_parameter(_weight_name(module))
        own = weight.flatten()
        basis = torch.eye(len(own), dtype=torch.float64).reshape(-1, *weight.shape)
    name = name or (layer if isinstance(layer, str) else type(layer).__name__)
    with torch.no_grad():
        shares = _shares(module, basis, length)
        whole = torch.tensordot(own, basis, 1)
        matrix, doubled = (_matrix(module, whole, length, size) for size in (1.0, -2.0))
        if not torch.allclose(doubled, -2 * matrix, atol=1e-9):
            raise FeatvisError(f"{name} is not linear in its input; give a single layer without activation")
        if not torch.allclose(matrix, torch.tensordot(own, shares, 1), atol=1e-9):
            raise FeatvisError(f"{name} is not linear in its weight; give a single layer without activation")
        stride, responses = _interior(module, basis, name)
    return LinearView(name, stride, _weights(weights, own, seed).numpy(), shares.numpy(), responses.numpy())


def _named(text: str) -> tuple[nn.Module, Tensor]:
    """The module that a name stands for, and its free weights, (T, *shape of its weight)."""
    match = re.fullmatch(r"([a-z]+)(\d{1,3})(?:s(\d{1,2}))?", text)
    if match is None or match[1] not in UPSAMPLERS:
        raise FeatvisError(f"no upsampling layer {text!r}; give {GRAMMAR}")
    kernel, stride = int(match[2]), int(match[3] or 2)
    if kernel < 1 or stride < 2:
        raise FeatvisError(
            f"{text!r} has kernel {kernel} and stride {stride}; give a kernel of at least 1 and a stride of at least 2"
        )
    module = UPSAMPLERS[match[1]](kernel, stride)
    shape = module.get_parameter("weight").shape
    if match[1] == "icnr":
        return module, torch.eye(kernel, dtype=torch.float64)[:, None, None].expand(-1, *shape)
    return module, torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, *shape)


def _weight_name(module: nn.Module) -> str:
    names = [name for name, _ in module.named_parameters() if name.split(".")[-1] == "weight"]
    if len(names) != 1:
        raise FeatvisError(f"{type(module).__name__} has {len(names)} weights; give an upsampling layer that has one")
    return names[0]


def _matrix(module: nn.Module, weight: Tensor, length: int, size: float = 1.0) -> Tensor:
    """(outputs, inputs) for one weight: the answers to inputs of one value of that size, without the answer to zero, a bias."""
    kind = type(module).__name__
    units = size * torch.eye(length + 1, length, dtype=torch.float64)[:, None]
    try:
        outputs = torch.func.functional_call(module, {_weight_name(module): weight}, (units,))
    except RuntimeError as error:
        raise FeatvisError(
            f"{kind} does not take an input of shape {tuple(units.shape)} ({str(error).splitlines()[0]}); "
            "give a layer of one channel in 1-D, and a length that it takes"
        ) from None
    if outputs.ndim != 3 or outputs.shape[1] != 1:
        raise FeatvisError(
            f"{kind} answers with shape {tuple(outputs.shape)}; give a layer with one channel out, in 1-D"
        )
    return (outputs[:-1] - outputs[-1:])[:, 0].T


def _shares(module: nn.Module, basis: Tensor, length: int) -> Tensor:
    """(T, outputs, inputs)."""
    return torch.stack([_matrix(module, weight, length) for weight in basis])


def _interior(module: nn.Module, basis: Tensor, name: str) -> tuple[int, Tensor]:
    """The stride, and what an input far from the borders writes through each weight, from a multiple of the stride on."""
    length = 16
    while length <= LONGEST:
        shares = _shares(module, basis, length)
        growth = len(_matrix(module, basis[0], length + 4)) - shares.shape[1]
        if growth < 4 or growth % 4:
            raise FeatvisError(
                f"4 more inputs give {name} {growth} more outputs; give an upsampling layer, of a whole factor"
            )
        stride = growth // 4
        one, other = (shares[:, :, length // 2 + column] for column in (0, 1))
        written = one.abs().sum(0).nonzero().flatten()
        shifted = torch.allclose(one.roll(stride, 1), other, atol=1e-12)
        if len(written) and shifted and stride * 4 <= int(written[0]) and int(written[-1]) < len(one[0]) - stride * 4:
            first = int(written[0]) // stride * stride
            taps = -(-(int(written[-1]) + 1 - first) // stride) * stride
            return stride, one[:, first : first + taps]
        length *= 2
    raise FeatvisError(f"{name} does not treat all inputs alike far from its borders; give a layer that does")


def _weights(weights: str | Tensor | None, own: Tensor, seed: int) -> Tensor:
    if weights is None:
        return own
    if isinstance(weights, Tensor):
        if weights.shape != own.shape:
            raise FeatvisError(
                f"weights of shape {tuple(weights.shape)}; this layer has {len(own)} free weights, give ({len(own)},)"
            )
        return weights.detach().to(own)
    if weights not in WEIGHTS:
        raise FeatvisError(f"weights {weights!r}; give one of {', '.join(WEIGHTS)}, or a tensor")
    if weights == "ones":
        return torch.ones_like(own)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(own), dtype=torch.float64, generator=generator)


def _combination(mix: np.ndarray) -> str:
    """The name of a combination of weights: "w1 + 0.5 w2", empty for none."""
    terms: list[str] = []
    for tap, share in enumerate(mix, start=1):
        if share:
            factor = "" if abs(share) == 1 else f"{abs(share):.3g} "
            sign = ("-" if share < 0 else "") if not terms else (" - " if share < 0 else " + ")
            terms.append(f"{sign}{factor}w{tap}")
    return "".join(terms)
