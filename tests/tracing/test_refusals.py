"""What a network raises becomes one line that says what was given."""

import pytest
import torch

from featvis.errors import FeatvisError
from featvis.tracing.refusals import refusals

IMAGES = torch.zeros(2, 3, 5, 7)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("first\nsecond"), ": first; check"),
        (RuntimeError(), ": RuntimeError; check"),
        (KeyError("k"), ": KeyError: 'k'; check"),
    ],
)
def test_an_error_names_the_shape_and_its_first_line(raised, said):
    with pytest.raises(FeatvisError, match=r"refuses an input of shape \(2, 3, 5, 7\)") as caught, refusals(IMAGES):
        raise raised
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [FeatvisError("ours"), KeyboardInterrupt()])
def test_our_own_errors_and_the_users_stop_go_through(raised):
    with pytest.raises(type(raised)) as caught, refusals(IMAGES):
        raise raised
    assert caught.value is raised


def test_what_succeeds_says_nothing():
    with refusals(IMAGES) as nothing:
        assert nothing is None
