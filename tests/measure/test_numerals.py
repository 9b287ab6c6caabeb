"""Numbers are written to the digits that their errors allow."""

import pytest

from featvis.measure.numerals import number_words


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.12345, 0.0021, "0.123 ± 0.002"),
        (-0.12345, 0.0021, "−0.123 ± 0.002"),
        (123.4, 7.0, "123 ± 7"),
        (0.12345, None, "0.123"),
        (-1234.5, None, "−1.23e+03"),
        (0.5, 0.0, "0.5"),
        (0.5, 1e-12, "0.50000000 ± 0.00000000"),
    ],
)
def test_a_number_has_as_many_digits_as_its_error_allows(value, error, said):
    assert number_words(value, error) == said
