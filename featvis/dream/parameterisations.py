"""What is optimised: the pixels themselves, or Lucent's pixels, Fourier coefficients and pattern-producing networks.

A parameterisation is, as in Lucent, a list of tensors and a function that makes pictures (B, C, H, W) in [0, 1] of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError

DARKEST = 1 / 512
"""A sigmoid never reaches 0 and 1: a picture that it is to show is kept so far away from both."""

NOISE = 0.05
"""Standard deviation of the grey noise that plain pixels start from."""


Shape = tuple[int, int, int]
"""Channels, height and width."""


@dataclass(frozen=True)
class Parameterisation:
    """values: what is optimised. picture: makes (B, C, H, W) in [0, 1] of them. bounded: they are pixels, to be kept in [0, 1]."""

    values: list[Tensor]
    picture: Callable[[], Tensor]
    bounded: bool = False


def plain(shape: Shape, start: Tensor | None, device: torch.device) -> Parameterisation:
    """The pixels themselves, kept in [0, 1] after each step: DeepDream's."""
    if start is None:
        start = (0.5 + NOISE * torch.randn(shape)).clamp(0, 1)
    values = start.unsqueeze(0).to(device, copy=True).requires_grad_()
    return Parameterisation([values], lambda: values, bounded=True)


def pixel(shape: Shape, start: Tensor | None, device: torch.device) -> Parameterisation:
    """Lucent's pixels: a sigmoid over decorrelated colours."""
    made = _lucent(shape, fft=False)
    if start is not None:
        _set(made.values[0], _logits(start))
    return made


def fourier(shape: Shape, start: Tensor | None, device: torch.device) -> Parameterisation:
    """Lucent's Fourier coefficients, scaled by wavelength: a sigmoid over decorrelated colours over an inverse transform."""
    made = _lucent(shape, fft=True)
    if start is not None:
        from lucent.optvis.param.spatial import rfft2d_freqs

        height, width = shape[1:]
        scale = 1 / torch.from_numpy(rfft2d_freqs(height, width)).clamp_min(1 / max(height, width))
        # Lucent divides the picture by 4, and has a column too many where the width is odd.
        spectrum = torch.view_as_real(torch.fft.rfft2(4 * _logits(start), norm="ortho"))
        columns = spectrum.shape[2]
        coefficients = torch.zeros_like(made.values[0])
        coefficients[0, :, :, :columns] = (spectrum / scale[:, :columns, None]).to(coefficients)
        _set(made.values[0], coefficients[0])
    return made


def cppn(shape: Shape, start: Tensor | None, device: torch.device) -> Parameterisation:
    """Lucent's compositional pattern-producing network: a function of the place, a square picture."""
    if start is not None:
        raise FeatvisError("a pattern-producing network cannot start from a picture; give plain, pixel or fourier")
    channels, height, width = shape
    if height != width:
        raise FeatvisError(f"a pattern-producing network makes squares, not {height} x {width}; give one size")
    import_torchvision()
    from lucent.optvis.param.cppn import cppn as lucent_cppn

    return adopted(lucent_cppn(height, num_output_channels=channels))


PARAMETERISATIONS: dict[str, Callable[[Shape, Tensor | None, torch.device], Parameterisation]] = {
    "plain": plain,
    "pixel": pixel,
    "fourier": fourier,
    "cppn": cppn,
}
"""By name: (C, H, W) and a picture (C, H, W) in [0, 1] to start from, or None for noise, and a device to a Parameterisation."""


def natural_noise(shape: Sequence[int], generator: torch.Generator, contrast: float) -> Tensor:
    """Noise with the spectrum of photographs, amplitudes as the wavelength (Field 1987): (B, C, H, W) in [0, 1], about half grey.

    contrast: the standard deviation; that of photographs is about .2.
    """
    height, width = shape[-2:]
    rows, columns = torch.fft.fftfreq(height).view(-1, 1), torch.fft.rfftfreq(width)
    wavelengths = 1 / (rows.square() + columns.square()).sqrt().clamp_min(1 / max(height, width))
    spectrum = torch.fft.rfft2(torch.randn(tuple(shape), generator=generator)) * wavelengths
    noise = torch.fft.irfft2(spectrum, s=(height, width))
    noise = (noise - noise.mean((1, 2, 3), keepdim=True)) / noise.std((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return (0.5 + contrast * noise).clamp(0, 1)


def adopted(made: tuple[Iterable[Tensor], Callable[[], Tensor]]) -> Parameterisation:
    """A parameterisation as Lucent's functions return it: tensors, and a function that makes pictures of them."""
    values, picture = made
    return Parameterisation(list(values), picture)


def _lucent(shape: tuple[int, int, int], fft: bool) -> Parameterisation:
    import_torchvision()
    from lucent.optvis import param

    channels, height, width = shape
    choices: dict[str, Any] = {} if channels == 3 else {"channels": channels}
    return adopted(param.image(width, height, fft=fft, **choices))


def _logits(picture: Tensor) -> Tensor:
    """What Lucent's sigmoid and decorrelation make this picture of, (C, H, W) in float64."""
    logits = picture.detach().cpu().double().clamp(DARKEST, 1 - DARKEST).logit()
    if len(picture) != 3:
        return logits
    from lucent.optvis.param.color import color_correlation_normalized

    mixing = torch.from_numpy(color_correlation_normalized).double()
    return torch.linalg.solve(mixing, logits.flatten(1)).view_as(logits)


def _set(values: Tensor, start: Tensor) -> None:
    with torch.no_grad():
        values.copy_(start.to(values).expand_as(values))
