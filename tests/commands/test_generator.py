"""`featvis generator` measures a generator's pictures beside those of random weights and real ones."""

import json

import pytest
import torch
from helpers.running import files_below, printed, refused, save_pictures
from torch import nn

NETS = """
import torch
from torch import nn

def generator(biased=False):
    torch.manual_seed(0)
    network = nn.Sequential(nn.ConvTranspose2d(5, 6, 8), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, 4), nn.Tanh())
    if biased:
        network[3].weight.data[..., 0, 0] *= 8
    return network

def comb():
    return generator(True)

class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.network = nn.Embedding(2, 5), generator()

    def forward(self, z, y):
        return self.network(z + self.embedding(y)[..., None, None])

def huge():
    return nn.Sequential(generator()[:-1], nn.ConvTranspose2d(3, 3, 1, bias=False), Scaled())

class Scaled(nn.Module):
    def forward(self, x):
        return 255 * torch.sigmoid(x)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    save_pictures(tmp_path / "real", 8, (40, 32))
    return tmp_path


def test_a_generator(place):
    output = printed("generator", "nets.py:generator", "--samples", "32", "--real", "real", "--out", "out")
    assert output.startswith("Fine detail of the generator's pictures: ")
    for said in (
        "trained, high-passed",
        "random weights, raw",
        "real, raw",
        "power beside real pictures",
        "5 x 1 x 1, normal",
    ):
        assert said in output
    assert {name for name in files_below(place) if name.startswith("out")} == {
        "out/generator.json",
        "out/generator.png",
    }
    content = json.loads((place / "out" / "generator.json").read_text())
    assert content["schema"] == "featvis.generator/1"
    assert list(content["pictures"]) == ["trained", "random weights", "real"]
    assert content["pictures"]["real"]["raw"]["pictures"] == 8
    assert content["settings"]["latent_shape"] == [5, 1, 1]
    assert content["pictures"]["trained"]["spectrum"][-1][0] == pytest.approx(0.7, abs=0.03)


def test_a_comb_is_found(place):
    output = printed("generator", "nets.py:comb", "--samples", "64", "--period", "4")
    assert "Period 4, E(4) = " in output.splitlines()[0]


def test_the_latent_distribution_matters(place):
    options = ("generator", "nets.py:generator", "--samples", "16")
    assert printed(*options) == printed(*options)
    assert printed(*options) != printed(*options, "--latent", "uniform")
    assert printed(*options) != printed(*options, "--seed", "1")


def test_dcgan(place):
    layers = [nn.ConvTranspose2d(7, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 2, 4, 2, 1), nn.ReLU()]
    torch.manual_seed(0)
    torch.save(nn.Sequential(*layers, nn.ConvTranspose2d(2, 1, 4, 2, 1)).state_dict(), "g.pth")
    assert "7 x 1 x 1" in printed("generator", "dcgan", "--weights", "g.pth", "--samples", "16")
    assert "fit no DCGAN discriminator" in refused("discriminator", "dcgan", "--weights", "g.pth")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nets.py:Conditional",), "called with (z, y); give --class"),
        (("nets.py:Scaled",), "makes no pictures"),
        (("nets.py:huge",), "expected -1 to 1 or 0 to 1"),
        (("nets.py:generator", "--period", "64"), "hold fewer than two periods of 64"),
        (("stylegan",), "is no factory"),
        (("nets.py:generator", "--latent", "cauchy"), "'cauchy' is not one of 'normal', 'uniform'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(place, arguments, said):
    assert said in refused("generator", *arguments, "--samples", "8")


def test_a_class(place):
    assert "trained, raw" in printed("generator", "nets.py:Conditional", "--class", "1", "--samples", "8")
