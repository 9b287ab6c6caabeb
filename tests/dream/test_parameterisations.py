"""Parameterisations: Lucent's as they are, from noise and from a given picture, and phases alone."""

import json

import numpy as np
import pytest
import torch

from featvis.compat import import_torchvision
from featvis.dream.parameterisations import PARAMETERISATIONS, SPECTRUM, natural_noise
from featvis.errors import FeatvisError

import_torchvision()
from lucent.optvis import param  # noqa: E402, imports torchvision
from lucent.optvis.param.color import color_correlation_normalized  # noqa: E402, imports torchvision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["plain", "pixel", "fourier", "maco"])
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


def magnitudes(picture):
    """Of the Fourier coefficients before colours are mixed and the sigmoid is taken, by numpy in float64."""
    logits = np.log(picture) - np.log1p(-picture)
    if len(picture) == 3:
        logits = np.tensordot(np.linalg.inv(color_correlation_normalized.astype(np.float64)), logits, 1)
    return np.abs(np.fft.fft2(logits, norm="ortho"))


@pytest.mark.parametrize("shape", [(3, 12, 16), (3, 13, 17), (1, 9, 8)])
@pytest.mark.parametrize("from_picture", [False, True])
def test_only_phases_are_optimised(shape, from_picture):
    torch.manual_seed(0)
    start = torch.rand(shape) * 0.6 + 0.2 if from_picture else None
    made = PARAMETERISATIONS["maco"](shape, start, CPU)
    before = made.picture().detach()[0].double().numpy()
    optimiser = torch.optim.Adam(made.values, 0.05)
    target = torch.rand(1, *shape)
    for _ in range(20):
        optimiser.zero_grad()
        (made.picture() - target).square().sum().backward()
        optimiser.step()
    after = made.picture().detach()[0].double().numpy()
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(magnitudes(after), magnitudes(before), atol=2e-4 * magnitudes(before).max())


def test_the_gradient_by_phase_is_that_of_differences():
    torch.manual_seed(0)
    made = PARAMETERISATIONS["maco"]((3, 6, 7), None, CPU)
    (values,) = made.values
    target = torch.rand(1, 3, 6, 7)

    def loss():
        return (made.picture() - target).double().square().sum()

    loss().backward()
    for place in ((0, 1, 2), (1, 3, 6), (2, 0, 1)):
        with torch.no_grad():
            ends = []
            for step in (0.01, -0.01):
                values[place] += step
                ends.append(float(loss()))
                values[place] -= step
        assert float(values.grad[place]) == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-2, abs=1e-4)


def test_noise_is_as_strong_at_each_frequency_as_photographs():
    content = json.loads(SPECTRUM.read_text(encoding="utf-8"))
    assert content["command"].startswith("python experiments/natural_spectrum.py")
    assert all(licence.startswith(("public domain", "CC")) for licence in content["pictures"].values())
    assert SPECTRUM.stat().st_size < 4096
    torch.manual_seed(0)
    found = magnitudes(PARAMETERISATIONS["maco"]((3, 40, 56), None, CPU).picture().detach()[0].double().numpy())
    # Exactly at frequencies of the table, and between two of them; in both directions alike.
    known, curves = np.log(content["frequencies"]), np.log(content["magnitudes"])
    for row, column in ((0, 8), (5, 0), (5, 8), (35, 8), (5, 48)):
        frequency = np.hypot(min(row, 40 - row) / 40, min(column, 56 - column) / 56)
        expected = [np.exp(np.interp(np.log(frequency), known, curve)) for curve in curves]
        np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-2)
    assert found[:, 0, 0].max() < 1e-3


def test_natural_noise_falls_with_frequency():
    noise = natural_noise((64, 1, 64, 64), torch.Generator().manual_seed(0), 0.1)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.01)
    power = torch.fft.rfft2(noise - 0.5).abs().square().mean((0, 1))
    # Amplitude as the wavelength: four times the frequency, a sixteenth of the power.
    assert float(power[0, 4] / power[0, 16]) == pytest.approx(16, rel=0.35)
