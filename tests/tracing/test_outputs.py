"""Which of a network's outputs is taken, and along which dimensions its pictures and classes run."""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from helpers.networks import Function
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.tracing.outputs import channel_axis, taking

Pair = collections.namedtuple("Pair", "features scores")


@dataclass
class Answer:
    features: Tensor
    logits: Tensor


def network(says: Callable[..., Any]) -> nn.Module:
    """A small network that says what the function makes of its features, (B, 8, 6, 6), with two heads of 5 classes at hand."""
    torch.manual_seed(0)

    def forward(x: Tensor, body: nn.Module, head: nn.Module, other: nn.Module, recurrent: nn.Module) -> Any:
        return says(body(x).tanh(), head, other, recurrent)

    parts = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5), nn.Linear(8, 5), nn.LSTM(8, 8)
    return Function(forward, *parts).double()


def mean(features: Tensor) -> Tensor:
    return features.mean((2, 3))


def tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2)


IMAGES = torch.randn(3, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradient(network: nn.Module, score: Callable[[Any], Tensor]) -> Tensor:
    pixels = IMAGES.clone().requires_grad_()
    return torch.autograd.grad(score(network(pixels)).sum(), pixels)[0]


CASES: dict[str, tuple[Callable[..., Any], Callable[[Any], Tensor], str | None]] = {
    "features, logits": (lambda f, h, *_: (mean(f), h(mean(f))), lambda o: o[1][:, 2], "1"),
    "logits, features": (lambda f, h, *_: (h(mean(f)), mean(f)), lambda o: o[0][:, 2], "0"),
    "map, logits": (lambda f, h, *_: [f, h(mean(f))], lambda o: o[1][:, 2], "1"),
    "probabilities, logits": (lambda f, h, *_: (said := h(mean(f)), said.softmax(1))[::-1], lambda o: o[1][:, 2], "1"),
    "logits, probabilities": (lambda f, h, *_: (said := h(mean(f)), said.softmax(1)), lambda o: o[0][:, 2], "0"),
    "embedding, logits": (
        lambda f, h, *_: (nn.functional.normalize(mean(f)), h(mean(f))), lambda o: o[1][:, 2], "1",
    ),
    "two heads": (lambda f, h, g, _: (h(mean(f)), g(mean(f))), lambda o: o[0][:, 2], "0"),
    "a dict": (lambda f, h, *_: {"features": f, "score": h(mean(f))}, lambda o: o["score"][:, 2], "score"),
    "a dict with logits": (lambda f, h, g, _: {"a": g(mean(f)), "logits": h(mean(f))}, lambda o: o["logits"][:, 2], "logits"),
    "a dataclass": (lambda f, h, *_: Answer(f, h(mean(f))), lambda o: o.logits[:, 2], "logits"),
    "a named tuple": (lambda f, h, *_: Pair(mean(f), h(mean(f))), lambda o: o.scores[:, 2], "scores"),
    "a constant beside": (lambda f, h, *_: (torch.ones(3), h(mean(f))), lambda o: o[1][:, 2], "1"),
    "one of a tuple": (lambda f, h, *_: (h(mean(f)), None), lambda o: o[0][:, 2], None),
    "anchors": (lambda f, h, *_: h(tokens(f)), lambda o: o[:, :, 2].mean(1), None),
    "anchors of two levels": (
        lambda f, h, g, _: torch.cat([h(tokens(f)), g(tokens(f[:, :, ::2, ::2]))], 1), lambda o: o[:, :, 2].mean(1), None,
    ),
    "time, pictures": (lambda f, h, *_: h(f.mean(2).permute(2, 0, 1)), lambda o: o[:, :, 2].mean(0), None),
    "pictures, time": (lambda f, h, *_: h(f.mean(2).transpose(1, 2)), lambda o: o[:, :, 2].mean(1), None),
    "one step of time": (lambda f, h, *_: h(mean(f))[None], lambda o: o[0, :, 2], None),
    "a loss beside": (lambda f, h, g, _: (h(mean(f)), g(h(mean(f)) @ g.weight).square().mean()), lambda o: o[0][:, 2], "0"),
    "boxes, scores": (
        lambda f, h, g, _: {"boxes": g(tokens(f)), "scores": h(tokens(f))}, lambda o: o["scores"][:, :, 2].mean(1), "scores",
    ),
    "a map of classes": (lambda f, h, *_: f, lambda o: o[:, 2].mean((1, 2)), None),
    "classes last": (lambda f, h, *_: f.permute(0, 2, 3, 1), lambda o: o[..., 2].mean((1, 2)), None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_class_is_the_one_of_the_output_that_says_it(case: str) -> None:
    says, score, name = CASES[case]
    engine = GradientEngine(network(says), "2")
    assert torch.allclose(engine(IMAGES), gradient(network(says), score), rtol=1e-9, atol=1e-15)
    assert engine.output == name
    several = [note for note in engine.notes if "--output" in note]
    assert len(several) == (name is not None)
    assert name is None or f"; {name} is taken" in several[0]


@pytest.mark.parametrize("case", ["anchors", "time, pictures", "classes last"])
def test_a_mean_over_places_is_said(case: str) -> None:
    engine = GradientEngine(network(CASES[case][0]), "2")
    engine(IMAGES)
    assert any("classes" in note and "is the mean over" in note for note in engine.notes)


def test_each_picture_of_one_step_has_its_own_top_class() -> None:
    one_step = network(CASES["one step of time"][0])
    expected = gradient(one_step, lambda o: o[0].max(1).values)
    assert torch.allclose(GradientEngine(one_step, "top")(IMAGES), expected, rtol=1e-9, atol=1e-15)


def timed(features: Tensor, head: nn.Module, *rest: nn.Module) -> Tensor:
    """Logits of five classes, whose first layer speaks (time, pictures, classes)."""
    return head(features.mean(2).permute(2, 0, 1)).mean(0)


def test_a_layer_may_speak_time_before_pictures() -> None:
    channel = GradientEngine(network(timed), "layers.1:2")
    assert torch.allclose(channel(IMAGES), gradient(network(timed), lambda o: o[:, 2]), rtol=1e-9, atol=1e-15)
    together = GradientEngine(network(timed), "seeds:layers.1")
    alone = torch.cat([together(IMAGES[index : index + 1], [index]) for index in range(len(IMAGES))])
    assert torch.allclose(together(IMAGES), alone, rtol=1e-9, atol=1e-15)


def test_signs_are_refused_where_a_layer_has_no_dimension_of_pictures() -> None:
    cut = network(lambda f, h, *_: h(f.permute(0, 2, 3, 1).reshape(-1, 9, 8)).view(len(f), 4, 9, 5).mean((1, 2)))
    with pytest.raises(FeatvisError, match=r"layers\.1 returns the shape \(4, 9, 5\) for 1 picture, and no dimension"):
        GradientEngine(cut, "seeds:layers.1")(IMAGES)


@pytest.mark.parametrize("score", ["top", "0", "seeds"])
def test_one_number_is_a_score_of_one_picture_alone(score: str) -> None:
    lone = network(lambda f, *_: f.mean())
    expected = gradient(lone, lambda o: o * len(IMAGES))[:1]
    mine = GradientEngine(network(lambda f, *_: f[:1].mean()), "0")(IMAGES[:1])
    assert torch.allclose(mine, expected, rtol=1e-9, atol=1e-15)
    with pytest.raises(FeatvisError, match=r"the shape \(\) for 2 pictures"):
        GradientEngine(lone, score)(IMAGES)


@pytest.mark.parametrize("score", ["2", "layers.1:2"])
def test_channels_that_are_assumed_are_said(score: str) -> None:
    lost = network(lambda f, h, *_: h(torch.fft.fft2(f).abs().permute(0, 2, 3, 1)))
    engine = GradientEngine(lost, score)
    assert torch.allclose(engine(IMAGES), gradient(lost, lambda o: o[:, 2].mean((1, 2))), rtol=1e-9, atol=1e-15)
    assert any("could not be followed" in note and "dimension 1 is taken" in note for note in engine.notes)


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (lambda f, h, g, _: torch.stack([h(mean(f)), g(mean(f))], 1), "which dimension holds the classes"),
        (lambda f, h, *_: h(mean(f)).sum(0), "expected the pictures first"),
        (lambda f, h, *_: [{"boxes": f, "scores": h(mean(f))}], "returned list; expected a tensor"),
        (lambda f, h, *_: "logits", "returned str"),
    ],
)
def test_what_cannot_be_told_is_refused(says: Callable[..., Any], said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        GradientEngine(network(says), "2")(IMAGES)


@pytest.mark.parametrize(
    ("name", "part"),
    [("0", lambda o: o[0]), ("1.far", lambda o: o[1]["far"]), ("1.near.-1", lambda o: o[1]["near"][-1])],
)
def test_an_output_is_chosen_by_name_and_number(name: str, part: Callable[[Any], Tensor]) -> None:
    nested = network(lambda f, h, g, _: (mean(f), {"far": h(mean(f)), "near": [f.sum(), g(mean(f))]}))
    engine = GradientEngine(taking(nested, name), "2")
    assert torch.allclose(engine(IMAGES), gradient(nested, lambda o: part(o)[:, 2]), rtol=1e-9, atol=1e-15)
    assert engine.output is None
    assert isinstance(nested(IMAGES), tuple), "the network itself is as it was"


def test_an_output_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(FeatvisError, match=r"no output 'score'.*scores.*it returns features, scores"):
        GradientEngine(taking(network(CASES["a named tuple"][0]), "score"), "2")(IMAGES)


@pytest.mark.parametrize(
    ("along", "shape", "axis"),
    [
        ({2, 3}, (1, 8, 4, 4), 1),
        ({1, 2}, (1, 4, 4, 8), 3),
        ({1}, (1, 16, 8), 2),
        ({2}, (1, 8, 16), 1),
        ({1}, (1, 16, 1), 2),
        (set(), (1, 8), 1),
        (set(), (1,), 0),
        (set(), (1, 8, 1, 1), 1),
        (set(), (1, 8, 4, 4), 1),
        (set(), (1, 16, 8), None),
        (set(), (1, 4, 8, 8, 8), None),
        ({2}, (1, 4, 16, 8), 1),
    ],
)
def test_channels_run_along_the_dimension_without_places(
    along: set[int], shape: tuple[int, ...], axis: int | None
) -> None:
    assert channel_axis(along, shape) == axis
