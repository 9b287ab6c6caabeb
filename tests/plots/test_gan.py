"""Figures of adversarial pairs: what they show, in whole pixels, and what they refuse."""

import numpy as np
import pytest

from featvis.errors import FeatvisError
from featvis.plots import save_figure
from featvis.plots.gan import PicturesView, SourceView, discriminator_figure, pictures_figure, sheet

RANDOM = np.random.default_rng(0)

ENERGIES = {2: (0.01, 0.001), 4: (0.02, None)}
CONTROLS = {3: (0.0, 0.001)}


def source(title="noise", channels=3, size=28, **changes):
    view = {
        "title": title,
        "picture": RANDOM.random((size, size, channels)),
        "gradient": RANDOM.normal(size=(channels, size, size)),
        "profile": RANDOM.uniform(0.5, 1.5, (4, 4)),
        "energies": ENERGIES,
        "controls": CONTROLS,
    }
    return SourceView(**{**view, **changes})


def kind(title="trained", count=9, size=32, **changes):
    view = {
        "title": title,
        "pictures": RANDOM.random((count, size, size, 3)),
        "profile": RANDOM.uniform(0.5, 1.5, (8, 8)),
        "energies": ENERGIES,
        "controls": CONTROLS,
        "spectrum": [(n / 32, 1.0 / (n + 1)) for n in range(24)],
    }
    return PicturesView(**{**view, **changes})


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 64), (3, 300)])
def test_a_row_for_each_source(tmp_path, channels, size):
    figure = discriminator_figure(
        [source("real", channels, size), source("noise", channels, size)], "a title", "a caption"
    )
    shown = texts(figure)
    for said in ("a title", "a caption", "real", "noise", "Gradient", "Mean tile", "Checkerboard energy E"):
        assert said in shown
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 10_000


def test_a_row_for_each_kind_of_pictures(tmp_path):
    views = [kind("trained"), kind("random weights", 1), kind("real", 4, 100)]
    figure = pictures_figure(views, "a title")
    shown = texts(figure)
    for said in ("trained", "random weights", "real", "Radial power spectrum", "cycles per pixel"):
        assert said in shown
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_label() == "trained"]
    np.testing.assert_allclose(lines[0].get_ydata(), [1 / (n + 1) for n in range(24)])
    save_figure(figure, tmp_path / "a.png")


def test_maps_are_drawn_in_whole_pixels():
    figure = discriminator_figure([source(size=28)], "t")
    picture = figure.axes[0].get_window_extent()
    assert picture.width == pytest.approx(252)
    assert picture.height == pytest.approx(252)


@pytest.mark.parametrize(
    ("count", "size", "side"),
    [(16, 32, 3), (16, 64, 3), (8, 16, 2), (4, 100, 2), (1, 64, 1), (16, 300, 1), (16, 16, 4)],
)
def test_a_sheet_fills_its_panel(count, size, side):
    pictures = RANDOM.random((count, size, size, 1))
    paper = sheet(pictures)
    assert paper.shape == (side * (size + 2) - 2, side * (size + 2) - 2, 1)
    np.testing.assert_array_equal(paper[:size, :size], pictures[0])
    np.testing.assert_array_equal(paper[-size:, -size:], pictures[side**2 - 1])
    if side > 1:
        assert (paper[size : size + 2] == 1).all()


@pytest.mark.parametrize(
    ("draw", "views", "said"),
    [
        (discriminator_figure, [], "nothing to show"),
        (pictures_figure, [], "nothing to show"),
        (discriminator_figure, [source(gradient=np.full((3, 28, 28), np.nan))], "'noise' holds NaN"),
        (discriminator_figure, [source(energies={2: (float("inf"), None)})], "holds NaN or infinity"),
        (discriminator_figure, [source(gradient=np.zeros((3, 27, 28)))], "a picture"),
        (pictures_figure, [kind(pictures=np.full((1, 8, 8, 3), np.inf))], "holds NaN or infinity"),
    ],
)
def test_bad_views_are_refused(draw, views, said):
    with pytest.raises(FeatvisError, match=said):
        draw(views, "t")
