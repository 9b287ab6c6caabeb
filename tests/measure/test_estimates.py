"""How a number is written beside its error, everywhere."""

import pytest

from featvis.measure.estimates import Estimate, words


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.05183, 0.00378, "0.0518 ± 0.0038"),
        (-0.05183, 0.00378, "-0.0518 ± 0.0038"),
        (0.38, 0.02, "0.380 ± 0.020"),
        (123.4, 7.0, "123.4 ± 7.0"),
        (4567.8, 123.4, "4568 ± 123"),
        (0.5, 0.00996, "0.500 ± 0.010"),
        (0.5, 0.0994, "0.500 ± 0.099"),
        (-0.00002, 0.001, "0.0000 ± 0.0010"),
        (-0.002, 0.001, "-0.0020 ± 0.0010"),
        (0.12345, None, "0.123"),
        (-1234.5, None, "-1.23e+03"),
        (-0.0, None, "0"),
        (0.5, 0.0, "0.5 ± 0"),
        (0.5, 1e-16, "0.5 ± 0"),
        (-0.0, 0.0, "0 ± 0"),
    ],
)
def test_a_number_has_two_digits_of_its_error(value, error, said):
    assert str(Estimate(value, error)) == f"{Estimate(value, error)}" == words(Estimate(value, error)) == said


def test_an_estimate_fits_a_column():
    assert f"{Estimate(0.5, 0.1):>14}|" == "   0.50 ± 0.10|"


def test_no_estimate_is_a_dash():
    assert words(None) == "-"
