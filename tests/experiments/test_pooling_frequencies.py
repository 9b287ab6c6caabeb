"""Spectra and shares of high frequencies, held against white noise and closed forms."""

import pooling_frequencies
import pytest
import torch


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_spectrum_of_white_noise_is_flat():
    spectrum = pooling_frequencies.spectrum(noise(512, 3, 32, 32))
    assert spectrum.mean().item() == pytest.approx(1)
    assert spectrum.std().item() < 0.06


def test_layers_alone_pass_what_they_must():
    for name, share in {"max2": 0.75, "average": 0.331, "blur": 0.077}.items():
        found = pooling_frequencies.of_layer(pooling_frequencies.LAYERS[name])
        assert found.share.value == pytest.approx(share, abs=0.01)
