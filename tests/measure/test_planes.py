"""What spectra say of each frequency: agreement follows its law where there is nothing, and a line stands where it was planted."""

import math

import pytest
import torch
from helpers.energies import comb, white

from featvis.measure.planes import BORDER, Plane, admitted, measured_length


@pytest.mark.parametrize("length", [8, 31, 32, 64, 96, 224])
def test_what_is_searched_lies_inside_and_holds_many_whole_periods(length):
    first, size = measured_length(length)
    border = min(BORDER, length // 8)
    assert first >= border
    assert first + size <= length - border
    assert 0.8 * (length - 2 * border) - 1 < size


def test_frequencies_of_half_the_plane_are_admitted_once():
    height, width = 24, 30
    found = admitted(height, width)
    for row in range(height):
        for column in range(width):
            mirrored = -row % height, -column % width
            if (row, column) != mirrored:
                assert not (found[row, column] and found[mirrored])
    assert not found[0, 0]
    assert not found[1, 0]  # one period in the whole axis
    assert found[4, 0]


def test_nothing_is_as_surprising_as_its_law_allows():
    plane = Plane.of(white(32, 96, 96))
    shared = plane.shared[admitted(*plane.size)]
    for surprise in (2.0, 4.0, 6.0):
        assert float((shared > surprise).double().mean()) <= 1.5 * math.exp(-surprise)


def test_a_line_stands_at_the_frequency_that_was_planted():
    plane = Plane.of(comb(112, 112, 4, 1, 0.5))
    height, width = plane.size
    found = torch.where(admitted(height, width), plane.surprise, 0).argmax()
    row, column = divmod(int(found), width)
    assert (min(row, height - row) / height, column) == (0.25, 0)


def test_a_planes_power_is_the_plain_sums_fourier_transform():
    maps = white(9, 64, 80)
    (top, height), (left, width) = measured_length(64), measured_length(80)
    inner = maps[:, top : top + height, left : left + width].double()
    taper = torch.outer(*(torch.hann_window(size, dtype=torch.float64) for size in (height, width)))
    inner = inner / inner.mean((1, 2), keepdim=True)
    level = (inner * taper).sum((1, 2), keepdim=True) / taper.sum()
    row, column = 5, 7
    waves = torch.outer(
        torch.polar(torch.ones(height).double(), -2 * math.pi * row * torch.arange(height).double() / height),
        torch.polar(torch.ones(width).double(), -2 * math.pi * column * torch.arange(width).double() / width),
    )
    coefficients = ((inner - level) * taper * waves).sum((1, 2)) / taper.sum()
    plane = Plane.of(maps)
    assert float(plane.power[row, column]) == pytest.approx(float(coefficients.sum().abs().square()), rel=1e-9)
    assert float(plane.own[row, column]) == pytest.approx(float(coefficients.abs().square().sum()), rel=1e-9)


def test_too_few_or_too_small_maps_have_no_plane():
    assert Plane.of(white(2, 16, 16)) is None
    assert Plane.of(white(32, 6, 6)) is None
