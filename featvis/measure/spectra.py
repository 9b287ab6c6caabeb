"""What stands beside the energy: the signed comb, the share of high frequencies and the flatness of a spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from featvis.measure.phases import fold


def signed_combs(gradients: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Share of the variance of the gradient itself that its phase means explain, 0 on average for white noise; one (B,) for each size.

    gradients: (B, C, H, W), whole periods of every size. sizes: (rows, columns) of a period; the last is a multiple of each. The
    adjusted coefficient of determination, one mean per channel and phase; NaN where a phase has a single pixel.
    """
    samples = gradients.shape[-2] * gradients.shape[-1]
    centred = gradients - gradients.mean((-2, -1), keepdim=True)
    total = centred.square().sum((1, 2, 3))
    means = fold(centred, *sizes[-1]) if sizes else centred
    combs = []
    for rows, columns in sizes:
        phases = rows * columns
        between = fold(means, rows, columns).square().sum((1, 2, 3)) * (samples / phases)
        degrees = (samples - 1) / (samples - phases) if samples > phases else math.nan
        combs.append(1 - (total - between) / total * degrees)
    return combs


def high_frequency_share(gradients: Tensor) -> Tensor:
    """Share of spectral power outside |fx|, |fy| < 1/4 cycle per pixel, (B,); white noise has 0.75, signals 0.5.

    gradients: (B, C, H, W), signals with H = 1. Frequencies exactly at the limit count half.
    """
    height, width = gradients.shape[-2:]
    power = torch.view_as_real(torch.fft.rfft2(gradients)).square().sum((1, -1))
    # The half of the spectrum that is left out mirrors this one.
    power[..., 1 : (width + 1) // 2] *= 2
    rows, columns = torch.arange(height), torch.arange(width // 2 + 1)
    low = power.new_ones(())
    for axis, size, cycles in ((1, height, torch.minimum(rows, height - rows)), (0, width, columns)):
        # In whole cycles: as a fraction the limit would be missed by rounding, such as 55 of 220.
        inside = (torch.sign(size - 4 * cycles) + 1) / 2
        low = low * inside.to(power).unsqueeze(axis)
    return 1 - (power * low).sum((-2, -1)) / power.sum((-2, -1))


def spectral_flatness(profile: Tensor) -> float:
    """Geometric over arithmetic mean of the power of a signed profile's harmonics, without the constant one: the Wiener entropy.

    profile: (rows, columns). 1 where all harmonics are equally strong, towards 0 where few hold the power; `white_flatness` is what white
    noise gives.
    """
    power = torch.fft.fft2(profile.double()).abs().square().flatten()[1:]
    if not len(power) or not bool(power.sum() > 0):
        return 1.0
    tiny = torch.finfo(torch.float64).tiny
    return float(torch.exp(power.clamp_min(tiny).log().mean() - power.mean().log()))


def white_flatness(rows: int, columns: int) -> float:
    """The spectral flatness of a real white profile of this size, but for the spread of its mean power.

    Self-conjugate harmonics have one degree of freedom and the others two; the mean logarithm of their power is a digamma function.
    """
    row, column = torch.arange(rows).view(-1, 1), torch.arange(columns)
    real = ((2 * row % rows == 0) & (2 * column % columns == 0)).flatten()[1:]
    if not len(real):
        return 1.0
    one_degree, two_degrees = torch.digamma(torch.tensor([0.5, 1.0], dtype=torch.float64)).tolist()
    return math.exp(float(torch.where(real, one_degree + math.log(2), two_degrees).mean()))
