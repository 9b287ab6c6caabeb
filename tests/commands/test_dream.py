"""`featvis dream` saves what the library dreams, with every setting beside it, and refuses in one line before the work."""

import contextlib
import json
import re

import numpy as np
import pytest
import torch
from helpers.findings import headline
from helpers.running import ZOO, files_below, printed, refused, run, save_pictures
from PIL import Image

from featvis.commands import dream as command
from featvis.dream.comparison import fine_detail
from featvis.dream.dreaming import dream
from featvis.measure.estimates import Estimate
from featvis.measure.sums import checkerboard_energy
from featvis.models.specs import load_model

FAST = ("--size", "32", "--objective", "stage2", "--steps", "2")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "photos", 1)
    return tmp_path


def record(name="dream.json"):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def test_a_dream_is_what_the_library_dreams(place):
    output = printed("dream", ZOO, "photos/0.png", *FAST, "--octaves", "2", "--jitter", "4", "--seed", "3")
    assert files_below(place) == {"photos/0.png", "dream.png", "dream.json"}
    assert output.startswith("dream.png, dream.json")
    model = load_model(ZOO, size=(32, 32), device="cpu")
    start = model.load("photos/0.png")[1]
    expected = dream(model, "stage2", start, steps=2, octaves=2, jitter=4, seed=3)
    saved = np.array(Image.open("dream.png")) / 255
    assert np.abs(saved - expected.picture.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    assert np.abs(saved - start.permute(1, 2, 0).numpy()).max() > 2 / 255
    written = record()
    assert written["dreams"][0]["history"] == pytest.approx(expected.history, rel=1e-5)
    assert f"{expected.history[-1]:.4g}" in output
    settings = written["dreams"][0]["settings"]
    assert (settings["steps"], settings["octaves"], settings["jitter"], settings["seed"]) == (2, 2, 4, 3)
    assert (written["photo"], written["objective"], written["fix"]) == ("photos/0.png", "stage2", None)


def test_a_seed_repeats_and_another_does_not(place):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        printed("dream", ZOO, "photos/0.png", *FAST, "--octaves", "1", "--seed", seed, "--out", f"{name}.png")
    first, again, other = ((place / f"{name}.png").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_usual_settings(place):
    """From a photograph those of Google's notebook, from noise Lucent's; --jitter 0 is the control in both."""
    printed("dream", ZOO, "photos/0.png", "--size", "64", "--objective", "stage1", "--steps", "1")
    settings = record()["dreams"][0]["settings"]
    assert (settings["octaves"], settings["jitter"], settings["param"]) == (4, 32, "plain")
    printed("dream", ZOO, "photos/0.png", "--size", "96", "--objective", "stage1", "--octaves", "1")
    assert record()["dreams"][0]["settings"]["steps"] == 20
    printed("dream", ZOO, *FAST)
    settings = record()["dreams"][0]["settings"]
    assert (settings["octaves"], settings["jitter"], settings["param"]) == (1, 0, "fourier")
    assert settings["transforms"] != []
    printed("dream", ZOO, *FAST, "--jitter", "0")
    assert record()["dreams"][0]["settings"]["transforms"] == []


def test_without_an_objective_the_middle_of_the_network(place):
    output = printed("dream", ZOO, "photos/0.png", "--size", "64", "--steps", "1", "--octaves", "1", "--strength", "3")
    assert "note: the objective is stage2, a layer in the middle of the network; --objective gives another" in output
    written = record()
    assert (written["objective"], written["dreams"][0]["settings"]["strength"]) == ("stage2", 3.0)


def test_the_verdict_is_that_of_the_page(place):
    options = ("--weights", "none", "--size", "96", "--objective", "stage3", "--octaves", "1", "--steps", "10")
    output = printed("dream", ZOO, "photos/0.png", *options, "--jitter", "0", "--html", "page.html")
    (said,) = (line for line in output.splitlines() if "of what the dream drew" in line)
    assert said.startswith("Period ")
    assert said == headline((place / "page.html").read_text(encoding="utf-8"))


def test_from_noise_to_an_array(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(5, 4, 3, 2))\n")
    printed(
        "dream",
        "nets.py:net",
        "--size",
        "24",
        "--objective",
        "0:1",
        "--steps",
        "2",
        "--param",
        "plain",
        "--out",
        "a.NPY",
    )
    array = np.load("a.NPY")
    assert (array.shape, float(array.min()) >= 0, float(array.max()) <= 1) == ((5, 24, 24), True, True)


def test_an_animation(place):
    printed("dream", ZOO, "photos/0.png", *FAST, "--octaves", "2", "--gif", "dream.gif")
    with Image.open("dream.gif") as animation:
        assert (animation.n_frames, animation.size) == (4, (32, 32))


def test_an_animation_is_short_and_ends_with_the_picture(place, monkeypatch):
    monkeypatch.setattr(command, "GIF_FRAMES", 3)
    arguments = ("--size", "32", "--objective", "stage2", "--octaves", "1", "--steps", "7")
    printed("dream", ZOO, "photos/0.png", *arguments, "--gif", "dream.gif", "--out", "dream.npy")
    expected = np.load("dream.npy").transpose(1, 2, 0)
    with Image.open("dream.gif") as animation:
        # After steps 3, 6 and 7.
        assert animation.n_frames == 3
        animation.seek(2)
        last = np.array(animation.convert("RGB")) / 255
    frame = np.array(
        dream(load_model(ZOO, size=(32, 32), device="cpu"), "stage2", "photos/0.png", size=(32, 32), steps=1).picture
    )
    assert np.abs(last - expected).mean() < 0.5 * np.abs(frame.transpose(1, 2, 0) - expected).mean()


def test_several_objectives(place):
    printed("dream", ZOO, *FAST, "--objective", "cat", "--objective", "0.1*total-variation")
    assert record()["objective"] == "stage2 + cat + 0.1*total-variation"
    assert record()["dreams"][0]["settings"]["objective"] == "stage2 + cat + 0.1*total-variation"


def test_a_repaired_network(place):
    plain = printed("dream", ZOO, "photos/0.png", *FAST, "--octaves", "1")
    repaired = printed("dream", ZOO, "photos/0.png", *FAST, "--octaves", "1", "--fix", "blurpool")
    assert plain != repaired
    assert record()["fix"] == "blurpool"


def test_a_comparison(place):
    options = ("--size", "64", "--objective", "stage1", "--octaves", "2", "--jitter", "2", "--steps", "1")
    output = printed("dream", ZOO, "photos/0.png", *options, "--compare", "--out", "grid.png", "--fix", "backward-blur")
    titles = (
        *("fixed position", "jitter 2", "2 octaves", "2 octaves, jitter 2", "equalised", "low-pass"),
        "repaired: backward-blur",
    )
    dreams = record("grid.json")["dreams"]
    assert tuple(one["title"] for one in dreams) == titles
    assert all(title in output for title in titles)
    assert {len(one["history"]) for one in dreams} == {2}
    assert [one["settings"]["jitter"] for one in dreams] == [0, 2, 0, 2, 0, 0, 0]
    assert [one["settings"]["compensation"] for one in dreams] == ["none"] * 4 + ["equalise", "low-pass", "none"]
    assert all(one["seconds"] > 0 and set(one["picture"]["energy"]) == {"2"} for one in dreams)
    assert Image.open("grid.png").width > 1200


def test_the_numbers_of_a_figure_are_those_of_the_table(place):
    options = ("--weights", "none", "--size", "64", "--objective", "stage3", "--octaves", "1", "--steps", "5")
    output = printed("dream", ZOO, "photos/0.png", *options, "--jitter", "0", "--figure", "figure.svg")
    assert files_below(place) == {"photos/0.png", "dream.png", "dream.json", "figure.svg"}
    period = re.search(r"E\(([0-9]+)\) of the picture", output)[1]
    energy = Estimate(*record()["dreams"][0]["picture"]["energy"][period])
    assert f"Period {period}, E({period}) = {energy}" in output
    assert f"E({period}) = {energy}" in (place / "figure.svg").read_text(encoding="utf-8")


def test_a_sheet_of_channels(place):
    options = ("--size", "32", "--objective", "stage2:3-5", "--steps", "2", "--seed", "7", "--out", "sheet.png")
    output = printed("dream", ZOO, *options)
    assert files_below(place) == {"photos/0.png", "sheet.png", "sheet.json"}
    written = record("sheet.json")
    assert [one["title"] for one in written["dreams"]] == ["stage2:3", "stage2:4", "stage2:5"]
    assert [one["settings"]["seed"] for one in written["dreams"]] == [7, 8, 9]
    assert "in the fine detail of what the dreams drew." in output
    # Together means that the sums of all, not their energies, are taken.
    model = load_model(ZOO, size=(32, 32), device="cpu")
    pictures = [
        dream(model, f"stage2:{number}", size=(32, 32), steps=2, seed=4 + number).picture for number in (3, 4, 5)
    ]
    expected = checkerboard_energy(torch.stack([fine_detail(picture) for picture in pictures]), 4)
    assert written["together"]["energy"]["4"] == pytest.approx(list(expected.energy[4]), rel=1e-4)


def test_a_sheet_leaves_out_what_is_dead(place):
    (place / "nets.py").write_text(
        "import torch\nfrom torch import nn\ndef net():\n    layer = nn.Conv2d(3, 3, 3, 2)\n"
        "    nn.init.constant_(layer.bias, 1)\n    layer.bias.data[1] = -1e6\n    return nn.Sequential(layer, nn.ReLU())\n"
    )
    options = ("--objective", "1:0-2", "--size", "32", "--steps", "9")
    output = printed("dream", "nets.py:net", *options)
    assert [one["title"] for one in record()["dreams"]] == ["1:0", "1:2"]
    assert "note: the objective '1:1' does not light up" in output


def test_a_sheet_that_is_interrupted_ends_there(place, monkeypatch):
    monkeypatch.setattr(command, "_bar", interrupted_after(2))
    output = printed("dream", ZOO, "--size", "32", "--objective", "stage2:0-3", "--steps", "4")
    assert "stopped at step 2 of 4" in output
    assert [one["title"] for one in record()["dreams"]] == ["stage2:0"]


def interrupted_after(steps):
    """A progress bar at whose so many-th step the user presses Ctrl-C."""

    @contextlib.contextmanager
    def bar():
        def report(done, total, value):
            if done == steps:
                raise KeyboardInterrupt

        yield lambda title: report

    return bar


def test_ctrl_c_saves_what_there_is(place, monkeypatch):
    monkeypatch.setattr(command, "_bar", interrupted_after(3))
    output = printed(
        "dream", ZOO, "photos/0.png", "--size", "32", "--objective", "stage2", "--octaves", "1", "--steps", "9"
    )
    assert "note: stopped at step 3 of 9" in output
    assert files_below(place) >= {"dream.png", "dream.json"}
    assert len(record()["dreams"][0]["history"]) == 3


def test_ctrl_c_ends_a_comparison(place, monkeypatch):
    monkeypatch.setattr(command, "_bar", interrupted_after(2))
    options = (
        "--size",
        "64",
        "--objective",
        "stage1",
        "--octaves",
        "2",
        "--steps",
        "2",
        "--compare",
        "--fix",
        "backward-blur",
    )
    output = printed("dream", ZOO, "photos/0.png", *options)
    assert "stopped at step 2 of 4" in output
    assert [one["title"] for one in record()["dreams"]] == ["fixed position"]
    assert Image.open("dream.png").width > 300


def test_a_large_photograph_is_reduced(place, monkeypatch):
    monkeypatch.setattr(command, "LARGEST_SIDE", 40)
    output = printed("dream", ZOO, "photos/0.png", "--objective", "stage1", "--octaves", "1", "--steps", "1")
    assert "note: 48 x 64 pixels reduced to 40 along the longer side; --size gives others" in output
    assert Image.open("dream.png").size == (40, 30)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--objective", "stage9"), "no layer or label 'stage9'"),
        (("--objective", "stage1:32"), "asks for channel 32 of stage1, but there are 32; give 0 to 31"),
        (("--objective", "layer9:1"), "no layer 'layer9'"),
        (("--objective", "cats"), "nearest: cat"),
        (("--objective", "stage3", "--octaves", "9"), r"9 octaves of scale 1.4 do not fit into 48 x 64"),
        (("--objective", "stage3", "--octave-scale", "1"), "an octave scale of 1"),
        (("--objective", "stage3", "--rate", "0"), "a rate of 0"),
        (("--objective", "stage3", "--out", "dream.jpg"), "'dream.jpg': its name must end in .png or .npy"),
        (("--objective", "stage3", "--gif", "dream.mp4"), "'dream.mp4': its name must end in .gif"),
        (
            ("--objective", "stage3", "--compare", "--out", "a.npy"),
            "'a.npy': its name must end in .png or .pdf or .svg",
        ),
        (("--objective", "stage3", "--compare", "--gif", "a.gif"), "leave it out with --compare"),
        (("--objective", "stage3", "--compare", "--figure", "a.png"), "--figure shows a single dream"),
        (("--objective", "stage3", "--figure", "a.jpg"), "'a.jpg': its name must end in .png or .pdf or .svg"),
        (("--objective", "stage3:0-4", "--html", "a.html"), "leave it out with several channels"),
        (("--objective", "stage3:0-4", "--compare"), "--compare takes one objective"),
        (("--objective", "stage3:4-0"), "the channels 4-0 of stage3; give the lower one first, and at most 64"),
        (("--objective", "stage1:30-32", "--octaves", "1"), "asks for channel 32 of stage1, but there are 32"),
        (("--objective", "stage9:0-1"), "no layer 'stage9'"),
        (("--objective", "stage3", "--compare", "--compensate", "low-pass"), "leave --compensate out"),
        (("--objective", "stage3", "--compare", "--octaves", "9"), "9 octaves of scale 1.4 do not fit into 48 x 64"),
        (("--objective", "stage3", "--octaves", "5000"), "5000 octaves of scale 1.4 do not fit"),
        (("--objective", "stage3", "--out", "photos/0.png/x.png"), "cannot write"),
        (("--objective", "stage3", "--param", "cppn"), "cannot start from a picture"),
        (("--objective", "stage3", "--fix", "l2pool"), "the fix 'l2pool' finds nothing to change"),
        (("--strength", "0"), "a strength of 0.0; give a finite one above 0"),
    ],
)
def test_bad_input(place, options, said):
    message = refused("dream", ZOO, "photos/0.png", *options)
    assert said in message
    assert files_below(place) == {"photos/0.png"}


def test_a_photograph_that_is_not_there(place):
    assert "there is no picture file 'cat.png'" in refused("dream", ZOO, "cat.png", "--objective", "stage1")


def test_channels_that_are_no_colours(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(5, 4, 3, 2))\n")
    assert "5 channels are no colours; give --out NAME.npy" in refused("dream", "nets.py:net", "--objective", "0")


def test_what_is_dead_is_said(place):
    (place / "nets.py").write_text(
        "import torch\nfrom torch import nn\ndef net():\n"
        "    layer = nn.Conv2d(3, 2, 3, 2)\n    nn.init.constant_(layer.bias, -1e6)\n"
        "    return nn.Sequential(layer, nn.ReLU())\n"
    )
    said = refused("dream", "nets.py:net", "--objective", "1:0", "--size", "32", "--steps", "9")
    assert "does not light up: no gradient in the first 8 steps" in said
    assert files_below(place) == {"nets.py"} | {
        name for name in files_below(place) if name.startswith("__pycache__")
    } | {"photos/0.png"}


def test_an_interruption_before_the_first_step_is_one(place, monkeypatch):
    monkeypatch.setattr("featvis.dream.comparison.dream", _pressed)
    result = run("dream", ZOO, *FAST)
    assert result.exit_code == 1
    assert "dream.png" not in files_below(place)


def _pressed(*arguments, **settings):
    raise KeyboardInterrupt


def test_torch_draws_as_before(place):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    printed("dream", ZOO, *FAST)
    assert torch.equal(torch.rand(3), expected)
