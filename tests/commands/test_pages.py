"""`--html` of every command that measures, and `report`: a page of its own, with what repeats it."""

import re

import numpy as np
import pytest
from helpers.findings import command_of, headline
from helpers.running import ZOO, files_below, printed, refused, save_pictures

NETS = """
import torch
from torch import nn

def discriminator():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(256, 1))

def generator():
    torch.manual_seed(1)
    return nn.Sequential(nn.ConvTranspose2d(5, 6, 4), nn.ReLU(True), nn.ConvTranspose2d(6, 3, 4, 4), nn.Tanh())
"""

SMALL = ("--size", "32")

STACKS = {
    "compare": "3,2,0,1,0+3,2,0,1,0+3,2,0,1,0",
    "dream": "3,2,0,1,0+3,2,0,1,0",
    "discriminator": "3,2,0,1,0",
    "generator": "4,4,0,1,0",
    "predict": "3,2,0,1,0+3,2,0,1,0+3,2,0,1,0",
}
"""The layers that change the resolution, from the pixels on, as the explorer begins with them."""

COMMANDS = {
    "compare": (ZOO, "photos", *SMALL, "--with", "even-kernel", "--with", "backward-blur", "--compensate", "low-pass"),
    "dream": (
        ZOO,
        "photos/1.png",
        *SMALL,
        "--objective",
        "stage2",
        "--steps",
        "2",
        "--octaves",
        "1",
        "--out",
        "out.png",
    ),
    "discriminator": ("nets.py:discriminator", "--generator", "nets.py:generator", "--samples", "8", "--real", "faces"),
    "generator": ("nets.py:generator", "--samples", "8"),
    "predict": (ZOO, *SMALL),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "photos", 12)
    save_pictures(tmp_path / "faces", 8, (16, 16))
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_a_page(place, name):
    printed(name, *COMMANDS[name], "--html", "pages/page.html")
    page = (place / "pages" / "page.html").read_text(encoding="utf-8")
    assert headline(page).endswith(".")
    assert f'<p class="kind">featvis {name}' in page
    said = command_of(page).split()
    assert said[:3] == ["featvis", name, COMMANDS[name][0]]
    assert {part for part in COMMANDS[name] if part != "32"} <= set(said)
    assert said[-1] != "--html"
    assert f'data-stack="{STACKS[name]}"' in page


@pytest.mark.parametrize("name", ["compare", "dream", "discriminator", "generator", "predict"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(place, name):
    (place / "taken").write_text("")
    assert "taken" in refused(name, *COMMANDS[name], "--html", "taken/page.html")


def test_the_options_that_were_given_twice_are_repeated(place):
    printed("compare", *COMMANDS["compare"], "--html", "page.html")
    said = command_of((place / "page.html").read_text(encoding="utf-8"))
    assert "--with even-kernel --with backward-blur --compensate low-pass" in said


def test_the_page_of_a_comparison_shows_the_pictures_that_were_measured(place):
    """Of those held out for calibration, and of those that cannot be read, none is shown."""
    (place / "photos" / "35.png").write_text("no picture")
    options = ("--calibrate", "2", "--skip-bad", "--html", "page.html")
    printed("compare", ZOO, "photos", *SMALL, "--with", "backward-blur", *options)
    page = (place / "page.html").read_text(encoding="utf-8")
    names = re.findall(r"<option value=\"\d\">([^<]*)</option>", page)
    order = sorted(path.name for path in (place / "photos").iterdir())
    assert names == [name for name in order[2:] if name != "35.png"][:4]


def test_gradients_of_the_page_are_those_of_the_comparison(place):
    import torch

    from featvis.audit.batches import Measured
    from featvis.gradients.engine import GradientEngine
    from featvis.models.specs import load_model
    from featvis.report import Gathered

    model = load_model(ZOO, size=(32, 32), device="cpu")
    paths = [place / "photos" / f"{number}.png" for number in range(3)]
    images = torch.stack([model.load(path)[1] for path in paths])
    gathered = Gathered(model)
    engine = GradientEngine(model)
    expected = engine(model.normalise(images), range(3))
    for first in (0, 2):
        for name in ("original", "twice"):
            part = slice(first, first + 2)
            seen = model.normalise(images[part]), list(range(3))[part], [path.name for path in paths[part]]
            gathered.add(name, Measured(*seen, gradients=(1 + (name == "twice")) * expected[part], engine=engine), 8)
    views = gathered.views()
    assert [view.name for view in views] == ["0.png", "1.png", "2.png"]
    for number, view in enumerate(views):
        assert [version.label for version in view.versions] == ["original", "twice"]
        assert np.allclose(view.versions[1].map, 2 * expected[number].numpy())
        assert np.allclose(view.versions[0].picture, images[number].permute(1, 2, 0).numpy(), atol=1e-5)


def test_dreams_side_by_side_have_a_page(place):
    options = ("--objective", "stage2", "--steps", "1", "--octaves", "2", "--jitter", "2", "--compare")
    printed("dream", ZOO, "photos/1.png", "--size", "48", *options, "--out", "out.png", "--html", "page.html")
    page = (place / "page.html").read_text(encoding="utf-8")
    for title in (
        "photograph",
        "fixed position",
        "jitter 2",
        "2 octaves, jitter 2",
        "equalised",
        "repaired: backward-even",
    ):
        assert f'"label": "{title}"' in page
    assert "photos/1.png" in page


def test_a_dream_of_other_channels_has_a_page(place):
    (place / "nets.py").write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(5, 4, 3, 2))\n")
    options = ("--size", "24", "--objective", "0:1", "--steps", "2", "--param", "plain", "--out", "a.npy")
    printed("dream", "nets.py:net", *options, "--html", "page.html")
    assert 'id="pane-picture"' in (place / "page.html").read_text(encoding="utf-8")


def test_report_tells_by_the_content(place):
    printed("audit", ZOO, "photos", *SMALL, "--skip-bad", "--json", "a.json", "--html", "audit.html")
    printed("compare", ZOO, "photos", *SMALL, "--with", "even-kernel", "--json", "b.json")
    for given, kind in ((["a.json"], "audit"), (["b.json"], "compare"), (["b.json", "a.json"], "audit and comparison")):
        assert printed("report", *given, "--out", "page.html") == "wrote page.html\n"
        page = (place / "page.html").read_text(encoding="utf-8")
        assert f'<p class="kind">featvis {kind}</p>' in page
    assert "equalised" in (place / "audit.html").read_text(encoding="utf-8")
    assert "--skip-bad" in command_of((place / "audit.html").read_text(encoding="utf-8"))
    assert command_of((place / "page.html").read_text(encoding="utf-8")).startswith(
        f"featvis audit {ZOO} PICTURES --size 32x32"
    )
    assert "'a.json' is a second audit" in refused("report", "a.json", "a.json")
    assert "'b.json' is a second comparison" in refused("report", "a.json", "b.json", "b.json")
    assert "cannot read 'none.json'" in refused("report", "none.json")
    for content in ("{}", "[]", "no json", '{"schema": "featvis.discriminator/1"}'):
        (place / "c.json").write_text(content)
        assert "'c.json': schema " in refused("report", "c.json")
    (place / "c.json").write_text('{"schema": "featvis.compare/1"}')
    assert "damaged" in refused("report", "c.json")


def test_joined_comparisons_have_a_page_and_generators_none(place):
    for name, fix in (("a", "even-kernel"), ("b", "blurpool")):
        printed("compare", ZOO, "photos", *SMALL, "--with", fix, "--json", f"{name}.json")
    printed("compare", "a.json", "b.json", "--html", "page.html")
    page = (place / "page.html").read_text(encoding="utf-8")
    assert "even-kernel" in page
    assert "blurpool" in page
    assert "leave out '--html'" in refused("compare", "--generator", "dcgan", "--html", "page.html")
    assert "page.html" in files_below(place)
