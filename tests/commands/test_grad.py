"""`featvis grad` saves what the library computes, one picture and one array for each picture, and writes over no picture."""

import numpy as np
import pytest
import torch
from helpers.networks import plain_gradient
from helpers.running import ZOO, files_below, printed, refused, save_pictures
from PIL import Image

from featvis.commands import grad as command
from featvis.measure.sums import checkerboard_energy
from featvis.models.specs import load_model


def made_of(*names):
    """The files of pictures."""
    return {f"{name}{end}" for name in names for end in (".png", "_gradient.png", "_absolute.png", ".npz")}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "photos", 2)
    return tmp_path


@pytest.fixture
def no_drawing(monkeypatch):
    """Figures are drawn and tested elsewhere; here an empty file stands for one."""

    def save(figure, path):
        path.write_bytes(b"")
        return path

    monkeypatch.setattr("featvis.plots.gradient_figure", lambda *arguments: None)
    monkeypatch.setattr("featvis.plots.save_figure", save)


def test_a_figure_and_an_array_for_each_picture(place):
    output = printed("grad", ZOO, "photos", "--size", "32", "--out", "made")
    assert files_below(place / "made") == made_of("0", "1")
    assert Image.open(place / "made" / "0.png").width > 100
    for number, line in enumerate(output.splitlines()):
        assert line.startswith(f"made/{number}.png  No checkerboard found: E(8) = ")
    array = np.load(place / "made" / "0.npz")
    model = load_model(ZOO, device="cpu")
    _, pixels = model.load(place / "photos" / "0.png")
    expected = plain_gradient(model.module, model.normalise(pixels[None]))[0]
    assert np.allclose(array["gradient"], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    # A planted fault: another class would not pass.
    other = plain_gradient(model.module, model.normalise(pixels[None]), int(array["gradient"].shape[0]))[0]
    assert not np.allclose(array["gradient"], other, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert np.array_equal(array["picture"], pixels.permute(1, 2, 0))
    assert (str(array["score"]), int(array["total_stride"])) == ("top", 8)
    assert (str(array["method"]), str(array["compensation"])) == ("vanilla", "none")
    energy = checkerboard_energy(torch.from_numpy(array["gradient"])[None], 8).energy[8]
    assert str(energy) in output.splitlines()[0]


@pytest.mark.usefixtures("no_drawing")
def test_a_compensated_gradient_stands_beside_the_plain_one(place):
    for name, options in (
        ("a", ()),
        ("b", ("--compensate", "jitter")),
        ("c", ("--compensate", "jitter", "--seed", "5")),
    ):
        printed("grad", ZOO, "photos/0.png", "--out", name, "--size", "32", *options)
    plain, treated, other = (np.load(place / name / "0.npz") for name in "abc")
    assert np.array_equal(plain["gradient"], plain["vanilla"])
    assert np.allclose(plain["gradient"], treated["vanilla"])
    assert not np.allclose(treated["gradient"], treated["vanilla"])
    assert not np.allclose(treated["gradient"], other["gradient"])
    assert str(treated["compensation"]) == "jitter"


@pytest.mark.usefixtures("no_drawing")
def test_pictures_of_one_name_and_pictures_in_the_folder(place):
    """Neither replaces another, and no picture that is read is written over."""
    pixels = np.full((48, 64, 3), 120, dtype=np.uint8)
    pixels[:, 20:] = 30
    (place / "more").mkdir()
    Image.fromarray(pixels).save(place / "more" / "0.bmp")
    before = {path: path.read_bytes() for path in (place / "photos").iterdir()}
    printed("grad", ZOO, "photos", "more", "--out", "photos", "--size", "32")
    assert all(path.read_bytes() == content for path, content in before.items())
    assert files_below(place / "photos") == {
        *("0.png", "1.png"),
        *made_of("0-2", "1-2", "0-3"),
    }
    first, second = (np.load(place / "photos" / f"0-{number}.npz")["picture"] for number in (2, 3))
    assert not np.array_equal(first, second)


@pytest.mark.usefixtures("no_drawing")
def test_a_run_repeats_itself(place):
    for _ in range(2):
        printed("grad", ZOO, "photos", "--out", "made", "--size", "32")
    assert files_below(place / "made") == made_of("0", "1")


@pytest.mark.usefixtures("no_drawing")
def test_a_limit_and_notes(place):
    Image.new("RGBA", (40, 40), (200, 30, 90, 100)).save(place / "photos" / "0.png")
    output = printed("grad", ZOO, "photos", "--limit", "1", "--score", "stage1:3", "--size", "32")
    assert files_below(place / "out") == made_of("0")
    assert output.startswith("out/0.png  Period 2, E(2) = ")
    assert output.rstrip().endswith(" Note: transparency composited on white.")


@pytest.mark.usefixtures("no_drawing")
def test_grey_pictures_and_notes_of_the_network(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(1, 2, 3, 2))\n")
    output = printed("grad", "nets.py:net", "photos/0.png", "--size", "32")
    assert "note: no preprocessing is known" in output
    array = np.load(place / "out" / "0.npz")
    assert (array["gradient"].shape, array["picture"].shape) == ((1, 32, 32), (32, 32))


@pytest.mark.usefixtures("no_drawing")
def test_a_network_without_strides(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(3, 2, 3))\n")
    assert "No layer has a stride, so there is no period" in printed(
        "grad", "nets.py:net", "photos/0.png", "--size", "32"
    )


@pytest.mark.usefixtures("no_drawing")
def test_a_single_layer_is_a_network(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Conv2d(3, 2, 3, 2)\n")
    assert "E(2) = " in printed("grad", "nets.py:net", "photos/0.png", "--size", "32")


def test_a_figure_that_cannot_be_written(place):
    (place / "out" / "0.png").mkdir(parents=True)
    assert "cannot write 'out/0.png'" in refused("grad", ZOO, "photos", "--size", "32")
    assert files_below(place / "out") == set()


def test_free_names():
    assert command._free_name("a", []) == "a"
    assert command._free_name("a", ["a", "a-2"]) == "a-3"
    assert command._free_name("a", ["a_gradient"]) == "a-2", "its map would replace another picture"


@pytest.mark.usefixtures("no_drawing")
def test_the_map_alone_is_the_gradient_in_whole_pixels(place):
    printed("grad", ZOO, "photos/0.png", "--size", "32", "--overlay", "1")
    array = np.load(place / "out" / "0.npz")
    signed = array["gradient"].sum(0)
    drawn = np.asarray(Image.open(place / "out" / "0_gradient.png")).astype(int)
    assert drawn.shape == (512, 512, 3)
    cells = drawn.reshape(32, 16, 32, 16, 3)
    assert (cells == cells[:, :1, :, :1]).all(), "each pixel is a square of one colour"
    red = cells[:, 0, :, 0, 0] - cells[:, 0, :, 0, 2]
    strong = np.abs(signed) > 0.3 * np.percentile(np.abs(signed), 99)
    assert ((red > 0) == (signed > 0))[strong].all(), "red raises the score"
    absolute = np.asarray(Image.open(place / "out" / "0_absolute.png")).astype(int)[::16, ::16]
    strength = np.abs(array["gradient"]).mean(0)
    assert np.allclose(absolute / 255, np.clip(strength / np.percentile(strength, 99), 0, 1), atol=0.003)
    overlaid = np.asarray(Image.open(place / "out" / "0_overlay.png")).astype(int)[::16, ::16]
    weak = np.abs(signed) < 0.01 * np.percentile(np.abs(signed), 99)
    assert np.allclose((overlaid / 255)[weak], array["picture"][weak], atol=0.02), (
        "the photograph shows where nothing is"
    )


def test_several_methods_are_drawn_below_each_other(place):
    methods = ("--method", "vanilla", "--method", "input-x-gradient", "--method", "smoothgrad:samples=3")
    output = printed("grad", ZOO, "photos/0.png", "--size", "32", *methods)
    assert output.startswith("5 gradients a picture: 1 of gradient, 1 of input-x-gradient, 3 of smoothgrad:samples=3\n")
    array = np.load(place / "out" / "0.npz")
    assert {"input-x-gradient", "smoothgrad:samples=3", "vanilla"} <= set(array.files)
    assert np.array_equal(array["gradient"], array["vanilla"])
    assert not np.allclose(array["input-x-gradient"], array["vanilla"])
    assert Image.open(place / "out" / "0.png").height > 2000
    assert "give --method once" in refused("audit", ZOO, "photos", "--size", "32", *methods)
