"""Figures of dreams: every number stands in its cell and can be read, and the animation shows every frame."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.figures import HOSTILE, collisions, pixels, texts
from PIL import Image

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.plots import save_figure
from featvis.plots.dream import DreamView, dream_figure, save_animation


def view(title="fixed position", shape=(96, 128), seed=0, total_stride=32, channels=3, **changes):
    drawn = np.random.default_rng(seed)
    periods = [period for period in range(2, total_stride + 1) if total_stride % period == 0]
    picture = drawn.random((*shape, 3) if channels == 3 else shape)
    detail = drawn.standard_normal((channels, *shape))
    energies = {period: (0.01 * period + 0.0001 * seed, 0.0042) for period in periods}
    plain = DreamView(
        title=title,
        picture=picture,
        detail=detail,
        gradient_energies=energies,
        picture_energies={**energies, 2: (-0.00004, None)},
        objective=12.3456 + seed,
        seconds=7.89,
        signed_comb=0.123,
        notes=("a note that is about this dream alone",),
    )
    return replace(plain, **changes)


TITLES = (
    "fixed position",
    "jitter 32",
    "4 octaves",
    "4 octaves, jitter 32",
    "equalised",
    "low-pass",
    "repaired: backward-even",
)


# One is the narrowest page; five make a second row.
@pytest.mark.parametrize(
    ("count", "shape"), [(1, (40, 32)), (1, (300, 451)), (5, (40, 32)), (5, (300, 451)), (7, (96, 128))]
)
def test_texts_do_not_meet(count, shape):
    views = [view(title, shape, seed) for seed, title in enumerate(TITLES[:count])]
    figure = dream_figure(views, "resnet50, layer3", "weights IMAGENET1K_V2, cat.png")
    assert collisions(figure) == []
    said = [text for text, _ in texts(figure)]
    for seed in range(count):
        assert TITLES[seed] in said
        assert f"objective {12.3456 + seed:.4g}, 7.9 s" in said
        assert str(Estimate(0.32 + 0.0001 * seed, 0.0042)) in said
    assert said.count("-4e-05") == count
    assert said.count("signed comb S of the picture 0.123") == count


def test_a_cell_shows_its_picture_and_its_detail():
    detail = np.zeros((3, 96, 128))
    detail[:, ::2, ::2] = 1
    flat = np.full((96, 128, 3), (0.2, 0.6, 0.4))
    first = dream_figure([view(), view("other")], "a")
    second = dream_figure([view(picture=flat, detail=detail), view("other")], "a")
    before, after = pixels(first), pixels(second)
    half = before.shape[1] // 2
    assert np.array_equal(before[:, half:], after[:, half:])
    colours = after[:, :half, :3].reshape(-1, 3)
    assert (colours == np.rint(np.array([0.2, 0.6, 0.4]) * 255)).all(1).sum() > 0.8 * 2**2 * 96 * 128
    # The detail's comb: pixels above their surroundings are red, and a quarter of all.
    red = (colours[:, 0] > 150) & (colours[:, 2] < 80)
    assert 0.2 < red.sum() / (32 * 48 * 6**2) < 0.3


def test_a_grey_picture_and_missing_energies():
    bare = view(channels=1, shape=(20, 24), signed_comb=None, gradient_energies={4: (0.1, None)}, picture_energies={})
    figure = dream_figure([bare], "grey")
    assert collisions(figure) == []
    assert [text for text, _ in texts(figure)][-4:] == [
        "0.1",
        "-",
        "signed comb S of the picture -",
        "a note that is about this dream alone",
    ]


def test_hostile_text_is_drawn_as_it_is(tmp_path):
    figure = dream_figure([view(HOSTILE[:20], notes=(HOSTILE,))], HOSTILE, HOSTILE)
    assert collisions(figure) == []
    assert any("<script>" in text for text, _ in texts(figure))
    first = save_figure(figure, tmp_path / "a.png").read_bytes()
    again = dream_figure([view(HOSTILE[:20], notes=(HOSTILE,))], HOSTILE, HOSTILE)
    assert save_figure(again, tmp_path / "b.png").read_bytes() == first


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ([], "shows at least one"),
        ([view(), view("b", (64, 64))], r"the dream 'b' has shape \(64, 64, 3\).*the first one has \(96, 128, 3\)"),
    ],
)
def test_what_cannot_be_drawn(views, said):
    with pytest.raises(FeatvisError, match=said):
        dream_figure(views, "x")


def test_an_animation_shows_every_frame(tmp_path):
    levels = (0.0, 0.25, 0.5, 1.0)
    frames = [np.full((8 + 4 * number, 10 + 4 * number, 3), level) for number, level in enumerate(levels)]
    path = save_animation(frames, tmp_path / "dream.gif")
    with Image.open(path) as saved:
        assert (saved.n_frames, saved.size, saved.info["loop"]) == (4, (22, 20), 0)
        for number, level in enumerate(levels):
            saved.seek(number)
            assert np.array(saved.convert("L")).mean() == pytest.approx(255 * level, abs=1)
            assert saved.info["duration"] == (100 if number < 3 else 1000)
    assert {file.name for file in tmp_path.iterdir()} == {"dream.gif"}
    grey = save_animation([np.random.default_rng(0).random((9, 9))], tmp_path / "grey.gif")
    assert Image.open(grey).size == (9, 9)


@pytest.mark.parametrize(
    ("frames", "name", "said"),
    [([], "a.gif", "at least one frame"), ([np.zeros((2, 2))], "a.png", "'a.png'; give a name that ends in .gif")],
)
def test_what_is_no_animation(frames, name, said, tmp_path):
    with pytest.raises(FeatvisError, match=said):
        save_animation(frames, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
