"""What moves elements moves their places alike: held against the derivative of each operation."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from helpers.places import agree, told

from featvis.tracing.steps import Lost, averaged, extended

MOVES = {
    "flip": lambda x: x.flip(3),
    "roll": lambda x: x.roll((1, 3), (2, 3)),
    "slice": lambda x: x[:, :, 1::3],
    "transpose": lambda x: x.transpose(2, 3),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "view": lambda x: x.view(2, 4, 2, 12),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "repeat": lambda x: x.repeat(1, 1, 2, 1),
    "unfold": lambda x: F.unfold(x, 2, stride=2),
    "strided": lambda x: x.as_strided((4, 6), (24, 2), 1),
    "cropped": lambda x: F.pad(x, (-1, -2, -3, 0)),
    "square": lambda x: 2 * x,
}


@pytest.mark.parametrize("name", MOVES)
def test_elements_lie_where_they_come_from(name):
    assert agree(MOVES[name])


def test_a_planted_move_is_found(monkeypatch):
    monkeypatch.setattr("featvis.tracing.following.RULES", {"flip": lambda step: [step.places_of(step.inputs[0])]})
    assert not agree(lambda x: x.flip(3))


def test_what_depends_on_the_values_is_lost():
    with pytest.raises(Lost, match="sort"):
        told(lambda x: x.sort(3).values, (1, 2, 8, 12))


def test_padding_goes_on_as_the_grid_does():
    rows, columns = told(lambda x: F.pad(x, (2, 1, 0, 3)), (1, 1, 4, 4))
    assert columns[0, 0, 0].tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert rows[0, 0, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(2, 1, [1, 4, 7, 10, 14, 18]), (-1, -1, [10]), (0, 0, [7, 10, 14]), (-2, 1, [14, 19])],
)
def test_coordinates_go_on_beyond_their_ends(before, after, expected):
    axis = torch.tensor([7.0, 10.0, 14.0], dtype=torch.float64)
    assert extended(axis, 0, before, after, Fraction(5)).tolist() == expected


def test_a_mean_leaves_out_what_is_not_known():
    axis = torch.tensor([[1.0, float("nan"), 4.0], [float("nan")] * 3], dtype=torch.float64)
    first, second = averaged(lambda values: values.sum(-1), axis, axis.shape).tolist()
    assert first == 2.5
    assert second != second
