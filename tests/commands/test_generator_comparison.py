"""`featvis compare --generator` prints, draws and writes what was measured, and refuses the rest in one line."""

import json
from dataclasses import replace

import pytest
from helpers.running import files_below, printed, refused

from featvis.commands.generator_comparison import description, figure_of, verdict
from featvis.gan.upsampling import compare_upsampling
from featvis.measure.estimates import Estimate

SMALL = ("--samples", 8, "--size", 32)


def test_a_row_for_each_variant():
    output = printed("compare", "--generator", "dcgan", "--upsample", "deconv3,icnr-last", *SMALL)
    lines = output.splitlines()
    assert lines[0] == "Before any training: a checkerboard by architecture with deconv3; none with icnr-last."
    assert lines[1] == "dcgan: 8 networks with random weights each, 16 pictures a network"
    rows = [line.split() for line in lines if line.lstrip().startswith(("deconv3", "icnr-last"))]
    assert [row[0] for row in rows] == ["deconv3", "icnr-last"]
    assert "0.2346" in rows[0]
    assert "0.2900" in rows[0]


def test_figure_and_numbers_are_written(tmp_path):
    arguments = ("--out", tmp_path / "out", "--json", tmp_path / "numbers.json", "--seed", 3)
    output = printed("compare", "--generator", "dcgan-plain", "--upsample", "nearest, deconv4", *SMALL, *arguments)
    assert files_below(tmp_path) == {"numbers.json", "out/generators.png", "out/generators.json"}
    content = json.loads((tmp_path / "numbers.json").read_text())
    assert content["settings"]["seed"] == 3
    assert content["settings"]["upsample"] == ["nearest", "deconv4"]
    assert content == json.loads((tmp_path / "out" / "generators.json").read_text())
    assert "generators.png" in output


def test_the_figure_shows_the_numbers():
    comparison = compare_upsampling("dcgan", ["deconv3", "nearest"], 8, (32, 32))
    figure = figure_of(comparison)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    for estimate in (comparison.variants[0].energy[4], comparison.variants[0].signed_comb[4]):
        assert str(estimate).replace(" ± ", "\n± ") in texts


@pytest.mark.parametrize(
    ("energy", "comb", "said"),
    [
        ((0.2, 0.02), (0.4, 0.01), "a checkerboard by architecture with deconv4"),
        ((0.04, 0.02), (0.4, 0.01), "one of its own in each network with deconv4"),
        ((1e-5, 1e-6), (-0.01, 0.001), "none with deconv4"),
    ],
)
def test_verdicts(energy, comb, said):
    comparison = compare_upsampling("dcgan", ["deconv4"], 8, (32, 32))
    (variant,) = comparison.variants
    energies, combs = ({2: Estimate(0.0, 0.1), 4: Estimate(*found)} for found in (energy, comb))
    changed = replace(comparison, variants=(replace(variant, energy=energies, signed_comb=combs),))
    assert verdict(changed) == f"Before any training: {said}."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deconv3", "last two layers: transposed convolution 3x3, stride 2"),
        ("bilinear-last", "last layer alone: bilinear resize, then convolution"),
        ("icnr-smooth4", "last two layers: sub-pixel convolution, ICNR; then a 4x4 layer of stride 1"),
    ],
)
def test_variants_are_described(name, said):
    (variant,) = compare_upsampling("dcgan", [name], 8, (32, 32)).variants
    assert description(variant) == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--generator", "dcgam", "--upsample", "deconv3"), "nearest: dcgan"),
        (("--generator", "dcgan", "--upsample", "deconv5"), "no upsampling 'deconv5'"),
        (("--generator", "dcgan"), "name at least one"),
        (("--generator", "dcgan", "--upsample", "deconv3", "--samples", "2"), "at least 8"),
        (("--generator", "dcgan", "--upsample", "deconv3", "--size", "40"), "multiple of 16"),
    ],
)
def test_bad_input_is_one_line(arguments, said):
    assert said in refused("compare", *arguments)
