"""Activations: the layers an objective reads, in the right state, from a pass that goes no further, on a twin that is thrown away."""

import pytest
import torch
from helpers.networks import Function, TokensAfterNorm, fingerprint, strided
from torch import nn

from featvis.compat import import_torchvision
from featvis.dream.activations import Activations, objective_value
from featvis.errors import FeatvisError


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def reading(*names):
    """An objective of several layers."""
    return lambda activations: sum(-activations(name).square().mean() for name in names)


def plain_value(network, images, depth):
    """The mean square of what the first layers of a Sequential return, before anything works on it in place."""
    return network[: depth + 1](images.clone()).square().mean()


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize("depths", [(0,), (1,), (2,), (3,), (4,), (5,), (8,), (0, 3), (1, 4), (4, 1), (8, 2)])
def test_layers_are_read_as_they_returned(images, depths, prepare):
    network = strided()
    before = fingerprint(network)
    activations = Activations(network, reading(*map(str, depths)), images, images, prepare)
    expected = -sum(plain_value(network, images, depth) for depth in depths)
    assert torch.allclose(activations(images, images), expected, rtol=1e-12)
    assert activations.prepared == prepare
    assert fingerprint(network) == before


def test_the_pass_stops_at_the_deepest_layer_that_is_read(images):
    network = strided()
    calls = []
    network[4].register_forward_hook(lambda module, arguments, output: calls.append(4))
    network[5].register_forward_hook(lambda module, arguments, output: calls.append(5))
    activations = Activations(network, reading("4", "0"), images, images)
    calls.clear()
    activations(images, images)
    assert calls == [4]


def test_labels_and_input(images):
    network = strided()
    picture = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    value = objective_value(network, lambda t: t("labels")[:, 1].sum() + t("input").sum(), images, picture)
    assert torch.allclose(value, network(images)[:, 1].sum() + picture.sum())


def test_a_layer_that_runs_twice_is_read_at_the_last_time(images):
    shared = nn.Conv2d(3, 3, 3, padding=1).double()
    network = Function(lambda pixels, layer: layer(layer(pixels).tanh()).mean(), shared)
    value = objective_value(network, reading("layers.0"), images, prepare=True)
    assert torch.allclose(value, -shared(shared(images).tanh()).square().mean())


@pytest.mark.parametrize("prepare", [False, True])
def test_one_picture_has_the_gradient_that_it_has_in_a_batch(images, prepare):
    network, pixels = TokensAfterNorm().double().eval(), images[:1].clone().requires_grad_()
    (expected,) = torch.autograd.grad(-network(pixels).square().mean(), pixels)
    activations = Activations(network, reading("head"), images[:1], images[:1], prepare)
    assert activations.notes == []
    (gradient,) = torch.autograd.grad(activations(pixels, pixels), pixels)
    assert torch.allclose(gradient, expected)


def test_names_may_have_underscores(images):
    network = Function(lambda pixels, layer: layer(pixels), nn.Conv2d(3, 3, 3).double())
    assert torch.equal(
        objective_value(network, reading("layers_0"), images), objective_value(network, reading("layers.0"), images)
    )


def test_what_nobody_reads_may_refuse_the_picture():
    network = import_torchvision().models.alexnet(weights=None)
    small = torch.randn(1, 3, 32, 32)
    assert float(objective_value(network, reading("features.0"), small)) < 0
    with pytest.raises(FeatvisError, match="refuses an input"):
        objective_value(network, reading("features.12"), small)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (reading("layres.0"), "no layer 'layres.0'.*nearest: layers.0"),
        (reading("layers.1"), "'layers.1' did not run on this input"),
        (lambda t: t("layers.0"), r"returns shape \(2, 3, 14, 18\); expected a tensor with one value"),
        (lambda t: 3.0, "returns float; expected a tensor"),
    ],
)
def test_bad_objectives(images, objective, said):
    network = Function(lambda pixels, first, second: first(pixels), nn.Conv2d(3, 3, 3).double(), nn.Tanh())
    with pytest.raises(FeatvisError, match=said):
        objective_value(network, objective, images)


def test_a_form_that_differs_is_not_used_and_said(images, monkeypatch):
    def spoil(network, *arguments, **keywords):
        network[0].weight.data = network[0].weight.data * 1.01
        return network

    monkeypatch.setattr("featvis.tracing.prepared.prepare_network", spoil)
    network = strided()
    activations = Activations(network, reading("4"), images, images)
    assert not activations.prepared
    assert "could not be prepared" in activations.notes[0]
    assert torch.allclose(activations(images, images), -plain_value(network, images, 4))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_precisions(images, precision):
    network = strided(dtype=torch.float32)
    pixels = images.float().requires_grad_()
    activations = Activations(network, reading("4"), pixels.detach(), pixels.detach(), precision=precision)
    value = activations(pixels, pixels)
    (gradient,) = torch.autograd.grad(value, pixels)
    exact = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(-plain_value(strided(), exact, 4), exact)
    assert gradient.dtype == torch.float32
    error = float((gradient.double() - expected).norm() / expected.norm())
    limits = {"float32": (0, 1e-5), "bfloat16": (1e-4, 0.05), "float64": (0, 1e-6)}
    assert limits[precision][0] <= error < limits[precision][1]


def test_an_unknown_precision(images):
    with pytest.raises(FeatvisError, match="no precision 'float8'; give one of float32, bfloat16, float64"):
        Activations(strided(), reading("4"), images, images, precision="float8")


def test_the_total_stride_of_several_layers(images):
    network = strided()
    strides = {
        names: Activations(network, reading(*names), images, images).total_stride
        for names in (("0",), ("3",), ("0", "3"))
    }
    assert strides == {("0",): 2, ("3",): 4, ("0", "3"): 4}


def test_which_sizes_are_accepted(images):
    activations = Activations(nn.Sequential(nn.Conv2d(3, 4, 5)).double(), reading("0"), images, images)
    assert activations.accepts(torch.rand(1, 3, 5, 5))
    assert not activations.accepts(torch.rand(1, 3, 4, 5))


def test_a_container_that_ends_in_a_convolution_keeps_its_output(images):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    norm.running_var.fill_(4)
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), norm, nn.Conv2d(4, 4, 3)).double().eval()
    value = objective_value(network, reading("0", "2"), images, prepare=True)
    expected = -network[0](images).square().mean() - network(images).square().mean()
    assert torch.allclose(value, expected, rtol=1e-12)
    assert Activations(network, reading("0"), images, images).prepared
