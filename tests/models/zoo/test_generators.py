"""The generators: each upsampling layer doubles the size as its name says, and weights are drawn as they should be."""

import pytest
import torch
from torch import nn

from featvis.errors import FeatvisError
from featvis.models.zoo.generators import (
    GENERATORS,
    LAYERS,
    SMOOTHINGS,
    UPSAMPLING,
    Generator,
    Upsampler,
    draw_weights,
    parse_upsampler,
    upsampler_names,
)
from featvis.repair.layers import ResizeConv2d, SmoothingDeconv2d, SubPixelConv2d

KINDS = {
    "deconv3": nn.ConvTranspose2d,
    "deconv4": nn.ConvTranspose2d,
    "subpixel": SubPixelConv2d,
    "icnr": SubPixelConv2d,
    "nearest": ResizeConv2d,
    "bilinear": ResizeConv2d,
}


@pytest.mark.parametrize("name", UPSAMPLING)
def test_each_layer_doubles_both_sides(name):
    layer = UPSAMPLING[name](3, 5)
    assert layer(torch.randn(2, 3, 6, 4)).shape == (2, 5, 12, 8)
    assert isinstance(layer, KINDS[name])
    assert layer.bias is None


@pytest.mark.parametrize(
    ("name", "layers", "smoothing"),
    [
        ("deconv3", ("nearest", "nearest", "deconv3", "deconv3"), None),
        ("deconv4-last", ("nearest", "nearest", "nearest", "deconv4"), None),
        ("icnr-smooth4", ("nearest", "nearest", "icnr", "icnr"), 4),
        ("bilinear-last-smooth2", ("nearest", "nearest", "nearest", "bilinear"), 2),
    ],
)
def test_names_stand_for_layers(name, layers, smoothing):
    assert parse_upsampler(name) == Upsampler(layers, smoothing)
    assert name in upsampler_names()


@pytest.mark.parametrize("name", ["deconv5", "deconv", "deconv3-smooth6", "deconv3-first", "", "deconv3 ", "Deconv3"])
def test_other_names_are_refused_in_one_line(name):
    with pytest.raises(FeatvisError, match="no upsampling") as caught:
        parse_upsampler(name)
    assert "give one of deconv3, deconv4" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_near_name_is_proposed():
    with pytest.raises(FeatvisError, match=r"nearest: .*nearest-last"):
        parse_upsampler("nearst-last")


@pytest.mark.parametrize("name", upsampler_names())
def test_every_variant_makes_pictures(name):
    network = GENERATORS["dcgan-plain"](parse_upsampler(name), (32, 48))
    pictures = network(torch.randn(2, network.latent))
    assert pictures.shape == (2, 3, 32, 48)
    assert float(pictures.detach().abs().max()) <= 1


def test_the_last_layers_are_the_named_ones():
    network = GENERATORS["dcgan"](parse_upsampler("deconv3-smooth5"), (16, 16))
    kinds = [type(part) for part in network.modules() if isinstance(part, (*KINDS.values(), SmoothingDeconv2d))]
    assert kinds == [ResizeConv2d, ResizeConv2d, nn.ConvTranspose2d, nn.ConvTranspose2d, SmoothingDeconv2d]
    assert network.last[-1].kernel_size == (5, 5)
    assert max(SMOOTHINGS) == 5


@pytest.mark.parametrize(("family", "norms"), [("dcgan", 4), ("dcgan-plain", 0)])
def test_only_one_family_is_normalised(family, norms):
    network = GENERATORS[family](parse_upsampler("nearest"), (16, 16))
    assert sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) == norms


def test_tanh_comes_last():
    network = Generator().double().eval()
    latents = torch.randn(2, 100, dtype=torch.float64)
    assert torch.equal(network(latents), torch.tanh(network.before_tanh(latents)))


@pytest.mark.parametrize("size", [(0, 16), (16, 24), (8, 8)])
def test_sizes_are_multiples(size):
    with pytest.raises(FeatvisError, match="multiples of 16"):
        Generator(size=size)


def test_layers_and_widths_are_four():
    with pytest.raises(FeatvisError, match="give 4 of each"):
        Generator(Upsampler(("nearest",) * (LAYERS - 1)))


@pytest.mark.parametrize("name", [*UPSAMPLING, "smoothing"])
def test_drawn_weights_keep_the_mean_square_through_a_rectifier(name):
    """Rectified white noise has a mean square of 1/2; a layer makes it 1, of which the next rectifier leaves 1/2."""
    layer = SmoothingDeconv2d(96, 96, 4, bias=False) if name == "smoothing" else UPSAMPLING[name](96, 96)
    layer.requires_grad_(False)
    draw_weights(layer, torch.Generator().manual_seed(1))
    written = layer(torch.randn(4, 96, 16, 16, generator=torch.Generator().manual_seed(2)).relu())
    # A bilinear resize averages: of the variance of white noise (5/8)^2 stays, all of the squared mean.
    mean = 1 / (2 * torch.pi)
    expected = 2 * (mean + (0.5 - mean) * (5 / 8) ** 2) if name == "bilinear" else 1
    assert float(written[..., 4:-4, 4:-4].square().mean()) == pytest.approx(expected, rel=0.2)


def test_weights_are_drawn_from_the_generator_alone():
    torch.manual_seed(0)
    first, second = (Generator(parse_upsampler("icnr")) for _ in range(2))
    state = torch.random.get_rng_state()
    for network in (first, second):
        draw_weights(network, torch.Generator().manual_seed(3))
    assert torch.equal(state, torch.random.get_rng_state())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    draw_weights(second, torch.Generator().manual_seed(4))
    assert not torch.equal(first.last[0].weight, second.last[0].weight)


@pytest.mark.parametrize(("name", "alike"), [("icnr", True), ("subpixel", False)])
def test_icnr_gives_all_phases_one_kernel(name, alike):
    network = Generator(parse_upsampler(name))
    draw_weights(network, torch.Generator().manual_seed(0))
    phases = network.last[0].weight.unflatten(0, (3, 4))
    assert bool((phases == phases[:, :1]).all()) is alike
