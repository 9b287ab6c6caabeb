"""Places are followed through every kind of operation: each network of the bestiary has its period by axis, or is said to be unknown."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from helpers.bestiary import BESTIARY, UNKNOWN, built
from helpers.networks import Function
from torch import nn

from featvis.tracing.grids import Grid
from featvis.tracing.layer_table import explaining_layers
from featvis.tracing.places import Place, merged, recurrence, repetition
from featvis.tracing.trace import trace
from featvis.tracing.traced import TracedPeriods


def test_the_bestiary_is_large():
    assert len(BESTIARY) >= 120


@pytest.mark.parametrize("name", BESTIARY)
def test_the_period_of_each_network_is_traced(name):
    beast = BESTIARY[name]
    traced = trace(built(beast), torch.randn(1, *beast.shape)).periods()
    if beast.expected == UNKNOWN:
        assert traced.lost
        assert traced.period is None
    elif beast.period is None:
        assert traced.drifting
        assert traced.period is None
    else:
        assert (traced.period, traced.lost) == (beast.expected, ())


@pytest.mark.parametrize(
    ("places", "distance"),
    [
        ([0, 2, 4, 6, 8], 2),
        ([8, 0, 4, 2, 6, 6, 6], 2),
        ([1, 2, 5, 6, 9, 10, 13, 14], 4),
        ([0, 2.5, 5, 7.5, 10], Fraction(5, 2)),
        ([0.7, 2, 4, 6, 8, 10, 12, 13.1], 2),
        ([3], 0),
        ([float("nan"), 4, float("nan")], 0),
        ([0, 1, 3, 7, 15, 31, 63, 127], None),
    ],
)
def test_the_distance_after_which_places_repeat(places, distance):
    assert repetition(torch.tensor(places, dtype=torch.float64)) == distance


@pytest.mark.parametrize(
    ("places", "distance"),
    [
        ([0, 0, 4, 4, 8, 8, 12, 12], 4),
        ([1, 2, 5, 6, 9, 10, 13, 14], 4),
        ([3, 3, 3, 3, 7, 11, 15, 15, 15, 15, 15, 15], 12),
        ([8, 0, 4, 2, 6, 6, 6], None),
        ([1, 5, 1, 5, 1, 5], None),
        ([0, 1, 3, 7, 9, 10], None),
    ],
)
def test_the_distance_by_which_places_in_order_grow(places, distance):
    """Of two windows whose means a convolution smooths, in thirds of their distance, too."""
    assert recurrence(torch.tensor(places, dtype=torch.float64)) == distance


def test_an_elements_place_and_that_of_its_window_are_told_apart():
    pixels = Place.of_pixels((1, 3, 8, 8))
    means = [axis.unflatten(d, (-1, 4)).mean(d + 1) for d, axis in zip((2, 3), pixels.axes, strict=True)]
    windows = pixels.with_axes(mean.repeat_interleave(4, d) for d, mean in zip((2, 3), means, strict=True))
    both = merged([windows, pixels, windows])
    assert [place.strides for place in both] == [(1, 1), (4, 4)]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_patches_of_a_resized_picture_drift(mode):
    """Of 60 pixels as 56 a patch of 4 is 4.29 wide; bicubic weights displace its mean, which leaves it where it is."""
    patches = nn.Conv2d(3, 8, 4, 4)
    network = Function(lambda x, layer: layer(F.interpolate(x, (56, 56), mode=mode)).mean((2, 3)), patches)
    traced = trace(network, torch.randn(1, 3, 60, 60)).periods()
    assert traced.drifting == (Fraction(30, 7),)
    assert traced.period is None


@pytest.mark.parametrize(("stride", "drifts"), [(Fraction(5823, 182), False), (Fraction(895, 28), True)])
def test_a_grid_that_hardly_moves_over_the_picture_repeats(stride, drifts):
    """Of seven windows of 32 pixels the last lies .04 of a pixel off, or .25."""
    traced = TracedPeriods.of([], (224, 224), Grid((stride, stride), (7, 7), (2, 3)))
    assert bool(traced.drifting) == drifts
    assert traced.strides == ((1, 1) if drifts else (32, 32))


def test_means_over_windows_that_padding_cuts_off_show_no_ratio():
    """As of 7 x 7 windows over a map of 7 x 7."""
    means = torch.tensor([12.0, 33.5473, 64.0055, 96.0, 127.9945, 159.989, 190.7545])
    assert repetition(means) is None


def test_means_of_far_pixels_are_not_taken_for_an_elements_own_place():
    """They lie close together, at more different places than there are pixels where channels are mixed differently."""
    beast = BESTIARY["mixed across windows"]
    record = trace(built(beast), torch.randn(1, *beast.shape))
    assert record.total_stride() == 16
    pixels = Place.of_pixels((1, 2, 8, 8))
    by_channel = torch.tensor([0.1, 0.2], dtype=torch.float64).view(1, 2, 1, 1)
    mixed = pixels.with_axes(3 + axis * by_channel for axis in pixels.axes)
    assert merged([mixed, pixels]) == (pixels, mixed)


def test_what_cannot_be_followed_is_named_with_its_layer():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.flatten(2).sort(2).values.view_as(x)

    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), Sorted(), nn.Conv2d(4, 4, 3, 2))
    traced = trace(network, torch.randn(1, 3, 32, 32)).periods()
    assert traced.lost == ("sort in 1",)
    assert traced.period is None
    assert traced.strides == (2, 2)


def test_layers_that_a_period_needs():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, (2, 1)))
    record = trace(network, torch.randn(1, 3, 64, 64))
    assert record.periods().period == (8, 4)
    assert explaining_layers(record, (2, 2)) == ("0",)
    assert explaining_layers(record, (4, 4)) == ("2",)
    assert explaining_layers(record, (4, 1)) == ("2",)
    assert explaining_layers(record, (8, 1)) == ("3",)
    assert explaining_layers(record, (8, 8)) == ()
    assert explaining_layers(record, (3, 3)) == ()


def test_a_shortcut_beside_a_layer_explains_as_much():
    network = Function(lambda x, body: body(x) + x[:, :, ::2, ::2], nn.Conv2d(3, 3, 3, 2, 1))
    assert explaining_layers(trace(network, torch.randn(1, 3, 32, 32)), (2, 2)) == (
        "layers.0",
        "(slice) of the network itself",
    )
