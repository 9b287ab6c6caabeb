"""The check for test suites: it fails for an uneven network, passes for an even one, and says what it needs."""

import pytest
import torch
from helpers.networks import strided
from torch import nn

import featvis
from featvis.audit.testing import assert_no_checkerboard


def even(dims=2):
    convolution = nn.Conv2d if dims == 2 else nn.Conv1d
    torch.manual_seed(0)
    return nn.Sequential(convolution(3, 64, 4, 2, padding=1), nn.Flatten(), nn.LazyLinear(2)).double()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_an_uneven_network_fails():
    with pytest.raises(AssertionError, match=r"E\(4\) = 0\.\d+ ± 0\.\d+ is above 0\.05 by more than 2 standard errors"):
        assert_no_checkerboard(strided(), noise(16, 3, 32, 32))


def test_the_limit_is_the_users():
    energies = assert_no_checkerboard(strided(), noise(16, 3, 32, 32), above=1.0)
    assert energies.energy[4].value > 0.05


@pytest.mark.parametrize("dims", [1, 2])
def test_an_even_network_passes(dims):
    network = even(dims)
    images = noise(32, 3, *[32] * dims)
    network(images)
    assert assert_no_checkerboard(network, images).total_stride == 2


def test_a_model_brings_its_size():
    model = featvis.Model(strided(), input_size=(3, 24, 24))
    with pytest.raises(AssertionError):
        assert_no_checkerboard(model)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (None, "give images"),
        (noise(1, 3, 4, 8), "nothing can be judged: Nothing can be told at this size"),
    ],
)
def test_what_is_missing_is_said(images, said):
    with pytest.raises(featvis.FeatvisError, match=said):
        assert_no_checkerboard(strided(), images)
