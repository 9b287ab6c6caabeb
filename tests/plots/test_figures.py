"""The figures: what they show is right, every text can be read, and nothing is left half-written."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from helpers.figures import HOSTILE, collisions, images, picture, pixels, texts, view
from matplotlib.colors import Normalize
from matplotlib.text import Text

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding, telling_period
from featvis.plots import GradientView, gradient_figure, overlap_figure, save_figure, spectrum
from featvis.plots.gradients import energy_spectrum
from featvis.plots.page import fit_lines, text_width, whole_pixels
from featvis.plots.panels import binned, zoom_window


@pytest.mark.parametrize("suffix", [".PNG", ".svg", ".pdf"])
def test_figures_are_written_in_each_format_and_alike(tmp_path, suffix):
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    contents = []
    for name in ("one", "two"):
        figure = gradient_figure(picture(), [view(4)], "A title", "A caption")
        contents.append(save_figure(figure, tmp_path / f"{name}{suffix}").read_bytes())
    assert contents[0].startswith(starts[suffix.lower()])
    assert contents[0] == contents[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"one{suffix}", f"two{suffix}"]


@pytest.mark.parametrize(
    ("period", "shape", "border", "views"),
    [
        (1, (3, 40, 32), (0, 0), 1),
        (2, (1, 48, 64), (2, 2), 1),
        (3, (3, 33, 45), (0, 0), 1),
        (8, (3, 224, 224), (8, 8), 1),
        (8, (3, 64, 48), (0, 8), 2),
        (32, (3, 299, 299), (32, 32), 2),
        (32, (1, 320, 640), (32, 32), 1),
        (32, (3, 16, 20), (0, 0), 1),
    ],
)
def test_every_text_can_be_read(period, shape, border, views):
    shown = [view(period, shape, f"view {n}", border, seed=n) for n in range(views)]
    figure = gradient_figure(picture(*shape[1:]), shown, "A title of a usual length", "A caption. " * 20)
    assert collisions(figure) == []


def test_the_check_for_collisions_sees_one():
    figure = gradient_figure(picture(), [view(2)], "A title")
    figure.text(0.01, 0.96, "over the title")
    figure.text(0.99, 0.5, "cut at the edge")
    found = collisions(figure)
    assert ("A title", "over the title") in found
    assert "cut at the edge" in found


def test_two_calls_give_the_same_pixels_and_leave_their_input():
    shown = view(4)
    before = shown.gradient.copy()
    first = pixels(gradient_figure(picture(), [shown], "A title"))
    assert np.array_equal(first, pixels(gradient_figure(picture(), [shown], "A title")))
    assert np.array_equal(before, shown.gradient)
    assert not np.array_equal(first, pixels(gradient_figure(picture(), [view(4, seed=1)], "A title")))


def test_signed_maps_have_one_scale_symmetric_around_zero():
    shown = [view(4), view(4, title="a thousand times weaker", seed=1, scale=1e-3)]
    drawn = images(gradient_figure(picture(), shown, "A title"), "RdBu_r")
    maps = [image for image in drawn if np.shape(image.get_array()) != (12, 12)]
    assert len(maps) == 2
    for image in maps:
        assert isinstance(image.norm, Normalize)
        assert image.norm.vmin == -image.norm.vmax
        assert image.norm.vmax == maps[0].norm.vmax
        # Relative to its own root mean square, so a different total scale hides nothing.
        assert np.sqrt((np.asarray(image.get_array()) ** 2).mean()) == pytest.approx(1, abs=0.05)


def test_the_mean_tile_is_that_of_the_energy_three_times_along_each_axis():
    shown = view(4)
    figure = gradient_figure(picture(), [shown], "A title")
    (tile,) = [image for image in images(figure, "RdBu_r") if np.shape(image.get_array()) == (12, 12)]
    energy = (shown.gradient**2).sum(0)
    expected = np.array([[energy[row::4, column::4].mean() for column in range(4)] for row in range(4)])
    assert np.allclose(tile.get_array(), np.tile(expected / expected.mean(), (3, 3)))
    assert float(tile.norm(1.0)) == pytest.approx(0.5)


@pytest.mark.parametrize("period", [(4, 4), (1, 6), (5, 2)])
def test_everything_shows_the_period_that_was_found(period):
    """Whatever the total stride: tile, spectrum and the sentence speak of one period."""
    spoken = period[0] if period[0] == period[1] else period
    finding = Finding(8, spoken, Estimate(0.3, 0.01), {8: Estimate(0.3, 0.01)}, repeats=True)
    shown = replace(view(8), finding=finding, spoken=(0.3, 0.01))
    figure = gradient_figure(picture(), [shown], "A title")
    assert [
        image for image in images(figure, "RdBu_r") if np.shape(image.get_array()) == (3 * period[0], 3 * period[1])
    ]
    words = [text for text, _ in texts(figure)]
    name = str(spoken) if isinstance(spoken, int) else f"{period[0]} x {period[1]}"
    assert f"Mean tile of period {name}" in words
    assert f"period {name}" in words


def test_the_spectrum_of_a_grid_in_the_energy_is_a_point():
    """Signs would hide it: a gradient's own spectrum is flat there."""
    rows = np.arange(96)[:, None]
    energy = np.ones((96, 96)) + 0.5 * np.cos(2 * np.pi * rows / 6)
    power = energy_spectrum(energy)
    row, column = np.unravel_index(power.argmax(), power.shape)
    assert (abs(row - 48), column) == (16, 48)
    assert not energy_spectrum(np.ones((8, 8))).any()


def test_the_headline_gives_the_energy_with_its_error_and_compares():
    even = view(8, title="equalised", seed=1)
    even = GradientView("equalised", even.gradient, np.ones((8, 8)), {8: (0.0003, 0.0005)}, {}, 8)
    half = GradientView("jitter", even.gradient, np.ones((8, 8)), {8: (0.0145, 0.0005)}, {}, 8)
    alone = GradientView("one", even.gradient, np.ones((8, 8)), {8: (0.25, None)}, {}, 8)
    raw = GradientView("raw", even.gradient, view(8).profile, {2: (0.1, 0.01), 8: (0.29, 0.004)}, {3: (0, 0.1)}, 8)
    words = [text for text, _ in texts(gradient_figure(picture(), [raw, even, half, alone], "A title"))]
    assert "E(8) = 0.2900 ± 0.0040" in words
    assert "E(8) = 0.00030 ± 0.00050: not distinguishable from 0 (below 0.0013)" in words
    assert "E(8) = 0.01450 ± 0.00050: 20 times less than raw" in words
    assert "E(8) = 0.25" in words


def test_hostile_text_is_drawn_literally(tmp_path):
    shown = GradientView(HOSTILE, *(getattr(view(4), name) for name in ("gradient", "profile", "energies")), {}, 4)
    figure = gradient_figure(picture(), [shown], HOSTILE, HOSTILE + " \x00\ud800 中")
    drawn = [text for text in figure.findobj(Text) if "$x$" in text.get_text()]
    assert len(drawn) >= 3
    assert not any(text.get_parse_math() for text in drawn)
    assert HOSTILE in [text.get_text() for text in drawn]
    root = ElementTree.parse(save_figure(figure, tmp_path / "hostile.svg")).getroot()
    assert not [element for element in root.iter() if "script" in element.tag]
    save_figure(overlap_figure(np.array([1.0, 2.0]), None, {2: 0.1}, HOSTILE), tmp_path / "hostile.png")


def test_an_unknown_suffix_or_place_is_an_error_and_leaves_nothing(tmp_path):
    figure = overlap_figure(np.array([1.0, 2.0]), None, {2: 1 / 9}, "A title")
    for name in ("figure.gif", "figure"):
        with pytest.raises(FeatvisError, match=r"\.png, \.pdf, \.svg"):
            save_figure(figure, tmp_path / name)
    with pytest.raises(FeatvisError, match="cannot write"):
        save_figure(figure, tmp_path / "nowhere" / "figure.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), RuntimeError("a bug"), KeyboardInterrupt()]
)
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, failure):
    figure = overlap_figure(np.array([1.0, 2.0]), None, {2: 1 / 9}, "A title")
    path = save_figure(figure, tmp_path / "figure.png")
    before = path.read_bytes()

    def half_written(temporary, **settings):
        temporary.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(figure, "savefig", half_written)
    with pytest.raises(FeatvisError if isinstance(failure, OSError) else type(failure)):
        save_figure(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_global_changes_and_nothing_global_matters(tmp_path):
    before = dict(matplotlib.rcParams)
    usual = gradient_figure(picture(), [view(2)], "A title")
    expected = pixels(usual)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "xtick.major.size": 20}):
        assert np.array_equal(pixels(gradient_figure(picture(), [view(2)], "A title")), expected)
        dark = save_figure(usual, tmp_path / "dark.svg")
    assert dict(matplotlib.rcParams) == before
    assert dark.read_bytes() == save_figure(usual, tmp_path / "usual.svg").read_bytes()
    code = "import sys, featvis.plots; sys.exit('matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradient": np.ones((3, 48, 63))}, r"\(3, 48, 63\).*\(C, 48, 64\)"),
        ({"gradient": np.ones((48, 64))}, r"\(C, 48, 64\)"),
        ({"gradient": np.zeros((3, 48, 64))}, "zero"),
        ({"gradient": np.full((3, 48, 64), np.nan)}, "NaN"),
        ({"profile": np.ones((2, 2))}, r"\(4, 4\)"),
        ({"energies": {2: (np.inf, 0.1)}}, "infinity"),
        ({"border": (24, 0)}, "leaves nothing"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    values = {name: getattr(view(4), name) for name in GradientView.__dataclass_fields__} | change
    with pytest.raises(FeatvisError, match=message):
        gradient_figure(picture(), [GradientView(**values)], "A title")


def test_pictures_and_views_that_do_not_fit_are_named():
    with pytest.raises(FeatvisError, match=r"\(48, 64, 4\)"):
        gradient_figure(np.ones((48, 64, 4)), [view(4)], "A title")
    with pytest.raises(FeatvisError, match="at least one"):
        gradient_figure(picture(), [], "A title")
    with pytest.raises(FeatvisError, match="finite"):
        overlap_figure(np.array([1.0, np.nan]), None, {}, "A title")
    with pytest.raises(FeatvisError, match=r"\(L,\) and \(H, W\)"):
        overlap_figure(np.ones((2, 2)), None, {}, "A title")


def test_a_grey_picture_with_one_channel():
    assert collisions(gradient_figure(picture().mean(-1), [view(2, (1, 48, 64))], "")) == []


@pytest.mark.parametrize("size", [1, 8, 24, 600])
def test_overlap_figures(size):
    counts = np.resize([1.0, 4, 3, 5, 2, 5, 3, 4], size)
    energies = {2: 0.2346, 4: 0.29, 8: 0.3277, 16: 0.0}
    figure = overlap_figure(counts, np.outer(counts, counts), energies, "Three layers")
    assert collisions(figure) == []
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == counts[(size - len(bars)) // 2 :][: len(bars)].tolist()
    words = [text for text, _ in texts(figure)]
    assert "0.328" in words
    assert len(figure.axes[1].texts) == (size**2 if size in (1, 8) else 0)
    assert collisions(overlap_figure(counts, None, {}, "Three layers")) == []


def test_a_spectrum_has_mean_one_and_its_peaks_where_they_belong():
    rows, columns = np.mgrid[:24, :32]
    comb = np.cos(2 * np.pi * columns / 4) * np.ones_like(rows)
    power = spectrum(np.stack([comb, 2 * comb]))
    assert power.shape == (24, 32)
    assert power.mean() == pytest.approx(1)
    assert power[12, [16 - 8, 16 + 8]].sum() == pytest.approx(24 * 32)
    assert spectrum(np.random.default_rng(0).standard_normal((3, 16, 16))) == pytest.approx(
        spectrum(5 * np.random.default_rng(0).standard_normal((3, 16, 16)))
    )
    with pytest.raises(FeatvisError, match="zeros"):
        spectrum(np.zeros((1, 8, 8)))


@pytest.mark.parametrize("shape", [(1, 1), (24, 32), (33, 45), (216, 216), (512, 100)])
def test_binning_keeps_even_power_even_and_the_middle_in_the_middle(shape):
    even = binned(np.ones(shape))
    assert np.array_equal(even, np.ones(even.shape))
    assert all(size % 2 == 1 for size in even.shape)
    peak = np.zeros(shape)
    peak[shape[0] // 2, shape[1] // 2] = 1
    assert np.unravel_index(binned(peak).argmax(), even.shape) == tuple(size // 2 for size in even.shape)


def test_maps_have_whole_screen_pixels():
    values = np.arange(20.0).reshape(4, 5)
    drawn, width, height = whole_pixels(values, 256)
    assert np.array_equal(drawn, values)
    assert (width, height) == (255, 204)
    blocks, width, height = whole_pixels(np.kron(values, np.ones((100, 100))), 300)
    assert (width, height) == (250, 200)
    assert np.array_equal(blocks, np.kron(values, np.ones((50, 50))))
    thin, width, height = whole_pixels(np.ones((1000, 1, 3)), 256)
    assert (thin.shape, width, height) == ((250, 1, 3), 1, 250)


def test_the_zoom_holds_the_strongest_block_and_starts_at_a_period():
    energy = np.ones((100, 120))
    energy[61, 83] = 1000
    rows, columns = zoom_window(energy, (slice(8, 92), slice(8, 112)), (4, 4))
    assert rows.start <= 61 < rows.stop
    assert columns.start <= 83 < columns.stop
    assert rows.start % 4 == columns.start % 4 == 0
    assert rows.stop - rows.start == columns.stop - columns.start == 24


def test_lines_fit_their_width():
    for text in ("some words to wrap " * 20, "W" * 300, "", "a"):
        lines = fit_lines(text, 200, 9, most=3)
        assert len(lines) <= 3
        assert all(text_width(line, 9) <= 200 for line in lines)
    assert fit_lines("two words", 500, 9) == ["two words"]


@pytest.mark.parametrize(
    ("energies", "period"),
    [
        ({2: (0.3, 0.01), 4: (0.4, 0.01), 8: (0.1, 0.2)}, 4),
        ({2: (0.1, 0.2), 4: (0.1, 0.2)}, 4),
        ({}, None),
    ],
)
def test_the_headline_is_the_longest_period_above_two_errors(energies, period):
    assert telling_period(energies) == period
