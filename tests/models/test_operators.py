"""Which operators an exported program may ask for."""

import pytest
import torch
from helpers.hostile import CALLABLES, OPERATORS, TYPED
from helpers.refusals import refusal

from featvis.errors import FeatvisError
from featvis.models.operators import FUNCTIONAL, check_operator


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("torch.ops.aten.relu.default", ["self"]),
        ("torch.ops.aten.relu_.default", ["self"]),
        ("torch.ops.aten.add_.Tensor", ["self", "other"]),
        ("torch.ops.aten.conv2d.padding", ["input", "weight", "padding"]),
        ("torch.ops.aten.native_batch_norm.default", ["input", "running_mean"]),
        ("torch.ops.aten.sym_size.int", ["self", "dim"]),
        ("_operator.floordiv", ["", ""]),
    ],
)
def test_functional_operators_pass(target, arguments):
    check_operator(target, arguments, graphs=False)
    assert "known to have no effects" in refusal(check_operator, target, arguments, graphs=True)


@pytest.mark.parametrize("target", [*(f"torch.ops.{name}" for name in OPERATORS), *CALLABLES, *filter(None, TYPED)])
def test_others_are_named(target):
    if isinstance(target, str):
        said = refusal(check_operator, target, ["self"], graphs=False)
        assert repr(target[:100]) in said


def test_arguments_are_those_of_the_operator():
    check_operator("torch.ops.aten.relu.default", ["self"], graphs=False)
    refusal(check_operator, "torch.ops.aten.relu.default", ["self", "filename"], graphs=False)


def test_graphs_go_where_graphs_are_run():
    check_operator("torch.ops.higher_order.cond", ["", ""], graphs=True)
    refusal(check_operator, "torch.ops.higher_order.map_impl", ["", ""], graphs=True)


def test_what_passes_writes_nowhere():
    """Torch's schemas are the oracle: beside running statistics, nothing that passes is marked as changing what it is given."""
    passed = refused = 0
    for name in FUNCTIONAL:
        known = getattr(torch.ops.aten, name)
        for overload in known.overloads():
            schema = getattr(known, overload)._schema
            try:
                check_operator(
                    f"torch.ops.aten.{name}.{overload}", [taker.name for taker in schema.arguments], graphs=False
                )
            except FeatvisError:
                assert schema.is_mutable
                refused += 1
                continue
            passed += 1
            assert not schema.is_mutable or "batch_norm" in name, (name, overload)
            assert not any(taker.is_out for taker in schema.arguments)
    assert passed > len(FUNCTIONAL)
    assert refused > 100
