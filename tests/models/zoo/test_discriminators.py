"""The discriminators: total stride 8, one logit, twins that differ in how they halve the resolution alone, and gradients as theory says."""

import pytest
import torch
from torch import nn

from featvis.errors import FeatvisError
from featvis.measure.sums import checkerboard_energy
from featvis.models.zoo.discriminators import DISCRIMINATORS, SIZE, SLOPE, Discriminator
from featvis.repair.layers import BlurPool2d

KERNELS = {"k3s2": (3, 2), "k5s2": (5, 2), "k4s2": (4, 2), "blur": (3, 1)}


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("size", [(8, 8), (12, 6)])
def test_each_layer_halves_both_sides(name, size):
    layer = DISCRIMINATORS[name](3, 5)
    assert layer(torch.randn(2, 3, *size)).shape == (2, 5, size[0] // 2, size[1] // 2)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_twins_differ_in_their_halving_alone(name):
    network = Discriminator(name)
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    assert [(part.in_channels, part.out_channels) for part in convolutions] == [(3, 32), (32, 64), (64, 128)]
    assert {(part.kernel_size[0], part.stride[0]) for part in convolutions} == {KERNELS[name]}
    assert [part.negative_slope for part in network.modules() if isinstance(part, nn.LeakyReLU)] == [SLOPE] * 3
    assert sum(isinstance(part, BlurPool2d) for part in network.modules()) == (3 if name == "blur" else 0)
    assert network.head.in_features == 128 * 4 * 4


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_a_picture_gets_one_logit_and_the_rest_of_the_batch_does_not_matter(name):
    network = Discriminator(name).double()
    pictures = torch.randn(3, 3, SIZE, SIZE, dtype=torch.float64)
    logits = network(pictures)
    assert logits.shape == (3,)
    assert torch.allclose(network(pictures[1:2]), logits[1:2], atol=1e-12)


def test_weights_are_less_than_a_megabyte_in_float16():
    assert all(2 * sum(part.numel() for part in Discriminator(name).parameters()) < 1e6 for name in DISCRIMINATORS)


def test_widths_and_channels_are_chosen():
    network = Discriminator("k3s2", widths=(4, 6), channels=1)
    assert network(torch.randn(2, 1, SIZE, SIZE)).shape == (2,)
    assert network.head.in_features == 6 * 8 * 8


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    with pytest.raises(FeatvisError, match=r"no discriminator 'k3s1'.*k3s2.*give one of k3s2, k5s2, k4s2, blur"):
        Discriminator("k3s1")


@pytest.mark.parametrize(("name", "expected"), [("k3s2", 0.2346), ("k5s2", 0.0816), ("k4s2", 0.0), ("blur", 0.0)])
def test_the_last_halving_alone_leaves_the_energy_of_its_overlap(name, expected):
    """One layer behind the pixels and a random head: what windows of that width and stride leave on average over many networks."""
    gradients = []
    torch.manual_seed(0)
    for _ in range(64):
        layer = DISCRIMINATORS[name](16, 16).double()
        for part in layer.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight)
        pixels = torch.randn(1, 16, 32, 32, dtype=torch.float64, requires_grad=True)
        written = layer(pixels)
        gradients.append(torch.autograd.grad(written, pixels, torch.randn_like(written))[0])
    energy = checkerboard_energy(torch.cat(gradients), 2).energy[2]
    assert abs(energy.value - expected) < 4 * energy.error + 0.01
