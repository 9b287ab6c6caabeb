from __future__ import annotations

import math

import pytest
import torch
from helpers.energies import noise

from featvis.measure.spectra import high_frequency_share, signed_combs, spectral_flatness, white_flatness


def test_signed_comb_of_noise_is_zero_on_average_and_of_a_comb_is_one() -> None:
    (shares,) = signed_combs(noise(300, 2, 12, 12), [(4, 4)])
    assert abs(shares.mean()) < 3 * shares.std() / math.sqrt(300)
    comb = noise(1, 1, 2, 2).repeat(1, 1, 6, 6)
    assert float(signed_combs(comb, [(2, 2)])[0]) == pytest.approx(1)
    assert signed_combs(noise(1, 1, 4, 4), [(4, 4)])[0].isnan().all()


@pytest.mark.parametrize("side", [4, 32, 196, 220, 244])
def test_high_frequency_share_of_a_flat_spectrum_is_exact(side: int) -> None:
    impulse = torch.zeros(1, 1, side, side, dtype=torch.float64)
    impulse[..., side // 2, 1] = 1
    assert float(high_frequency_share(impulse)) == pytest.approx(0.75, abs=1e-12)


def test_high_frequency_share_of_white_noise_and_of_pure_waves() -> None:
    assert high_frequency_share(noise(200, 1, 32, 32)).mean() == pytest.approx(0.75, abs=0.005)
    assert high_frequency_share(noise(200, 1, 1, 64)).mean() == pytest.approx(0.5, abs=0.01)
    wave = torch.cos(2 * torch.pi * torch.arange(32, dtype=torch.float64) / 8).expand(1, 1, 32, 32)
    assert float(high_frequency_share(wave)) == pytest.approx(0, abs=1e-12)
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 1, 16, 16)
    assert float(high_frequency_share(checker)) == pytest.approx(1)


@pytest.mark.parametrize("size", [4, 8])
def test_flatness_of_white_noise_and_of_one_harmonic(size: int) -> None:
    ratios = [spectral_flatness(noise(size, size, seed=seed)) / white_flatness(size, size) for seed in range(400)]
    # The spread of the mean power adds a little where harmonics are few.
    assert sum(map(math.log, ratios)) / 400 == pytest.approx(0, abs=0.15)
    wave = torch.cos(torch.pi * torch.arange(size, dtype=torch.float64)).expand(size, size)
    assert spectral_flatness(wave + 1e-3 * noise(size, size)) < 0.01
