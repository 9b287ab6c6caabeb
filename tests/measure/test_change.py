"""Before and after in words: no more than the errors allow."""

import pytest

from featvis.measure.change import Change, least
from featvis.measure.estimates import Estimate

FIRST = Change("first", Estimate(0.2, 0.01))


@pytest.mark.parametrize(
    ("energy", "difference", "said"),
    [
        ((0.05, 0.001), (-0.15, 0.01), "4 times less than first"),
        ((0.4, 0.01), (0.2, 0.01), "2 times more than first"),
        ((0.001, 0.0001), (-0.199, 0.01), "200 times less than first"),
        ((0.001, 0.01), (-0.199, 0.01), "not distinguishable from 0 (below 0.021)"),
        ((0.19, 0.01), (-0.01, 0.01), "as first, within the paired error"),
        ((0.2, 0.01), (0.0, 0.0), "the same as first"),
        ((0.4, 0.01), (0.2, None), ""),
        ((0.05, 0.001), None, "4 times less than first"),
        ((0.19, 0.001), None, "about as uneven as first"),
        ((0.001, 0.01), None, "not distinguishable from 0 (below 0.021)"),
        ((0.05, None), None, ""),
    ],
)
def test_beside_the_first(energy, difference, said):
    change = Change("other", Estimate(*energy), difference and Estimate(*difference))
    assert change.beside(FIRST) == said


def test_a_first_without_a_checkerboard_gives_no_ratio():
    even = Change("even", Estimate(-0.001, 0.01))
    assert Change("other", Estimate(0.2, 0.01), Estimate(0.201, 0.01)).beside(even) == "more than even"
    assert Change("other", Estimate(0.2, 0.01)).beside(even) == ""


def test_the_least_is_below_the_first_beyond_the_paired_error():
    clear = Change("clear", Estimate(0.1, 0.01), Estimate(-0.1, 0.02))
    doubtful = Change("doubtful", Estimate(0.05, 0.01), Estimate(-0.15, 0.1))
    unknown = Change("unknown", Estimate(0.01, 0.01))
    assert least([doubtful, unknown, clear]) is clear
    assert least([doubtful, unknown]) is None
    assert clear.leaves() == "; clear leaves 0.100 ± 0.010, weak"
