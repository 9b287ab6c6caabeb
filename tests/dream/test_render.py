"""What a render finds out about its objective: that it is dead, dim, or no number, and what is said of it."""

import pytest
import torch
from helpers.networks import Function
from torch import nn

from featvis.dream.dreaming import dream
from featvis.errors import FeatvisError
from featvis.models.model import Model


def test_a_dead_channel_is_said(photograph):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with torch.no_grad():
        network[0].bias[1:3] = torch.tensor([-1000.0, 10.0])
    model = Model(network, "dead", (3, 24, 24))
    with pytest.raises(
        FeatvisError, match=r"'1:1' does not light up: no gradient in the first 8 steps; nor at any of 16"
    ):
        dream(model, "1:1")
    assert len(dream(model, "1:2", steps=3).history) == 3


def test_a_channel_that_noise_of_more_contrast_lights_up_is_said_so():
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU())
    with torch.no_grad():
        network[0].weight.fill_(1 / 3)
        network[0].bias.fill_(-0.75)
    with pytest.raises(
        FeatvisError, match=r"it does at 1[0-6] of 16 noise pictures of strong contrast: try another seed"
    ):
        dream(Model(network, "dim", (3, 24, 24)), "1:0", transforms=[], steps=20)


def test_a_network_with_nan_is_said(photograph):
    network = nn.Sequential(Function(lambda pixels: (pixels - 2).sqrt()), nn.Conv2d(3, 2, 3))
    with pytest.raises(FeatvisError, match="'1:0' is nan at step 1; check the network's weights"):
        dream(Model(network, "nan", (3, 40, 52)), "1:0", photograph, steps=2, prepare=False)


def test_a_gradient_with_nan_is_said(photograph):
    # The root of zero has a value, but no slope.
    network = nn.Sequential(Function(lambda pixels: (0 * pixels).sqrt()), nn.Conv2d(3, 2, 3))
    with pytest.raises(FeatvisError, match="NaN or infinite"):
        dream(Model(network, "nan", (3, 40, 52)), "1:0", photograph, steps=1, prepare=False)


def test_an_objective_that_is_no_number_later_on_is_said(model, photograph):
    calls = []

    def objective(activations):
        calls.append(1)
        return activations("3").mean() * (float("inf") if len(calls) > 12 else 1)

    with pytest.raises(FeatvisError, match=r"is -?inf at step 1[0-9]; check .* or give a lower rate"):
        dream(model, objective, photograph, steps=20)


def dim():
    """A network that faint noise leaves dark."""
    network = nn.Sequential(nn.Conv2d(3, 1, 3, 2, 1), nn.ReLU())
    with torch.no_grad():
        network[0].weight.copy_(torch.rand(3, 3, generator=torch.Generator().manual_seed(0)) / 13.5)
        network[0].bias.fill_(-0.62)
    return Model(network, "dim", (3, 24, 24))


def test_equalise_takes_stronger_noise_where_faint_noise_leaves_all_dark(photograph):
    made = dream(dim(), "1:0", photograph.sqrt(), steps=1, compensation="equalise")
    plain = dream(dim(), "1:0", photograph.sqrt(), steps=1)
    assert not torch.allclose(made.gradient, plain.gradient)
    dark = dim()
    dark.module[0].bias.data.fill_(-1.2)
    with pytest.raises(FeatvisError, match="equalise finds no gradient of the objective '1:0' at noise"):
        dream(dark, "1:0", photograph.sqrt(), steps=1, compensation="equalise")
