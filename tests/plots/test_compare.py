"""The figures of a comparison: every text can be read, scales are common, and what is shown is what was measured."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.figures import HOSTILE, collisions, images, picture, pixels, texts

from featvis.errors import FeatvisError
from featvis.plots.compare import ComparedView, Sketches, comparison_figure, energies_figure, headline, short_name
from featvis.plots.gradients import energy_spectrum
from featvis.plots.page import text_width

LONG = "even-kernel+backward-smooth-maxpool+backward-even+pool-shortcut=a-file-of-weights-with-a-long-name.safetensors"


def view(title, strength=1.0, period=8, change=0.01):
    periods = [p for p in range(2, period + 1) if period % p == 0]
    profile = np.ones((period, period))
    if period > 1:
        profile[0] += strength
        profile /= profile.mean()
    return ComparedView(
        title,
        energies={p: (0.1 * strength + 0.001 * p, 0.004) for p in periods},
        controls=dict.fromkeys((3, 5, 7), (0.0002, 0.0003)),
        profile=profile,
        differences=dict.fromkeys(periods, (0.1 * (strength - 1), change)),
    )


def sketches(names, shape=(3, 64, 64), border=(8, 8), batches=2):
    found = Sketches()
    for batch in range(batches):
        for number, name in enumerate(names):
            gradients = np.random.default_rng(100 * batch + number).standard_normal((2, *shape))
            found.add(name, picture(*shape[1:]), (number + 1) * gradients, border)
    return found


@pytest.mark.parametrize(
    ("names", "period", "total", "shape", "border"),
    [
        (["original"], None, 1, (3, 40, 32), (0, 0)),
        (["original", "blurpool"], 2, 8, (3, 64, 64), (8, 8)),
        (["original", LONG], 8, 8, (1, 48, 64), (0, 8)),
        (["original", "a", LONG, "W" * 90, HOSTILE, "backward-even"], 4, 32, (3, 224, 224), (32, 32)),
        ([f"variant number {number}" for number in range(16)], 2, 2, (3, 48, 48), (2, 2)),
    ],
)
def test_every_text_can_be_read(names, period, total, shape, border):
    views = [view(name, 1 / (number + 1), total) for number, name in enumerate(names)]
    assert collisions(energies_figure(views, period, f"A network: {len(names)} variants")) == []
    if len(names) < 10:
        figure = comparison_figure(sketches(names, shape, border), views, period, "A title", "A caption. " * 20)
        assert collisions(figure) == []


@pytest.mark.parametrize("name", ["", "a", "two words", "W" * 90, LONG, HOSTILE, "a\x00b"])
def test_names_are_cut_after_a_letter(name):
    short = short_name(name, 200, 12)
    assert text_width(short, 12, "bold") <= 200
    assert short.endswith("…") == (len(name) > 25)
    if short.endswith("…"):
        assert name.startswith(short[:-1])
        assert text_width(name[: len(short)] + "…", 12, "bold") > 200


def test_spectra_of_many_decades_leave_room_for_their_labels():
    """A blurred gradient has next to nothing at high frequencies; its colour bar must not need wide numbers."""
    found = sketches(["original"], (3, 96, 96))
    waves = np.fft.fftfreq(96)
    damping = np.exp(-60 * (waves[:, None] ** 2 + waves**2))
    blurred = np.fft.ifft2(np.fft.fft2(found.gradients["original"]) * damping).real
    found.add("blurred", picture(96, 96), blurred[None], (8, 8))
    figure = comparison_figure(found, [view("original"), view("blurred")], 8, "A title")
    assert collisions(figure) == []
    norms = [image.norm for image in images(figure, "viridis") if type(image.norm).__name__ == "LogNorm"]
    assert len(norms) == 2
    assert all(norm.vmax / norm.vmin < 1001 for norm in norms)


def test_a_title_of_any_length_fits():
    assert collisions(energies_figure([view("a")], 8, LONG * 3)) == []


def test_maps_have_common_scales_and_profiles_are_those_of_the_period():
    names = ["original", "weaker"]
    views = [view(name, strength) for name, strength in zip(names, (1.0, 0.1), strict=True)]
    figure = comparison_figure(sketches(names), views, 4, "A title")
    signed = [image for image in images(figure, "RdBu_r") if np.shape(image.get_array()) != (12, 12)]
    assert len(signed) == 2
    assert {(image.norm.vmin, image.norm.vmax) for image in signed} == {(-signed[0].norm.vmax, signed[0].norm.vmax)}
    for image in signed:
        inside = np.asarray(image.get_array())[8:-8, 8:-8]
        assert np.sqrt((inside**2).mean()) == pytest.approx(1)
    profiles = [
        np.asarray(image.get_array()) for image in images(figure, "RdBu_r") if np.shape(image.get_array()) == (12, 12)
    ]
    for shown, its in zip(profiles, views, strict=True):
        corner = [its.profile[row::4, column::4].mean() for row in range(4) for column in range(4)]
        assert np.allclose(shown, np.tile(np.reshape(corner, (4, 4)), (3, 3)))


def test_the_spectrum_is_the_mean_of_all_pictures_inside_the_border():
    found = Sketches()
    gradients = np.random.default_rng(0).standard_normal((3, 2, 21, 23))
    for batch in (gradients[:2], gradients[2:]):
        found.add("a", picture(21, 23), batch, (3, 4))
    mean = np.mean([energy_spectrum((gradient[:, 3:-3, 4:-4] ** 2).sum(0)) for gradient in gradients], axis=0)
    assert found.spectrum("a").shape == mean.shape
    assert np.allclose(found.spectrum("a"), mean)
    assert np.array_equal(found.gradients["a"], gradients[0])


def test_energies_are_drawn_where_they_are():
    views = [view("original"), view("half", 0.5)]
    axes = energies_figure(views, 8, "A title").axes[0]
    drawn = sorted(
        float(line.get_ydata()[0]) for line in axes.lines if line.get_marker() in "os" and len(line.get_ydata()) == 1
    )
    expected = sorted(pair[0] for its in views for pair in [*its.energies.values(), *its.controls.values()])
    assert drawn == pytest.approx(expected)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            replace(view("b"), energies={8: (0.002, 0.004)}, differences={8: (-0.106, 0.01)}),
            "not distinguishable from 0 (below 0.01)",
        ),
        (
            replace(view("b"), energies={8: (0.027, 0.001)}, differences={8: (-0.081, 0.01)}),
            "4 times less than original",
        ),
        (
            replace(view("b"), energies={8: (0.216, 0.001)}, differences={8: (0.108, 0.01)}),
            "2 times more than original",
        ),
        (replace(view("b"), differences={8: (0.001, 0.01)}), "as original, within the paired error"),
        (replace(view("b"), differences={8: (0.0, 0.0)}), "the same as original"),
        (replace(view("b"), differences={8: (0.1, None)}), "E(8) = 0.1080 ± 0.0040"),
        (replace(view("b"), energies={}), "no stride"),
    ],
)
def test_words_say_no_more_than_the_errors_allow(other, said):
    first = view("original")
    assert said in headline(other, first, 8)
    assert headline(first, first, 8) == "E(8) = 0.1080 ± 0.0040"


def test_two_calls_give_the_same_pixels():
    names = ["original", "b"]
    views = [view(name) for name in names]
    once, again = (comparison_figure(sketches(names), views, 8, "A title") for _ in range(2))
    assert np.array_equal(pixels(once), pixels(again))
    assert "original" in [text for text, _ in texts(once)]


def test_what_does_not_fit_is_named():
    with pytest.raises(FeatvisError, match="at least one variant"):
        energies_figure([], 8, "A title")
    with pytest.raises(FeatvisError, match="the variant 'b' holds NaN"):
        energies_figure([view("a"), replace(view("b"), energies={2: (np.nan, 0.1)})], 2, "A title")
    with pytest.raises(FeatvisError, match="no gradient of the variant 'b' to draw"):
        comparison_figure(sketches(["a"]), [view("a"), view("b")], 8, "A title")
    with pytest.raises(FeatvisError, match="no gradient"):
        comparison_figure(Sketches(), [view("a")], 8, "A title")
