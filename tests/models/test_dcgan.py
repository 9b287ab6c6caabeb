"""DCGANs are read off a checkpoint's shapes, and compute what the tutorial's own networks do."""

import pytest
import torch
from torch import nn

from featvis.errors import FeatvisError
from featvis.models.checkpoints import load_strictly
from featvis.models.dcgan import dcgan_discriminator, dcgan_generator


class Main(nn.Module):
    """A network whose layers are in `main`, as in the tutorial."""

    def __init__(self, *layers):
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, values):
        return self.main(values)


def tutorial_discriminator(channels, width, size, bias=False):
    layers = [nn.Conv2d(channels, width, 4, 2, 1, bias=bias), nn.LeakyReLU(0.2, inplace=True)]
    while size > 8:
        layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=bias), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
        width, size = 2 * width, size // 2
    return Main(*layers, nn.Conv2d(width, 1, 4, 1, 0, bias=bias), nn.Sigmoid())


def tutorial_generator(channels, width, size, latent=10):
    width *= size // 8
    layers = [nn.ConvTranspose2d(latent, width, 4, 1, 0, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
    while size > 8:
        layers += [
            nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(True),
        ]
        width, size = width // 2, size // 2
    return Main(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


def trained(network):
    """The network with running statistics of its own, in eval mode and float64."""
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return network.eval().double()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    ("channels", "width", "size", "bias"), [(3, 4, 64, False), (1, 3, 32, True), (3, 2, 128, False)]
)
def test_discriminators(prefix, channels, width, size, bias):
    theirs = trained(tutorial_discriminator(channels, width, size, bias))
    state = {prefix + name: value for name, value in theirs.state_dict().items()}
    ours = dcgan_discriminator(state)
    assert (ours.channels, ours.width, ours.size, ours.latent) == (channels, width, size, 0)
    load_strictly(ours.network.double(), state, "it")
    pictures = torch.randn(2, channels, size, size, dtype=torch.float64)
    logits = ours.network.eval()(pictures)
    assert logits.shape == (2, 1, 1, 1)
    torch.testing.assert_close(logits.sigmoid(), theirs(pictures))


@pytest.mark.parametrize(("channels", "width", "size"), [(3, 4, 64), (1, 2, 32)])
def test_generators(channels, width, size):
    theirs = trained(tutorial_generator(channels, width, size))
    ours = dcgan_generator(theirs.state_dict())
    assert (ours.channels, ours.width, ours.size, ours.latent) == (channels, width, size, 10)
    load_strictly(ours.network.double(), theirs.state_dict(), "it")
    latents = torch.randn(2, 10, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(ours.network.eval()(latents), theirs(latents))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 1, 3)),
            "kernels 4x3x3x3, 8x4x3x3, 1x8x3x3",
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 4), nn.Conv2d(4, 8, 4), nn.Conv2d(8, 2, 4)), "a chain that ends in 1"),
        (nn.Sequential(nn.Conv2d(3, 4, 4), nn.Conv2d(5, 8, 4), nn.Conv2d(8, 1, 4)), "channels in a chain"),
        (nn.Sequential(nn.Conv2d(3, 4, 4), nn.Conv2d(4, 1, 4)), "three or more kernels"),
        (nn.ModuleDict({"a": nn.Conv2d(3, 4, 4)}), "'a.weight' is no layer of a sequence"),
        (nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 4)), nn.Sequential(nn.Conv2d(4, 4, 4))), "one sequence"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)), "kernels 4x3, 4x4, 1x4"),
    ],
)
def test_other_shapes_are_refused(state, said):
    for read in (dcgan_discriminator, dcgan_generator):
        with pytest.raises(FeatvisError, match="fit no DCGAN") as raised:
            read(state.state_dict())
        assert "\n" not in str(raised.value)
    with pytest.raises(FeatvisError, match=r"path/file\.py:factory") as raised:
        dcgan_discriminator(state.state_dict())
    assert said in str(raised.value)


def test_one_is_not_the_other():
    with pytest.raises(FeatvisError, match="fit no DCGAN discriminator"):
        dcgan_discriminator(tutorial_generator(3, 2, 32).state_dict())
    with pytest.raises(FeatvisError, match="fit no DCGAN generator"):
        dcgan_generator(tutorial_discriminator(3, 2, 32).state_dict())
