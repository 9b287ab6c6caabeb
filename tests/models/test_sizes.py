"""Which expressions are sizes."""

import pytest
import sympy
from helpers.hostile import EXPRESSIONS, call_without_quotes

from featvis.models.sizes import is_size

GOOD = (
    "s0",
    "2*s39",
    "s0 - 1",
    "s0 // 2",
    "Max(1, s0 // 2)",
    "Eq(s0, 3)",
    "s0 <= 3",
    "Symbol('s77', positive=True, integer=True)",
    "Mul(Integer(2), Symbol('s0', positive=True, integer=True))",
    "Add(Mul(Integer(-1), Symbol('u0', integer=True)), Integer(7))",
    "FloorDiv(Add(Symbol('s0'), Integer(-1)), Integer(2))",
    "Mod(Symbol('s0'), Integer(8))",
    "Pow(Symbol('s0', integer=True), Integer(2))",
    "Pow(Symbol('s0'), Integer(-1))",
    "Rational(1, 2)",
    "Float('0.5', precision=53)",
    "StrictLessThan(Symbol('s0'), Integer(9))",
    "true",
)


@pytest.mark.parametrize("expression", GOOD)
def test_arithmetic_is(expression):
    assert is_size(expression)


@pytest.mark.parametrize("expression", [text for text in EXPRESSIONS if isinstance(text, str)])
def test_anything_else_is_not(expression):
    assert not is_size(expression.replace("{open}", call_without_quotes("a")))


def test_what_sympy_writes_is_read():
    """sympy's own writer is the oracle: whatever it gives for sums, products, remainders and comparisons passes."""
    s, t = sympy.symbols("s0 s1", positive=True, integer=True)
    for made in (
        s + t,
        2 * s * t - 3,
        sympy.Max(s, 4),
        s % t,
        sympy.Eq(s, t),
        s < t,
        s**2,
        s / t,
        sympy.And(s < 3, t > 4),
    ):
        assert is_size(sympy.srepr(made)), made
