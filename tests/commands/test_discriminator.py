"""`featvis discriminator` reads both networks, finds size and range, and says in one line what does not fit."""

import json
import sys

import pytest
import torch
from helpers.faces import WEIGHTS, needs_faces
from helpers.running import files_below, printed, refused, save_pictures
from torch import nn

NETS = """
import torch
from torch import nn

class Discriminator(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 6, 4, 2, 1), nn.LeakyReLU(0.2),
                         nn.Flatten(), nn.Linear(6 * 16, 1), nn.Sigmoid())

class Even(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1))
        with torch.no_grad():
            self[0].weight[..., ::2, :] *= 3

class Projection(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.embedding = nn.Conv2d(3, 4, 3, 2, 1), nn.Embedding(2, 4)

    def forward(self, x, y):
        return (self.convolution(x).sum((2, 3)) * self.embedding(y)).sum(1)

class Generator(nn.Sequential):
    def __init__(self, size=4):
        torch.manual_seed(1)
        super().__init__(nn.ConvTranspose2d(5, 6, size), nn.ReLU(True), nn.ConvTranspose2d(6, 3, 4, 4), nn.Tanh())

def large():
    return Generator(8)

class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()

    def forward(self, z):
        return (self.generator(z) + 1) / 2

def broken():
    network = Even()
    network[2].bias.data.fill_(3e38)
    network[2].weight.data.fill_(3e38)
    return network
"""

PAIR = ("nets.py:Discriminator", "--generator", "nets.py:Generator", "--samples", "8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    save_pictures(tmp_path / "faces", 6, (20, 16))
    return tmp_path


def test_a_pair(place):
    output = printed("discriminator", *PAIR, "--real", "faces", "--out", "out", "--culprits", "--neutral")
    assert output.startswith("At generated pictures: ")
    for said in (
        "each resolution",
        "culprits: what is left",
        "note: a sigmoid ends the discriminator",
        "other places as good",
        "free pixels",
        "out/discriminator.png",
    ):
        assert said in output
    assert "Even overlap does not mean" not in output
    assert {name for name in files_below(place) if name.startswith("out")} == {
        "out/discriminator.json",
        "out/discriminator.png",
    }
    content = json.loads((place / "out" / "discriminator.json").read_text())
    assert content["schema"] == "featvis.discriminator/1"
    assert list(content["sources"]) == ["real", "generated", "mixed", "noise"]
    assert [source["audit"]["pictures"] for source in content["sources"].values()] == [6, 8, 6, 8]
    assert content["settings"]["input_size"] == [3, 16, 16]
    assert content["settings"]["mean"] == [0.5]


def test_noise_alone(place):
    output = printed("discriminator", "nets.py:Even", "--samples", "8")
    assert "accepts pictures of 64 x 64 pixels" in output
    assert "range -1 to 1" in output
    assert "noise alone" in output
    assert "accepts pictures of 16" not in printed("discriminator", "nets.py:Discriminator", "--size", "16")


def test_even_overlap_is_explained(place):
    torch.manual_seed(0)
    output = printed("discriminator", "nets.py:Even", "--size", "32", "--score", "seeds", "--samples", "64")
    assert "At noise: Period 2, E(2) = " in output
    assert "Even overlap does not mean even gradients" in output


def test_jpeg_pictures_are_said(place):
    from PIL import Image

    Image.open("faces/0.png").save("faces/0.jpg")
    assert "1 of 7 pictures are JPEG files" in printed("discriminator", *PAIR, "--real", "faces")


def test_classes(place):
    options = ("nets.py:Projection", "--size", "16", "--samples", "8")
    assert "(x, y); give --class" in refused("discriminator", *options)
    assert "At noise:" in printed("discriminator", *options, "--class", "1")
    assert "takes no class" in refused("discriminator", "nets.py:Even", "--class", "1", "--size", "16")


def test_one_of_a_pair_may_take_a_class(place):
    pair = ("--generator", "nets.py:Generator", "--samples", "8", "--class", "1")
    assert "At generated pictures" in printed("discriminator", "nets.py:Projection", *pair)
    assert "a class" not in printed("discriminator", "nets.py:Even", *pair)


def test_dcgan(place):
    layers = [nn.Conv2d(1, 2, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(2, 4, 4, 2, 1), nn.LeakyReLU(0.2)]
    torch.manual_seed(0)
    torch.save(nn.ModuleDict({"main": nn.Sequential(*layers, nn.Conv2d(4, 1, 4))}).state_dict(), "d.pth")
    output = printed("discriminator", "dcgan", "--weights", "d.pth", "--samples", "8", "--out", "out")
    assert "16x16" in output
    content = json.loads((place / "out" / "discriminator.json").read_text())
    assert content["settings"]["input_size"] == [1, 16, 16]
    assert "fit no DCGAN generator" in refused("generator", "dcgan", "--weights", "d.pth")
    torch.save(nn.Sequential(nn.Linear(3, 4)).state_dict(), "l.pth")
    assert "fit no DCGAN discriminator" in refused("discriminator", "dcgan", "--weights", "l.pth")
    assert "is read off its weights" in refused("discriminator", "dcgan")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("nets.py:Discriminator", "--generator", "nets.py:large"),
            "the generator's pictures do not fit the discriminator: ",
        ),
        (("nets.py:Discriminator", "--generator", "nets.py:Generator", "--size", "32"), "asked at 3 x 32 x 32"),
        (("nets.py:Even", "--generator", "nets.py:Even"), "makes no pictures"),
        (("nets.py:broken", "--size", "16"), "NaN or infinity for 128 of 128 noise pictures"),
        (("nets.py:Even", "--generator", "nets.py:Generator", "--range", "0,1"), "generated pictures run from"),
        (("nets.py:Even", "--generator", "nets.py:Unit", "--range", "-1,1"), "as in a range 0 to 1"),
        (("nets.py:Even", "--generator-weights", "g.pth"), "without a generator"),
        (("resnet18",), "is no factory; give path/file.py:factory"),
        (("nets.py:Even", "--real", "nowhere"), "there is no picture file or folder 'nowhere'"),
        (("nets.py:Even", "--score", "9:0", "--size", "16"), "no layer"),
        (("nets.py:Even", "--weights", "none.pth"), "no weights file 'none.pth'"),
        (("nets.py:Even", "--range", "0,255"), "'0,255' is not one of '-1,1', '0,1'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(place, arguments, said):
    assert said in refused("discriminator", *arguments)


def test_tensorboard_is_asked_for_before_the_work(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "pip install tensorboard" in refused("discriminator", *PAIR, "--tensorboard", "board")
    assert "pip install tensorboard" in refused("generator", "nets.py:Generator", "--tensorboard", "board")


def test_layers_can_be_scored(place):
    assert "At generated pictures" in printed("discriminator", *PAIR, "--score", "2:1")
    assert "At generated pictures" in printed("discriminator", *PAIR, "--score", "seeds:0")


@needs_faces
def test_the_faces(place, request):
    factories = request.config.rootpath / "tests" / "helpers" / "faces.py"
    output = printed(
        *("discriminator", f"{factories}:FaceDiscriminator", "--weights", WEIGHTS / "face_discriminator.pt"),
        *("--generator", f"{factories}:FaceGenerator", "--generator-weights", WEIGHTS / "face_generator.pt"),
        *("--latent", "uniform", "--samples", "64"),
    )
    assert output.startswith("At generated pictures: Period 4, E(4) = 0.01")
    assert "Even overlap does not mean even gradients" in output
    shape = refused("discriminator", "dcgan", "--weights", WEIGHTS / "face_discriminator.pt")
    assert "fit no DCGAN discriminator" in shape
