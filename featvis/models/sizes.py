"""Sizes that are not known in advance, as expressions of sympy: what of them is arithmetic."""

from __future__ import annotations

import ast
import re

_LONGEST = 2000

_CLASSES = frozenset(
    """
    Add And CeilDiv CeilToInt CleanDiv Eq Equality FloatTrueDiv FloorDiv FloorToInt Ge GreaterThan Gt Identity IntTrueDiv Le LessThan Lt
    Max Min Mod ModularIndexing Mul Ne Not Or PythonMod RoundToInt StrictGreaterThan StrictLessThan ToFloat TruncToInt Unequality Where
    """.split()  # noqa: SIM905 (as many as this are read as text)
)
_POWERS = ("Pow", "PowByNatural")
_ASSUMPTIONS = ("positive", "nonnegative", "integer", "real", "finite", "nonzero", "negative", "zero")
_OPERATIONS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod)
_RELATIONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def is_size(expression: str) -> bool:
    """Whether an expression is arithmetic with numbers and symbols such as s0, which is all that may be handed to sympy.

    sympy evaluates as Python what it is given. Powers are small numbers, and none of a power: others take for ever.
    """
    # Text that Python and sympy read alike; sympy drops line ends and rewrites some signs first.
    if len(expression) > _LONGEST or not re.fullmatch(r"[A-Za-z0-9_()+\-*/%<>=!,.' ]+", expression):
        return False
    try:
        return _is_arithmetic(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_arithmetic(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and abs(value) < 2**63
        case ast.Name(id=name):
            return bool(_is_symbol(name)) or name in ("true", "false")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _is_arithmetic(operand)
        case ast.BinOp(left=left, op=operation, right=right):
            return isinstance(operation, _OPERATIONS) and _is_arithmetic(left) and _is_arithmetic(right)
        case ast.Compare(left=left, ops=[relation], comparators=[right]):
            return isinstance(relation, _RELATIONS) and _is_arithmetic(left) and _is_arithmetic(right)
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))], keywords=assumed):
            return _is_symbol(name) and all(
                given.arg in _ASSUMPTIONS and isinstance(given.value, ast.Constant) and type(given.value.value) is bool
                for given in assumed
            )
        case ast.Call(func=ast.Name(id="Float"), args=[ast.Constant(value=str(digits))], keywords=precision):
            return re.fullmatch(r"-?[0-9.]{1,40}(e[+-]?[0-9]{1,3})?", digits) is not None and all(
                given.arg == "precision" and isinstance(given.value, ast.Constant) and given.value.value == 53
                for given in precision
            )
        case ast.Call(func=ast.Name(id="Integer" | "Rational"), args=parts, keywords=[]):
            return bool(parts) and all(_whole(part) is not None for part in parts)
        case ast.Call(func=ast.Name(id=name), args=[base, exponent], keywords=[]) if name in _POWERS:
            if isinstance(exponent, ast.Call) and ast.unparse(exponent.func) == "Integer" and len(exponent.args) == 1:
                exponent = exponent.args[0]
            power = _whole(exponent)
            nested = any(isinstance(part, ast.Name) and part.id in _POWERS for part in ast.walk(base))
            return power is not None and -8 <= power <= 8 and not nested and _is_arithmetic(base)
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]):
            return name in _CLASSES and all(map(_is_arithmetic, parts))
    return False


def _is_symbol(name: str) -> bool:
    """Such as s0 or u12; torch counts up to a number of the second kind, so that it must be a small one."""
    return re.fullmatch(r"[a-z]{1,3}[0-9]{1,4}", name) is not None


def _whole(node: ast.expr) -> int | None:
    """The number that is written there, with or without a sign."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if type(value) is int:
            return -value
        case ast.Constant(value=value) if type(value) is int and value < 2**63:
            return value
    return None
