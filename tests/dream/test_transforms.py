"""Transforms: each move against Lucent's or torch's own, their folding against doing them one by one, and jitter that undoes itself."""

import math

import pytest
import torch
import torch.nn.functional as F

from featvis.compat import import_torchvision
from featvis.dream.transforms import Resampling, Rotate, Scale, Shift, resample, roll, standard
from featvis.errors import FeatvisError

import_torchvision()
from lucent.optvis import transform as lucent  # noqa: E402, imports torchvision


def smooth(height=40, width=40, channels=3):
    """Pictures without fine detail, so that one interpolation more or less hardly shows."""
    torch.manual_seed(0)
    return F.interpolate(torch.rand(2, channels, 5, 5), (height, width), mode="bicubic", align_corners=True)


def test_a_shift_moves_whole_pixels_and_leaves_zeros():
    pictures = torch.rand(1, 2, 9, 11, dtype=torch.float64)
    moved = resample(pictures, ((1.0, 0.0, -3.0), (0.0, 1.0, -2.0)), (9, 11))
    expected = torch.zeros_like(pictures)
    expected[..., 2:, 3:] = pictures[..., :-2, :-3]
    assert torch.allclose(moved, expected, atol=1e-12)


def test_shifts_are_drawn_from_all_distances():
    torch.manual_seed(0)
    drawn = {Shift(3).draw((8, 8))[0] for _ in range(200)}
    assert drawn == {((1.0, 0.0, -right), (0.0, 1.0, -down)) for right in range(3) for down in range(3)}


@pytest.mark.parametrize("factor", [0.9, 0.94, 1.0, 1.06, 1.1])
def test_a_scale_is_lucents(factor):
    pictures = smooth()
    expected = lucent.random_scale([factor])(pictures)
    found = Resampling([Scale([factor])])(pictures)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_scale_pads_each_axis_by_its_own():
    # Lucent gives the rows the margin of the columns, and the columns that of the rows.
    assert Scale([0.9]).draw((40, 60))[1] == (40, 60)


@pytest.mark.parametrize("angle", [-10, 4, 10])
def test_a_rotation_is_lucents(angle):
    pictures = smooth()
    expected = lucent.random_rotate([angle])(pictures)
    found = Resampling([Rotate([angle])])(pictures)
    inside = (..., slice(8, -8), slice(8, -8))
    assert (found - expected)[inside].abs().max() < 0.02
    assert (pictures - expected)[inside].abs().max() > 0.05


def test_a_quarter_turn_is_exact():
    pictures = torch.rand(1, 2, 9, 9, dtype=torch.float64)
    assert torch.allclose(Resampling([Rotate([90])])(pictures), pictures.rot90(1, (2, 3)), atol=1e-12)


def test_folding_is_the_same_as_one_after_the_other():
    pictures = smooth(48, 40)
    moves = [Shift(8), Scale([1.08]), Rotate([7]), Shift(4)]
    torch.manual_seed(3)
    folded = Resampling(moves, padding=12)(pictures)
    torch.manual_seed(3)
    stepwise = F.pad(pictures, [12] * 4, value=0.5)
    for move in moves:
        stepwise = Resampling([move])(stepwise)
    assert folded.shape == stepwise.shape
    inside = (..., slice(20, -20), slice(20, -20))
    assert (folded - stepwise)[inside].abs().max() < 0.02
    # Interpolating once keeps more of what is fine.
    assert folded[inside].var() >= stepwise[inside].var()


def test_the_standard_transforms_move_as_lucents_do():
    torch.manual_seed(0)
    transform = standard()
    pictures = torch.full((1, 1, 128, 128), 0.5)
    sizes = {transform.draw((152, 152))[1] for _ in range(100)}
    assert transform(pictures).shape[2:] in sizes
    lucents = {lucent.compose(lucent.standard_transforms)(pictures).shape[2:] for _ in range(100)}
    assert sizes == lucents


def test_padding_is_filled_and_what_lies_outside_is_black():
    shown = Resampling([Rotate([45])], padding=2, fill=0.25)(torch.ones(1, 1, 20, 20))
    assert float(shown[0, 0, 0, 0]) == 0
    assert torch.allclose(Resampling([], padding=2, fill=0.25)(torch.ones(1, 1, 4, 4))[0, 0, 0], torch.full((8,), 0.25))


def test_the_gradient_passes():
    torch.manual_seed(0)
    pictures = torch.rand(1, 1, 7, 8, dtype=torch.float64, requires_grad=True)
    matrix = ((math.cos(0.2), 0.2, 0.3), (-0.2, 1.1, 0.4))
    assert torch.autograd.gradcheck(lambda x: resample(x, matrix, (6, 9)), pictures)


def test_a_move_without_choices_is_refused():
    for move in (Shift(0), Scale([]), Rotate([])):
        with pytest.raises(FeatvisError, match="nothing to choose from"):
            Resampling([move])


def test_rolling_brings_the_gradient_back_to_its_place():
    torch.manual_seed(0)
    pictures = torch.rand(1, 3, 6, 7, requires_grad=True)
    rolled = roll(pictures, 5)
    assert torch.equal(rolled.flatten().sort().values, pictures.flatten().sort().values)
    rolled.square().sum().backward()
    assert torch.allclose(pictures.grad, 2 * pictures)
    assert roll(pictures, 0) is pictures


def test_rolls_reach_both_sides():
    torch.manual_seed(0)
    pictures = torch.arange(25.0).view(1, 1, 5, 5)
    assert len({tuple(roll(pictures, 1).flatten().tolist()) for _ in range(200)}) == 9
