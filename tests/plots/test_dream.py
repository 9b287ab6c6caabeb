"""Figures of dreams: every number stands in its cell and can be read, and the animation shows every frame."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.figures import HOSTILE, collisions, images, pixels, texts
from PIL import Image

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.plots import save_figure
from featvis.plots.dream import DreamView, dream_figure, save_animation, sheet_figure
from featvis.plots.palette import SIGNED


def view(title="fixed position", shape=(96, 128), seed=0, period=8, channels=3, **changes):
    drawn = np.random.default_rng(seed)
    tile = 1 + 0.2 * drawn.standard_normal((period, period))
    picture = drawn.random((*shape, 3) if channels == 3 else shape)
    return replace(DreamView(title, picture, period, (0.0120 + seed, 0.0015), tile / tile.mean()), **changes)


TITLES = (
    "fixed position",
    "jitter 32",
    "4 octaves",
    "4 octaves, jitter 32",
    "equalised",
    "low-pass",
    "repaired: backward-even",
)


# One is the narrowest page; two and four stand in twos, others in threes.
@pytest.mark.parametrize(
    ("count", "shape"),
    [(1, (40, 32)), (1, (300, 451)), (2, (300, 400)), (4, (40, 32)), (5, (300, 451)), (7, (96, 128)), (1, (700, 900))],
)
def test_texts_do_not_meet(count, shape):
    views = [view(title, shape, seed) for seed, title in enumerate(TITLES[:count])]
    figure = dream_figure(views, "resnet50, layer3", "weights IMAGENET1K_V2, cat.png")
    assert collisions(figure) == []
    said = [text for text, _ in texts(figure)]
    for seed in range(count):
        assert TITLES[seed] in said
        assert f"E(8) = {Estimate(0.0120 + seed, 0.0015)}" in said


def drawn_tiles(figure):
    return [np.asarray(image.get_array()) for image in images(figure, SIGNED)]


def test_a_cell_shows_its_picture_its_crop_and_its_tile_three_times():
    flat = np.full((96, 128, 3), (0.2, 0.6, 0.4))
    flat[32:64, 44:84] = (0.8, 0.2, 0.2)
    tile = np.array([[0.5, 1.0], [1.0, 1.5]])
    figure = dream_figure([view(picture=flat, tile=tile, period=2), view("other", period=2)], "a")
    shown = pixels(figure)
    colours = shown[:, : shown.shape[1] // 2, :3].reshape(-1, 3)
    # The window fills its place in the picture, three screen pixels for each, less a frame, and all of the crop.
    window, side = 32 * 40, figure.axes[1].get_window_extent().width / 40
    count = (colours == np.rint(np.array([0.8, 0.2, 0.2]) * 255)).all(1).sum()
    assert 0.85 * 9 * window + 0.95 * side**2 * window < count <= (9 + side**2) * window
    first, other = drawn_tiles(figure)
    assert np.array_equal(first, np.tile(tile, (3, 3)))
    assert other.shape == (6, 6)


def test_one_scale_for_all_tiles():
    faint, strong = np.array([[0.99, 1.01]] * 2), np.array([[0.4, 1.6]] * 2)
    figure = dream_figure([view(tile=faint, period=2), view("b", tile=strong, period=2)], "a")
    norms = [(image.norm.vmin, image.norm.vmax) for image in images(figure, SIGNED)]
    assert norms == [(pytest.approx(0.4), pytest.approx(1.6))] * 2
    assert "from 0.40 to 1.60 of it" in " ".join(text for text, _ in texts(figure))


def test_a_grey_picture_without_energies():
    figure = dream_figure([view(channels=1, shape=(20, 24), energy=None, tile=None)], "grey")
    assert collisions(figure) == []
    assert "E is not known" in [text for text, _ in texts(figure)]
    assert drawn_tiles(figure) == []


@pytest.mark.parametrize(("count", "shape"), [(1, (32, 32)), (3, (224, 224)), (16, (128, 128)), (5, (300, 200))])
def test_a_sheet_shows_every_dream_and_the_tile_of_all(count, shape):
    views = [view(f"features.14:{number}", shape, number) for number in range(count)]
    figure = sheet_figure(
        views, "mobilenet_v2, features.14:0-15", "from noise", "E(2) = 0.1", np.array([[0.5, 1.5]] * 2)
    )
    assert collisions(figure) == []
    said = [text for text, _ in texts(figure)]
    assert [title for title in said if title.startswith("features.14:")] == [one.title for one in views]
    assert "E(2) = 0.1" in said
    (tile,) = drawn_tiles(figure)
    assert np.array_equal(tile, np.tile([[0.5, 1.5]] * 2, (3, 3)))
    assert len(figure.axes) == count + 1
    assert len(sheet_figure(views, "x").axes) == count


def test_hostile_text_is_drawn_as_it_is(tmp_path):
    figure = dream_figure([view(HOSTILE[:20])], HOSTILE, HOSTILE)
    assert collisions(figure) == []
    assert any("<script>" in text for text, _ in texts(figure))
    first = save_figure(figure, tmp_path / "a.png").read_bytes()
    again = dream_figure([view(HOSTILE[:20])], HOSTILE, HOSTILE)
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
    with pytest.raises(FeatvisError, match=said):
        sheet_figure(views, "x")


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
