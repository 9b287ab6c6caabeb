"""Parameterisations: Lucent's as they are, from noise and from a given picture."""

import pytest
import torch

from featvis.compat import import_torchvision
from featvis.dream.parameterisations import PARAMETERISATIONS, natural_noise
from featvis.errors import FeatvisError

import_torchvision()
from lucent.optvis import param  # noqa: E402, imports torchvision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["plain", "pixel", "fourier"])
@pytest.mark.parametrize("shape", [(3, 12, 16), (3, 13, 17), (1, 12, 15), (4, 9, 12)])
def test_they_start_from_a_picture(name, shape):
    torch.manual_seed(0)
    picture = torch.rand(shape) * 0.9 + 0.05
    made = PARAMETERISATIONS[name](shape, picture, CPU)
    assert torch.allclose(made.picture()[0], picture, atol=1e-5)
    made.picture().sum().backward()
    assert all(values.grad is not None for values in made.values)


def test_black_and_white_come_near_enough():
    picture = torch.zeros(3, 8, 8)
    picture[:, ::2] = 1
    assert (PARAMETERISATIONS["fourier"]((3, 8, 8), picture, CPU).picture()[0] - picture).abs().max() < 1 / 255


def test_noise_is_lucents():
    for name, fft in (("fourier", True), ("pixel", False)):
        torch.manual_seed(0)
        found = PARAMETERISATIONS[name]((3, 10, 14), None, CPU).picture()
        torch.manual_seed(0)
        assert torch.equal(found, param.image(14, 10, fft=fft)[1]())


def test_a_start_is_not_changed():
    picture = torch.rand(3, 8, 8)
    kept = picture.clone()
    made = PARAMETERISATIONS["plain"]((3, 8, 8), picture, CPU)
    with torch.no_grad():
        made.values[0].add_(1)
    assert torch.equal(picture, kept)
    assert made.bounded


def test_pattern_producing_networks_make_squares_from_nothing():
    assert PARAMETERISATIONS["cppn"]((1, 8, 8), None, CPU).picture().shape == (1, 1, 8, 8)
    with pytest.raises(FeatvisError, match="squares, not 8 x 9"):
        PARAMETERISATIONS["cppn"]((3, 8, 9), None, CPU)
    with pytest.raises(FeatvisError, match="cannot start from a picture"):
        PARAMETERISATIONS["cppn"]((3, 8, 8), torch.rand(3, 8, 8), CPU)


def test_natural_noise_falls_with_frequency():
    noise = natural_noise((64, 1, 64, 64), torch.Generator().manual_seed(0), 0.1)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.01)
    power = torch.fft.rfft2(noise - 0.5).abs().square().mean((0, 1))
    # Amplitude as the wavelength: four times the frequency, a sixteenth of the power.
    assert float(power[0, 4] / power[0, 16]) == pytest.approx(16, rel=0.35)
