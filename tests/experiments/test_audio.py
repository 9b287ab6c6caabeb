"""Combs of audio generators, held against closed forms and planted lines."""

import math

import audio
import pytest
import torch


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("variant", ["deconv, uneven", "deconv, even", "subpixel", "nearest", "deconv, uneven + hold"])
def test_combs_of_random_audio_generators_are_the_closed_forms(monkeypatch, variant):
    monkeypatch.setattr(audio, "NETWORKS", 24)
    monkeypatch.setattr(audio, "LENGTH", 2048)
    family = audio.FAMILIES["by 2"]
    monkeypatch.setattr(audio, "CONTROLS", (296, 408))
    found = audio.measure(family, variant)
    wide, overlap = audio.wide_combs(family, variant), audio.overlap_energies(family, variant)
    for period in family.combs:
        # 1e-3: layers of 16 channels are not infinitely wide.
        assert abs(found.comb[period].value - wide[period]) < 4 * found.comb[period].error + 1e-3
        assert abs(found.energy[period].value - overlap[period]) < 4 * found.energy[period].error + 1e-3


def test_rectified_correlation_at_its_ends():
    """Independent values keep the square of their mean, 1/π of the mean square, equal ones all of it, opposite ones nothing."""
    assert audio.rectified(torch.tensor([0.0, 1.0, -1.0]).double().numpy()) == pytest.approx([1 / math.pi, 1, 0])


def test_a_line_is_found_and_noise_has_none():
    power = noise(16_385).square() + noise(16_385, seed=1).square()
    lines = torch.arange(16, 16_384, 16)
    # The mean of the logarithm of what is exponentially distributed, by Euler's constant; a little more is due to the neighbours.
    assert audio.line_level(power, lines) == pytest.approx(-10 / math.log(10) * 0.5772, abs=0.7)
    louder = power.clone()
    louder[lines] *= 100
    assert audio.line_level(louder, lines) == pytest.approx(audio.line_level(power, lines) + 20)
