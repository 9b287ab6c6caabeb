"""What is optimised: the pixels themselves, Lucent's pixels, Fourier coefficients and pattern-producing networks, or phases alone.

A parameterisation is, as in Lucent, a list of tensors and a function that makes pictures (B, C, H, W) in [0, 1] of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError

DARKEST = 1 / 512
"""A sigmoid never reaches 0 and 1: a picture that it is to show is kept so far away from both."""

NOISE = 0.05
"""Standard deviation of the grey noise that plain pixels start from."""


SPECTRUM = Path(__file__).with_name("spectrum.json")
"""How strong each frequency is in photographs, from which pictures, and the command that measured it."""

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


def maco(shape: Shape, start: Tensor | None, device: torch.device) -> Parameterisation:
    """The phases of Fourier coefficients whose magnitudes are fixed: a sigmoid over decorrelated colours over an inverse transform.

    The magnitudes are those of photographs, or the start's own; the values are by how much phases have turned. Fel et al. 2023, "Unlocking
    Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization".
    """
    height, width = shape[1:]
    if start is None:
        noise = torch.fft.rfft2(torch.randn(shape))
        spectrum = photographic(shape) * noise / noise.abs().clamp_min(1e-12)
    else:
        spectrum = torch.fft.rfft2(_logits(start), norm="ortho").to(torch.complex64)
    spectrum = spectrum.to(device)
    turned = torch.zeros(shape, device=device, requires_grad=True)

    def picture() -> Tensor:
        # A real picture turns opposite frequencies by opposite angles.
        angles = turned - turned.flip(1, 2).roll((1, 1), (1, 2))
        coefficients = spectrum * torch.exp(1j * angles[..., : spectrum.shape[2]])
        return _from_logits(torch.fft.irfft2(coefficients, s=(height, width), norm="ortho")).unsqueeze(0)

    return Parameterisation([turned], picture)


def photographic(shape: Shape) -> Tensor:
    """Magnitudes of photographs' Fourier coefficients, (C, H, W // 2 + 1), of what a sigmoid is taken of; 0 for the mean.

    They are the root mean squares that SPECTRUM holds, the same in all directions, read between its frequencies along straight lines in
    logarithms; of brightness where there are no three colours.
    """
    content = json.loads(SPECTRUM.read_text(encoding="utf-8"))
    known, magnitudes = (np.log(np.asarray(content[name])) for name in ("frequencies", "magnitudes"))
    channels, height, width = shape
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    wanted = np.hypot(rows, columns)
    wanted[0, 0] = 1.0
    curves = magnitudes if channels == len(magnitudes) else magnitudes[[0] * channels]
    found = np.stack([np.exp(np.interp(np.log(wanted), known, curve)) for curve in curves])
    found[:, 0, 0] = 0
    return torch.from_numpy(found).float()


PARAMETERISATIONS: dict[str, Callable[[Shape, Tensor | None, torch.device], Parameterisation]] = {
    "plain": plain,
    "pixel": pixel,
    "fourier": fourier,
    "cppn": cppn,
    "maco": maco,
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
    return decorrelated(picture.detach().cpu().double().clamp(DARKEST, 1 - DARKEST).logit())


def decorrelated(values: Tensor) -> Tensor:
    """(C, H, W), the three colours unmixed as in Lucent; as they are where there are not three."""
    if len(values) != 3:
        return values
    from lucent.optvis.param.color import color_correlation_normalized

    mixing = torch.from_numpy(color_correlation_normalized).to(values)
    return torch.linalg.solve(mixing, values.flatten(1)).view_as(values)


def _from_logits(logits: Tensor) -> Tensor:
    """The picture of which `_logits` makes these, (C, H, W)."""
    if len(logits) == 3:
        from lucent.optvis.param.color import color_correlation_normalized

        mixing = torch.from_numpy(color_correlation_normalized).to(logits)
        logits = (mixing @ logits.flatten(1)).view_as(logits)
    return logits.sigmoid()


def _set(values: Tensor, start: Tensor) -> None:
    with torch.no_grad():
        values.copy_(start.to(values).expand_as(values))
