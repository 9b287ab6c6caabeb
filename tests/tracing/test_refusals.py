"""What a network raises becomes one line that says what was given; what featvis raises does not."""

import pytest
import torch
from helpers.networks import Function, strided
from helpers.refusals import refusal
from torch import nn

from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine, input_gradient
from featvis.tracing import prepared, trace
from featvis.tracing.refusals import refusals

IMAGES = torch.zeros(2, 3, 5, 7)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("first\nsecond"), ": first"),
        (RuntimeError(), ": RuntimeError"),
        (KeyError("k"), ": KeyError: 'k'"),
        (ValueError("no weights for this"), ": ValueError: no weights for this"),
        (AttributeError("no attribute 'size'"), ": AttributeError: no attribute 'size'"),
        (AssertionError("Wrong image height!"), ": AssertionError: Wrong image height!; check --channels and --size"),
    ],
)
def test_an_error_names_the_shape_and_its_first_line(raised, said):
    with pytest.raises(FeatvisError, match=r"refuses an input of shape \(2, 3, 5, 7\)") as caught, refusals(IMAGES):
        raise raised
    assert str(caught.value).endswith(said)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is raised


REFUSING = {
    "channels": nn.Conv2d(4, 2, 3),
    "small": nn.Conv2d(3, 2, 9),
    "linear": nn.Sequential(nn.Flatten(), nn.Linear(100, 2)),
    "view": Function(lambda x: x.view(-1, 100)),
    "sum": Function(lambda x: x + x.mT),
    "joined": Function(lambda x: torch.cat([x, x[..., :2]], 1)),
    "norm": nn.LayerNorm(9),
    "groups": nn.GroupNorm(3, 6),
    "batch norm": nn.BatchNorm2d(4),
    "dimension": Function(lambda x: x.sum(7)),
    "index": Function(lambda x: x[:, 5]),
    "padding": nn.ReflectionPad2d(9),
    "pooling": nn.MaxPool2d(9),
    "einsum": Function(lambda x: torch.einsum("bcij,dk->bd", x, torch.zeros(2, 2, 2))),
    "dimensions": nn.Conv1d(3, 2, 3),
}


@pytest.mark.parametrize("name", REFUSING)
def test_what_torch_says_of_shapes_gets_the_hint(name):
    said = refusal(input_gradient, REFUSING[name], IMAGES, "seeds")
    assert said.startswith("the network refuses an input of shape (")
    assert said.endswith("; check --channels and --size")


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise ValueError("no way back")


NO_SHAPES = {
    "weights": (Function(lambda x: [][0]), "IndexError: list index"),
    "type": (Function(lambda x: x @ torch.zeros(7, 2, dtype=torch.int)), "same dtype"),
    "backward": (Function(lambda x: Wrong.apply(x).mean((2, 3))), "ValueError: no way back"),
    "in place": (Function(lambda x: (y := x.exp(), y.add_(1))[0].mean((2, 3))), "modified by an inplace operation"),
    "hook": (nn.Sequential(nn.Identity()), "TypeError: a hook of the user"),
}


def fail(*arguments):
    raise TypeError("a hook of the user")


NO_SHAPES["hook"][0][0].register_forward_hook(fail)


@pytest.mark.parametrize("name", NO_SHAPES)
def test_what_the_network_says_of_anything_else_does_not(name):
    network, expected = NO_SHAPES[name]
    said = refusal(input_gradient, network, IMAGES, "seeds")
    assert said.startswith("the network refuses an input of shape (")
    assert expected in said
    assert "--size" not in said


FAULTS = {
    "following": (trace, "follow"),
    "settling": (trace._Recorder, "settle"),
    "entering": (trace._Recorder, "enter"),
    "leaving": (trace._Recorder, "leave"),
    "numbering": (trace._Recorder, "_number"),
    "outputs": (prepared, "output_tensor"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_ours_is_not_the_networks(name, monkeypatch):
    def fault(*arguments, **keywords):
        raise TypeError("planted: wrong size of a shape")

    owner, function = FAULTS[name]
    monkeypatch.setattr(owner, function, fault)
    with pytest.raises(TypeError, match="planted"):
        GradientEngine(strided(), "3:1" if name == "outputs" else "top")(torch.zeros(2, 3, 24, 24))


@pytest.mark.parametrize("raised", [FeatvisError("ours"), KeyboardInterrupt()])
def test_our_own_errors_and_the_users_stop_go_through(raised):
    with pytest.raises(type(raised)) as caught, refusals(IMAGES):
        raise raised
    assert caught.value is raised


def test_what_succeeds_says_nothing():
    with refusals(IMAGES) as nothing:
        assert nothing is None
