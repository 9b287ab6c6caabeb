"""Upsampling layers as matrices, against matrices written by hand, closed-form overlap and the layers themselves."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.networks import fingerprint
from matplotlib.figure import Figure
from torch import nn

from featvis.errors import FeatvisError
from featvis.plots.linear import linear_figure
from featvis.predict import overlap
from featvis.predict.linear import UPSAMPLERS, linear_view
from featvis.repair.layers import ResizeConv1d, SmoothHold1d, SubPixelConv1d

HALF = Fraction(1, 2)


def named_matrix(view):
    """The matrix as text, an empty one where it is always 0."""
    numbers, names = view.ties
    return [[names[number] if number >= 0 else "" for number in row] for row in numbers]


def test_the_transposed_convolution_by_hand():
    assert named_matrix(linear_view("deconv3", 3)) == [
        ["w2", "", ""],
        ["w3", "w1", ""],
        ["", "w2", ""],
        ["", "w3", "w1"],
        ["", "", "w2"],
        ["", "", "w3"],
    ]


def test_the_resize_convolution_by_hand_has_tied_weights():
    view = linear_view(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(1, 1, 3, padding=1)), 3)
    assert named_matrix(view) == [
        ["w2 + w3", "", ""],
        ["w1 + w2", "w3", ""],
        ["w1", "w2 + w3", ""],
        ["", "w1 + w2", "w3"],
        ["", "w1", "w2 + w3"],
        ["", "", "w1 + w2"],
    ]
    assert view.ties[1] == ("w1 + w2", "w1", "w2 + w3", "w3")


def test_icnr_ties_the_phases_of_a_sub_pixel_convolution():
    assert named_matrix(linear_view("icnr1", 2)) == [["w1", ""], ["w1", ""], ["", "w1"], ["", "w1"]]
    assert named_matrix(linear_view("subpixel1", 2)) == [["w1", ""], ["w2", ""], ["", "w1"], ["", "w2"]]
    assert named_matrix(linear_view("icnr3", 5)) != named_matrix(linear_view("subpixel3", 5))


@pytest.mark.parametrize("kind", UPSAMPLERS)
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("length", [3, 8])
def test_the_matrix_does_what_the_layer_does(kind, kernel, stride, length):
    view = linear_view(f"{kind}{kernel}s{stride}", length, "random", seed=4)
    assert view.stride == stride
    assert view.matrix.shape == (stride * length, length)
    weights = torch.from_numpy(view.weights)
    module = {"subpixel": SubPixelConv1d, "icnr": SubPixelConv1d}.get(kind, ResizeConv1d)
    if kind == "deconv":
        padding = max(0, (kernel - stride + 1) // 2)
        layer = nn.ConvTranspose1d(1, 1, kernel, stride, padding, stride + 2 * padding - kernel, bias=False)
    elif module is ResizeConv1d:
        layer = ResizeConv1d(1, 1, kernel, stride, kind, bias=False)
    else:
        layer = SubPixelConv1d(1, 1, kernel, stride, bias=False)
    weight = weights.expand(stride, 1, -1) if kind == "icnr" else weights.reshape(layer.weight.shape)
    layer.weight = nn.Parameter(weight.clone())
    values = torch.randn(1, 1, length, dtype=torch.float64)
    assert np.allclose(view.matrix @ values[0, 0].numpy(), layer(values)[0, 0].detach().numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride"), [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (4, 3), (5, 3), (9, 4), (11, 4)]
)
def test_weights_of_one_are_the_overlap_of_the_transposed_convolution(kernel, stride):
    padding = max(0, -(-(kernel - stride) // 2))
    stage = overlap.Stage(kernel, stride, padding)
    profile = overlap.profile([stage])
    view = linear_view(f"deconv{kernel}s{stride}", 5)
    assert np.allclose(view.constant, profile)
    assert np.allclose(view.profile, profile / profile.mean())
    assert view.energy == pytest.approx(float(overlap.energy(profile, stride)), abs=1e-12)
    counts = overlap.counts([stage], 5)
    assert np.allclose(view.matrix.sum(1)[: len(counts)], counts)
    # By Parseval, E of a constant is the sum of the squares of all harmonics, of which those past 1/2 mirror the others.
    squares = sum(value**2 * (1 if harmonic == HALF else 2) for harmonic, value in view.harmonics.items())
    assert squares == pytest.approx(view.energy, abs=1e-12)


def test_harmonics_of_a_constant():
    assert linear_view("deconv3").harmonics == {HALF: pytest.approx(1 / 3)}
    assert linear_view("deconv4").harmonics == {HALF: 0}
    view = linear_view("deconv2", weights=torch.tensor([1.0, -1.0]))
    assert view.harmonics == {HALF: np.inf}
    assert list(linear_view("deconv5s4").harmonics) == [Fraction(1, 4), HALF]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_tied_weights_leave_no_harmonic_whatever_they_are(seed, kernel, stride):
    for kind in ("nearest", "linear", "icnr"):
        view = linear_view(f"{kind}{kernel}s{stride}", weights="random", seed=seed)
        assert set(view.harmonics.values()) == set(view.expected_harmonics.values()) == {0}
        if kind != "linear":
            assert view.energy == pytest.approx(0, abs=1e-12)
    for kind in ("deconv", "subpixel"):
        view = linear_view(f"{kind}{kernel}s{stride}", weights="random", seed=seed)
        assert min(view.harmonics.values()) > 1e-6


@pytest.mark.parametrize("name", ["deconv3", "deconv4", "subpixel3", "deconv5s3"])
def test_expected_harmonics_are_those_of_many_draws(name):
    view = linear_view(name)
    draws = np.random.default_rng(0).normal(size=(20000, len(view.weights)))
    period = slice(3 * view.stride, 4 * view.stride)
    spectra = np.abs(np.fft.rfft(np.tensordot(draws, view.shares[:, period].sum(-1), 1)))
    root = np.sqrt(np.square(spectra).mean(0))
    assert np.allclose(root[1:] / root[0], list(view.expected_harmonics.values()), rtol=0.03)


def test_singular_values_and_rank():
    view = linear_view("deconv2", 6)
    assert np.allclose(view.singular_values, 2**0.5)
    assert (view.rank, linear_view("icnr3", 8).rank) == (6, 7)
    random = linear_view("nearest3", 6, "random")
    assert np.allclose(random.singular_values**2, np.linalg.eigvalsh(random.matrix.T @ random.matrix)[::-1])


def test_gain_is_the_transform_of_what_one_input_writes():
    view = linear_view("deconv3")
    frequencies = np.linspace(0, 0.5, 9)
    assert np.allclose(view.response(frequencies), np.abs(1 + 2 * np.cos(2 * np.pi * frequencies)))


def test_a_module_keeps_its_own_weights_and_is_left_alone():
    layer = nn.Sequential(nn.ConvTranspose1d(1, 1, 3, 2, 1, 1), SmoothHold1d(2))
    before = fingerprint(layer)
    view = linear_view(layer)
    assert fingerprint(layer) == before
    assert np.allclose(view.weights, layer[0].weight.detach().flatten())
    assert np.allclose(list(view.harmonics.values()), 0)
    values = torch.randn(1, 1, 8)
    answer = (layer(values) - layer(torch.zeros_like(values)))[0, 0].detach()
    assert np.allclose(view.matrix @ values[0, 0].numpy(), answer, atol=1e-5)


def test_names_draw_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    one = linear_view("subpixel3", weights="random", seed=1).matrix
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(one, linear_view("subpixel3", weights="random", seed=1).matrix)
    assert not np.array_equal(one, linear_view("subpixel3", weights="random", seed=2).matrix)


class Alternating(nn.Module):
    """Doubles its input, and every other value of it once more."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, values):
        signs = 1 + torch.arange(values.shape[-1]) % 2
        return (values * signs * self.weight).repeat_interleave(2, -1)


@pytest.mark.parametrize(
    ("layer", "options", "said"),
    [
        ("deconv", {}, "no upsampling layer 'deconv'; give one of deconv, nearest, linear"),
        ("bicubic3", {}, "no upsampling layer 'bicubic3'"),
        ("deconv3s1", {}, "stride of at least 2"),
        ("deconv0", {}, "kernel of at least 1"),
        ("deconv3", {"length": 0}, "length is 0; give a whole number from 1 to 512"),
        ("deconv3", {"weights": "twos"}, "weights 'twos'; give one of ones, random"),
        ("deconv3", {"weights": torch.ones(4)}, r"this layer has 3 free weights, give \(3,\)"),
        (nn.Conv1d(1, 1, 3, padding=1, stride=2), {}, "4 more inputs give Conv1d 2 more outputs"),
        (nn.ConvTranspose1d(2, 1, 3, 2), {}, "does not take an input of shape .* give a layer of one channel in 1-D"),
        (nn.ConvTranspose1d(1, 2, 3, 2), {}, "give a layer with one channel out"),
        (nn.Sequential(nn.ConvTranspose1d(1, 1, 3, 2, bias=False), nn.ReLU()), {}, "not linear in its input"),
        (nn.Sequential(nn.ConvTranspose1d(1, 1, 3, 2), nn.ConvTranspose1d(1, 1, 3)), {}, "has 2 weights"),
        (nn.Upsample(scale_factor=2), {}, "has 0 weights"),
        (Alternating(), {}, "does not treat all inputs alike"),
    ],
)
def test_what_is_no_upsampling_layer_is_refused_in_one_line(layer, options, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        linear_view(layer, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [1, 8, 120])
def test_a_figure_has_a_matrix_for_each_layer_and_two_panels(length):
    figure = linear_figure([linear_view(name, length) for name in ("deconv3", "nearest3", "deconv9s4")], "Matrices")
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 5
    (first, *_), *_ = (axes.images for axes in figure.axes if axes.images)
    assert np.allclose(first.get_array()[0, -1], 1) or length == 1
    with pytest.raises(FeatvisError, match="at least one layer"):
        linear_figure([], "Matrices")
