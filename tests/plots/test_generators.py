"""The figure of generators: every text can be read, pictures and numbers are those that were given."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.figures import HOSTILE, collisions, pixels, texts

from featvis.errors import FeatvisError
from featvis.plots.generators import GeneratorView, Value, generator_figure


def view(title="deconv3", size=(64, 64), channels=3, pictures=3, seed=0, period=4):
    drawn = np.random.default_rng(seed)
    profile = 1 + 0.3 * drawn.standard_normal((period, period)).clip(-2, 2)
    values = {
        "E(2)": Value(0.2106, 0.02, 0.2346),
        "E(4)": Value(0.2646 + 0.01 * seed, 0.02, 0.29),
        "own E(4)": Value(0.4, 0.02),
        "S(2)": Value(-0.00041, None),
        "S(4)": Value(0.63, 0.01),
        "E(3)": Value(0.0, 0.0001),
    }
    return GeneratorView(
        title, "last two layers: of some kind", drawn.standard_normal((pictures, channels, *size)), profile, values
    )


@pytest.mark.parametrize(
    ("size", "channels", "pictures", "rows"),
    [((64, 64), 3, 3, 4), ((32, 48), 1, 1, 2), ((512, 256), 3, 2, 1)],
)
def test_every_text_can_be_read(size, channels, pictures, rows):
    views = [view(f"variant {row}", size, channels, pictures, seed=row) for row in range(rows)]
    figure = generator_figure(views, "Pictures of generators", "A caption of several sentences. " * 9)
    assert collisions(figure) == []


def test_hostile_texts_are_drawn_as_they_are():
    figure = generator_figure([replace(view(), title=HOSTILE[:30], description=HOSTILE)], HOSTILE, HOSTILE)
    assert HOSTILE in [text for text, _ in texts(figure)]


def test_numbers_profiles_and_theory_are_shown():
    shown = view()
    said = [text for text, _ in texts(generator_figure([shown], "A title"))]
    for text in ("0.211\n± 0.020", "0.265\n± 0.020", "0.630\n± 0.010", "-0.00041", "own E(4)", "E(3)"):
        assert text in said
    for value in shown.profile.ravel():
        assert f"{value:.2f}" in said
    figure = generator_figure([shown], "A title")
    lines = [line.get_ydata() for axes in figure.axes for line in axes.lines if len(line.get_ydata()) == 2]
    assert [0.2346, 0.2346] in [list(map(float, line)) for line in lines]


def test_pictures_are_relative_to_their_own_contrast():
    shown = view(pictures=2)
    scaled = replace(shown, pictures=shown.pictures * np.array([1, 1000.0])[:, None, None, None])
    assert np.array_equal(*(pixels(generator_figure([one], "A title")) for one in (shown, scaled)))
    assert not np.array_equal(
        *(pixels(generator_figure([one], "A title")) for one in (shown, view(seed=1, pictures=2)))
    )


def test_a_view_without_a_profile_leaves_it_out():
    with_profile, without = (
        generator_figure([replace(view(), profile=profile)], "A title") for profile in (view().profile, None)
    )
    assert without.get_figwidth() < with_profile.get_figwidth()
    assert collisions(without) == []


@pytest.mark.parametrize(
    ("views", "said"),
    [
        ([], "at least one view"),
        ([view(), view(size=(32, 32))], "expected"),
        ([view(channels=2)], "1 or 3"),
        ([view(), replace(view(), values={"E(2)": Value(0, None)})], "other names"),
        ([replace(view(), pictures=np.full((1, 3, 8, 8), np.nan))], "NaN or infinity"),
        ([replace(view(), values={"E(2)": Value(np.inf, None)})], "NaN or infinity"),
    ],
)
def test_bad_input_is_one_line(views, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        generator_figure(views, "A title")
    assert "\n" not in str(caught.value)
