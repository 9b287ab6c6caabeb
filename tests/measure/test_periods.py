import math
from fractions import Fraction

from featvis.measure.periods import control_periods, exact_periods, periods_of


def test_periods_and_controls() -> None:
    assert periods_of(8) == [2, 4, 8]
    assert periods_of(6) == [2, 3, 6]
    assert periods_of(1) == []
    assert control_periods(32) == [3, 5, 7]
    assert control_periods(6) == [5, 7, 11]
    assert control_periods(3) == [2, 5, 7]
    assert all(math.gcd(control, 12) == 1 for control in control_periods(12))


def test_exact_periods_are_any_numbers_and_add_up() -> None:
    cumulative = {2: Fraction(1, 3), 3: Fraction(1, 5), 4: Fraction(1, 2), 6: Fraction(2, 3), 12: Fraction(1)}
    exact = exact_periods(cumulative)
    assert exact == {
        2: Fraction(1, 3),
        3: Fraction(1, 5),
        4: Fraction(1, 6),
        6: Fraction(2, 15),
        12: Fraction(1, 6),
    }
    assert sum(exact.values()) == cumulative[12]
    assert exact_periods({}) == {}


def test_exact_periods_of_unordered_ones_are_ascending() -> None:
    assert list(exact_periods({4: 1.0, 2: 0.5}).items()) == [(2, 0.5), (4, 0.5)]
