"""Objectives: each of Lucent's gives the same value in both engines, ours are what they say, and a text names the one that is meant."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from helpers.networks import fingerprint
from torch import nn

from featvis.compat import import_torchvision
from featvis.dream.activations import Activations
from featvis.dream.objectives import (
    blur,
    blurred,
    channel,
    class_logit,
    direction,
    neuron,
    parse_objective,
    total_variation,
    whole_layer,
)
from featvis.errors import FeatvisError
from featvis.models.model import Model

import_torchvision()
from lucent.optvis import objectives as lucent  # noqa: E402, imports torchvision
from lucent.optvis.render import hook_model  # noqa: E402

LABELS = ("tabby", "black-and-tan coonhound", "jack-o'-lantern", "stage", "goldfish")


@pytest.fixture
def network():
    """Layers stage.conv, stage.norm, deep.conv and head, whose names have dots."""
    torch.manual_seed(0)
    stage = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 6, 3, 2, 1), norm=nn.BatchNorm2d(6), act=nn.ReLU()))
    deep = nn.Sequential(OrderedDict(conv=nn.Conv2d(6, 8, 3, 2, 1), act=nn.Tanh(), pool=nn.AdaptiveAvgPool2d(1)))
    whole = nn.Sequential(OrderedDict(stage=stage, deep=deep, flat=nn.Flatten(), head=nn.Linear(8, 5)))
    return whole.eval().double()


@pytest.fixture
def model(network):
    return Model(network, "test", (3, 16, 20), labels=LABELS)


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def in_lucent(network, objective, images):
    """Value and gradient by Lucent's own hooks, on a network that is thrown away."""
    pixels = images.clone().requires_grad_()
    activations = hook_model(network, lambda: pixels)
    network(pixels)
    value = objective(activations)
    (gradient,) = torch.autograd.grad(value, pixels)
    return value.detach(), gradient


def vector(count, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_featvis(network, objective, images, prepare=False):
    """Value and gradient by featvis's forward pass."""
    pixels = images.clone().requires_grad_()
    value = Activations(network, objective, images, images, prepare)(pixels, pixels)
    (gradient,) = torch.autograd.grad(value, pixels)
    return value.detach(), gradient


# Lucent's own objectives, in both engines.

LUCENTS = {
    "neuron": [lambda o: o.neuron("deep_conv", 3), lambda o: o.neuron("stage_conv", 1, x=2, y=3, batch=1)],
    "channel": [
        lambda o: o.channel("deep_conv", 3),
        lambda o: o.channel("labels", 2),
        lambda o: o.channel("stage", 0, batch=2),
    ],
    "neuron_weight": [
        lambda o: o.neuron_weight("deep_conv", vector(8), batch=0),
        lambda o: o.neuron_weight("stage_norm", None, x=1, y=1),
    ],
    "channel_weight": [lambda o: o.channel_weight("stage_conv", vector(6))],
    "localgroup_weight": [
        lambda o: o.localgroup_weight("stage_conv", vector(6), x=1, y=2, wx=3, wy=2),
        lambda o: o.localgroup_weight("deep_conv", x=0, y=0, wx=2, wy=2),
    ],
    "direction": [lambda o: o.direction("deep_conv", vector(8))],
    "direction_neuron": [lambda o: o.direction_neuron("deep_conv", vector(8), x=1, y=0)],
    "blur_input_each_step": [lambda o: o.blur_input_each_step()],
    "channel_interpolate": [lambda o: o.channel_interpolate("stage_conv", 1, "deep_conv", 2)],
    "alignment": [lambda o: o.alignment("deep_conv"), lambda o: o.alignment("stage", decay_ratio=3)],
    "diversity": [lambda o: o.diversity("deep_conv")],
    "as_objective": [lambda o: o.as_objective("deep_conv:5"), lambda o: o.as_objective(o.neuron("deep_conv", 0))],
    "Objective": [
        lambda o: o.channel("deep_conv", 3) - 0.5 * o.diversity("stage") + 2,
        lambda o: -o.Objective.sum([o.channel("head", 1), o.neuron("stage_conv", 2)]) / 3,
    ],
}

CASES = [(name, number) for name, makers in LUCENTS.items() for number in range(len(makers))]


def test_every_objective_of_lucent_is_among_the_cases():
    tools = {"wrap_objective", "handle_batch"}
    public = {
        name
        for name, value in vars(lucent).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == lucent.__name__
    }
    assert public - tools == set(LUCENTS)


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize(("name", "number"), CASES)
def test_lucents_objectives_are_the_same_in_both_engines(name, number, prepare, network, images):
    # This one blurs in float32, whatever the picture is.
    single = name == "blur_input_each_step"
    if single:
        network, images = network.float(), images.float()
    objective = LUCENTS[name][number](lucent)
    before = fingerprint(network)
    value, gradient = in_featvis(network, objective, images, prepare)
    assert fingerprint(network) == before
    expected, its_gradient = in_lucent(network, objective, images)
    near = {"rtol": 1e-5, "atol": 1e-6} if single else {"rtol": 1e-9, "atol": 1e-14}
    torch.testing.assert_close(value, expected, **near)
    torch.testing.assert_close(gradient, its_gradient, **near)
    assert float(its_gradient.abs().max()) > 1e-6


def test_planted_faults_are_found(network, images):
    """Another layer, another channel or another picture would not pass for the same."""
    value, _ = in_lucent(network, lucent.channel("deep_conv", 3), images)
    for objective, pictures in (
        (lucent.channel("deep_act", 3), images),
        (lucent.channel("deep_conv", 4), images),
        (lucent.channel("deep_conv", 3), images.flip(3)),
    ):
        assert not torch.allclose(in_featvis(network, objective, pictures)[0], value, rtol=1e-6)


# What a text means, and what ours compute: oracles written out.


def by_hand(network, images):
    """Activations by name, from plain calls in order."""
    known = {"input": images}
    features = images
    for name, part in (("stage", network.stage), ("deep", network.deep)):
        for inner, layer in part.named_children():
            features = layer(features)
            known[f"{name}_{inner}"] = features
        known[name] = features
    known["labels"] = known["head"] = network.head(features.flatten(1))
    return known


MEANINGS = {
    "stage.conv": lambda t: -t["stage_conv"].pow(2).mean(),
    "stage_conv": lambda t: -t["stage_conv"].pow(2).mean(),
    "stage": lambda t: -t["stage"].pow(2).mean(),
    "deep.conv:7": lambda t: -t["deep_conv"][:, 7].mean(),
    "deep_conv:0": lambda t: -t["deep_conv"][:, 0].mean(),
    "head:2": lambda t: -t["head"][:, 2].mean(),
    "2": lambda t: -t["labels"][:, 2].mean(),
    "class:2": lambda t: -t["labels"][:, 2].mean(),
    "tabby": lambda t: -t["labels"][:, 0].mean(),
    "TABBY": lambda t: -t["labels"][:, 0].mean(),
    "black-and-tan coonhound": lambda t: -t["labels"][:, 1].mean(),
    "class:jack-o'-lantern": lambda t: -t["labels"][:, 2].mean(),
    "class:stage": lambda t: -t["labels"][:, 3].mean(),
    "neuron:deep.conv:3": lambda t: -t["deep_conv"][:, 3, 2, 2].mean(),
    "neuron:stage.conv:3": lambda t: -t["stage_conv"][:, 3, 4, 5].mean(),
    "neuron:stage.conv:3:7,9": lambda t: -t["stage_conv"][:, 3, 7, 9].mean(),
    "direction:head:1,0,0,0,-1": lambda t: (
        -((t["head"][:, 0] - t["head"][:, 4]) / 2**0.5 / t["head"].norm(dim=1)).mean()
    ),
    "total-variation": lambda t: (
        (t["input"][..., 1:, :] - t["input"][..., :-1, :]).abs().mean()
        + (t["input"][..., 1:] - t["input"][..., :-1]).abs().mean()
    ),
    "deep.conv:1+deep.conv:2": lambda t: -(t["deep_conv"][:, 1] + t["deep_conv"][:, 2]).mean(),
    "2*deep.conv:1": lambda t: -2 * t["deep_conv"][:, 1].mean(),
    "-deep.conv:1": lambda t: t["deep_conv"][:, 1].mean(),
    "deep.conv:1 - 0.5*tabby": lambda t: -t["deep_conv"][:, 1].mean() + 0.5 * t["labels"][:, 0].mean(),
    " 1e-1 * stage + -3*black-and-tan coonhound ": lambda t: (
        -0.1 * t["stage"].pow(2).mean() + 3 * t["labels"][:, 1].mean()
    ),
    "tabby+2*goldfish+stage.conv:1": lambda t: (
        -t["labels"][:, 0].mean() - 2 * t["labels"][:, 4].mean() - t["stage_conv"][:, 1].mean()
    ),
}


@pytest.mark.parametrize("text", MEANINGS)
def test_a_text_means(text, model, images):
    before = fingerprint(model.module)
    objective = parse_objective(text, model)
    assert isinstance(objective, lucent.Objective)
    known = by_hand(model.module, images)
    torch.testing.assert_close(objective(known.__getitem__), MEANINGS[text](known), rtol=1e-12, atol=0)
    assert fingerprint(model.module) == before
    # A planted fault: it is no constant.
    other = by_hand(model.module, images.flip(0, 3) ** 2)
    assert not torch.allclose(objective(other.__getitem__), MEANINGS[text](known), rtol=1e-9)


def test_a_direction_from_a_file(model, images, tmp_path):
    values = vector(8)
    np.save(tmp_path / "aim.npy", values.numpy())
    parsed = parse_objective(f"direction:deep.conv:{tmp_path / 'aim.npy'}", model)
    known = by_hand(model.module, images)
    expected = lucent.direction("deep_conv", values)(known.__getitem__)
    torch.testing.assert_close(parsed(known.__getitem__), expected, rtol=1e-12, atol=0)
    np.save(tmp_path / "aim.npy", np.ones((2, 3)))
    with pytest.raises(FeatvisError, match=r"has shape \(2, 3\), type float64; expected finite numbers"):
        parse_objective(f"direction:deep.conv:{tmp_path / 'aim.npy'}", model)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda: channel("deep.conv", 3), lambda: lucent.channel("deep_conv", 3)),
        (lambda: neuron("deep.conv", 3, (1, 2)), lambda: lucent.neuron("deep_conv", 3, x=2, y=1)),
        (lambda: direction("deep.conv", vector(8)), lambda: lucent.direction("deep_conv", vector(8))),
        (lambda: class_logit(4), lambda: lucent.channel("labels", 4)),
    ],
    ids=["channel", "neuron", "direction", "class"],
)
def test_ours_equal_lucents_own_in_both_engines(ours, theirs, network, images):
    ours, theirs = ours(), theirs()
    # Lucent's hooks stay where they are, so its engine comes last.
    value, gradient = in_featvis(network, ours, images)
    for engine, objective in ((in_featvis, theirs), (in_lucent, ours), (in_lucent, theirs)):
        its_value, its_gradient = engine(network, objective, images)
        torch.testing.assert_close(its_value, value, rtol=1e-12, atol=0)
        torch.testing.assert_close(its_gradient, gradient, rtol=1e-9, atol=1e-15)


def test_ours_and_lucents_add_and_multiply(network, images):
    known = by_hand(network, images).__getitem__
    mixed = 2 * whole_layer("deep.conv") - lucent.channel("deep_conv", 1) / 4 + total_variation()
    expected = (
        2 * whole_layer("deep_conv")(known) - lucent.channel("deep_conv", 1)(known) / 4 + total_variation()(known)
    )
    torch.testing.assert_close(mixed(known), expected, rtol=1e-12, atol=0)
    assert isinstance(mixed, lucent.Objective)


def test_blurred_is_a_binomial_that_reflects(images):
    picture = images[:1, :1]
    padded = np.pad(picture[0, 0].numpy(), 1, mode="reflect")
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    expected = np.zeros(picture.shape[2:])
    for row in range(3):
        for column in range(3):
            expected += kernel[row, column] * padded[row : row + expected.shape[0], column : column + expected.shape[1]]
    assert np.allclose(blurred(picture)[0, 0], expected, rtol=1e-12)
    assert torch.allclose(
        blurred(torch.full_like(images, 0.3), (1, 4, 6, 4, 1)), torch.tensor(0.3, dtype=torch.float64)
    )


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_step_against_the_blur_penalty_blurs(channels):
    picture = torch.rand(1, channels, 9, 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(blur()(lambda name: {"input": picture}[name]), picture)
    stepped = picture - picture.numel() * gradient
    torch.testing.assert_close(stepped.detach(), blurred(picture.detach()), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deep.konv:3", "no layer 'deep.konv'; `featvis layers` lists them; nearest: deep.conv"),
        ("tabbi", "no layer or label 'tabbi'.*nearest: tabby"),
        ("class:tabbi", "no label 'tabbi'; give a class's label or number; nearest: tabby"),
        ("deep.conv:x", "ends in 'x'; write LAYER:CHANNEL"),
        ("deep.conv:-1", "ends in '-1'; write LAYER:CHANNEL"),
        ("", "has an empty term"),
        ("stage+", "has an empty term"),
        ("2*", "has an empty term"),
        ("1.2.3*stage", r"the weight '1.2.3' .* is no number"),
        ("1e999*stage", "the weight '1e999' .* is no number"),
        ("neuron:stage", "neuron:stage is incomplete"),
        ("neuron:stage:1:3", "neuron:stage:1:3 is incomplete"),
        ("neuron:nothing:1", "no layer 'nothing'"),
        ("direction:stage:a,b", "is neither numbers with commas nor an .npy file"),
        ("direction:stage:none.npy", "cannot read the direction 'none.npy'"),
        ("total-variations", "no layer or label.*nearest: total-variation"),
    ],
)
def test_a_text_that_means_nothing(text, said, model):
    with pytest.raises(FeatvisError, match=said) as raised:
        parse_objective(text, model)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deep.conv:8", "asks for channel 8 of deep.conv, but there are 8; give 0 to 7"),
        ("5", "asks for class 5, but there are 5; give 0 to 4"),
        ("neuron:deep.conv:99", "asks for channel 99 of deep.conv, but there are 8"),
        ("neuron:deep.conv:1:0,5", "no place 0,5 in 'deep.conv', which has 4 rows and 5 columns"),
        ("neuron:head:1", r"the layer 'head' returns shape \(3, 5\); a neuron with a place needs"),
        ("direction:deep.conv:1,2,3", "a direction of 3 values for the 8 channels of 'deep.conv'"),
    ],
)
def test_a_number_out_of_range_shows_when_the_network_runs(text, said, model, images):
    objective = parse_objective(text, model)
    with pytest.raises(FeatvisError, match=said):
        objective(by_hand(model.module, images).__getitem__)


def test_a_module_without_labels(network):
    assert parse_objective("stage", network) is not None
    with pytest.raises(FeatvisError, match="no layer or label 'tabby'"):
        parse_objective("tabby", network)
