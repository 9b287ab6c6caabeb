"""Latent values, ranges and random weights of generators, and which networks are none."""

import math

import pytest
import torch
from helpers.networks import fingerprint
from helpers.pairs import square
from torch import nn

from featvis.errors import FeatvisError
from featvis.gan import samples_of
from featvis.gan.networks import Conditioned, latent_shape, sample, with_random_weights


class Flat(nn.Module):
    """Latent values (B, z) to pictures; the class comes in front in the order of its layers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(3, 5), nn.Linear(7, 4 * 16)
        self.up = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, z):
        return torch.tanh(self.up(self.linear(z).view(-1, 4, 4, 4)))


@pytest.mark.parametrize(("make", "shape"), [(Flat, (7,)), (square, (6, 1, 1))])
def test_latent_shapes(make, shape):
    assert latent_shape(Conditioned(make())) == shape


def test_what_makes_no_pictures():
    for network in (nn.Linear(3, 4), nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))):
        with pytest.raises(FeatvisError, match="makes no pictures"):
            latent_shape(Conditioned(network))


def test_samples():
    torch.manual_seed(0)
    network = square().train()
    before = fingerprint(network)
    made = samples_of(network, 9, "uniform", seed=3)
    assert torch.equal(made, samples_of(network, 9, "uniform", seed=3))
    assert not torch.equal(made, samples_of(network, 9, "uniform", seed=4))
    assert not torch.equal(made, samples_of(network, 9, "normal", seed=3))
    torch.testing.assert_close(made, sample(Conditioned(network), (6, 1, 1), "uniform", 9, 3, batch_size=2))
    latents = 2 * torch.rand((9, 6, 1, 1), generator=torch.Generator().manual_seed(3)) - 1
    torch.testing.assert_close(made, network.eval()(latents).detach())
    assert fingerprint(network.train()) == before
    with pytest.raises(FeatvisError, match="known: normal, uniform"):
        samples_of(network, 9, "cauchy")
    nn.init.constant_(network[0].weight, math.nan)
    with pytest.raises(FeatvisError, match="4 of 4 pictures of the generator hold NaN"):
        samples_of(network, 4)


def test_random_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(6, 8, 4)), *list(square())[1:])
    nn.init.normal_(network[1].running_mean)
    latents = torch.randn(16, 6, 1, 1)
    before, random = fingerprint(network), torch.random.get_rng_state()
    drawn = with_random_weights(Conditioned(network), latents, seed=1)
    assert fingerprint(network) == before
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, parameter in drawn.network.named_parameters():
        assert name.startswith("1.") or not torch.equal(parameter, network.get_parameter(name)), name
    again = with_random_weights(Conditioned(network), latents, seed=1)
    assert torch.equal(drawn(latents), again(latents))
    normed = drawn.network[1](drawn.network[0](latents))
    torch.testing.assert_close(normed.mean((0, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    assert not any(part.training for part in drawn.modules())
