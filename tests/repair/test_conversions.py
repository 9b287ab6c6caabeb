"""Exact conversions: the same output and the same gradient in float64, for shapes drawn at random, and one line for what does not fit."""

import pytest
import torch
from helpers.networks import fingerprint
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from featvis.errors import FeatvisError
from featvis.repair.conversions import conv_to_unshuffle, deconv_to_subpixel, resize_to_deconv, subpixel_to_deconv
from featvis.repair.layers import ResizeConv1d, ResizeConv2d, SubPixelConv1d, SubPixelConv2d

DECONV = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
CONV = {1: nn.Conv1d, 2: nn.Conv2d}
SUBPIXEL = {1: SubPixelConv1d, 2: SubPixelConv2d}
RESIZE = {1: ResizeConv1d, 2: ResizeConv2d}

BOTH = st.integers(1, 2)


def each(axes, numbers):
    return st.tuples(*[numbers] * axes)


def channels(data):
    """Channels in, out, and their groups."""
    groups = data.draw(st.integers(1, 3))
    return groups * data.draw(st.integers(1, 3)), groups * data.draw(st.integers(1, 3)), groups


def images(data, count, axes, least=3):
    return torch.randn(2, count, *data.draw(each(axes, st.integers(least, 7))), dtype=torch.float64)


def assert_equal(layer, converted, pixels):
    """The same output and the same gradient of a random score, to 1e-12; the layer is left as it was."""
    before = fingerprint(layer)
    outputs, gradients = [], []
    for module in (layer, converted):
        leaf = pixels.clone().requires_grad_()
        output = module(leaf)
        torch.manual_seed(1)
        (output * torch.randn(output.shape, dtype=output.dtype)).sum().backward(inputs=[leaf])
        outputs.append(output.detach())
        gradients.append(leaf.grad)
    assert outputs[0].shape == outputs[1].shape
    assert (outputs[0] - outputs[1]).abs().max() < 1e-12
    assert (gradients[0] - gradients[1]).abs().max() < 1e-12
    assert fingerprint(layer) == before


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_deconv_to_subpixel_and_back(data):
    axes = data.draw(BOTH)
    stride = data.draw(each(axes, st.integers(1, 4)))
    kernel = tuple(scale * data.draw(st.integers(1, 3)) for scale in stride)
    inputs, outputs, groups = channels(data)
    padding = tuple(data.draw(st.integers(0, size - 1)) for size in kernel)
    extra = tuple(data.draw(st.integers(0, scale - 1)) for scale in stride)
    pixels = images(data, inputs, axes, least=4)
    deconv = DECONV[axes](
        inputs, outputs, kernel, stride, padding, extra, groups, data.draw(st.booleans()), dtype=torch.float64
    )
    subpixel = deconv_to_subpixel(deconv)
    assert subpixel.weight.shape[2:] == tuple(size // scale for size, scale in zip(kernel, stride, strict=True))
    assert subpixel.weight.numel() == deconv.weight.numel()
    assert_equal(deconv, subpixel, pixels)
    assert_equal(subpixel, subpixel_to_deconv(subpixel), pixels)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_subpixel_to_deconv(data):
    axes = data.draw(BOTH)
    inputs, outputs, groups = channels(data)
    layer = SUBPIXEL[axes](
        inputs,
        outputs,
        data.draw(each(axes, st.integers(1, 5))),
        data.draw(each(axes, st.integers(1, 4))),
        groups=groups,
        bias=data.draw(st.booleans()),
        dtype=torch.float64,
    )
    nn.init.normal_(layer.weight)
    assert_equal(layer, subpixel_to_deconv(layer), images(data, inputs, axes))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_conv_to_unshuffle(data):
    axes = data.draw(BOTH)
    stride = data.draw(each(axes, st.integers(1, 4)).filter(lambda strides: max(strides) > 1))
    kernel = tuple(scale * data.draw(st.integers(1, 2)) for scale in stride)
    inputs, outputs, groups = channels(data)
    layer = CONV[axes](
        inputs,
        outputs,
        kernel,
        stride,
        data.draw(each(axes, st.integers(0, 3))),
        groups=groups,
        bias=data.draw(st.booleans()),
        padding_mode=data.draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        dtype=torch.float64,
    )
    pixels = torch.randn(2, inputs, *data.draw(each(axes, st.integers(8, 13))), dtype=torch.float64)
    assert_equal(layer, conv_to_unshuffle(layer), pixels)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_resize_to_deconv(data):
    axes = data.draw(BOTH)
    scale = data.draw(each(axes, st.integers(1, 4)))
    # An even kernel reads one pixel more behind than before, which a transposed convolution of stride 1 cannot.
    kernel = tuple(
        data.draw(st.integers(1, 5).filter(lambda size, one=one: size % 2 or not one)) for one in map((1).__eq__, scale)
    )
    inputs, outputs, groups = channels(data)
    layer = RESIZE[axes](
        inputs,
        outputs,
        kernel,
        scale,
        groups=groups,
        bias=data.draw(st.booleans()),
        padding_mode="zeros",
        dtype=torch.float64,
    )
    assert_equal(layer, resize_to_deconv(layer), images(data, inputs, axes))


def test_nearest_and_three_is_four_two_one():
    deconv = resize_to_deconv(ResizeConv2d(2, 3, 3, padding_mode="zeros"))
    assert (deconv.kernel_size, deconv.stride, deconv.padding, deconv.output_padding) == (
        (4, 4),
        (2, 2),
        (1, 1),
        (0, 0),
    )


def test_a_planted_fault_shows():
    deconv = nn.ConvTranspose2d(2, 3, 4, 2, 1, dtype=torch.float64)
    subpixel = deconv_to_subpixel(deconv)
    with torch.no_grad():
        subpixel.weight[0, 0, 0, 0] += 1e-9
    with pytest.raises(AssertionError):
        assert_equal(deconv, subpixel, torch.randn(1, 2, 5, 5, dtype=torch.float64))


@pytest.mark.parametrize("convert", [deconv_to_subpixel, lambda layer: subpixel_to_deconv(deconv_to_subpixel(layer))])
def test_type_mode_and_frozenness_are_kept(convert):
    layer = nn.ConvTranspose2d(2, 4, 4, 2, 1, groups=2, dtype=torch.bfloat16).eval().requires_grad_(False)
    state = torch.get_rng_state()
    converted = convert(layer)
    assert torch.equal(state, torch.get_rng_state())
    assert not converted.training
    assert {parameter.dtype for parameter in converted.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in converted.parameters())


@pytest.mark.parametrize(
    ("convert", "layer", "said"),
    [
        (
            deconv_to_subpixel,
            nn.ConvTranspose2d(1, 1, 3, 2),
            r"kernel \(3, 3\) is not a multiple of the stride \(2, 2\)",
        ),
        (deconv_to_subpixel, nn.ConvTranspose1d(1, 1, 4, 2, dilation=2), r"dilation is \(2,\)"),
        (deconv_to_subpixel, nn.Conv2d(1, 1, 3), "this is a Conv2d"),
        (conv_to_unshuffle, nn.Conv2d(1, 1, 3, 2), r"kernel \(3, 3\) is not a multiple"),
        (conv_to_unshuffle, nn.Conv2d(1, 1, 3), "nothing to unshuffle"),
        (conv_to_unshuffle, nn.Conv1d(1, 1, 4, 2, dilation=2), "dilation"),
        (subpixel_to_deconv, SubPixelConv2d(1, 1, 3, padding_mode="reflect"), "padding mode is reflect"),
        (subpixel_to_deconv, SubPixelConv2d(1, 1, 3, icnr=False), "bias differs between the phases"),
        (resize_to_deconv, ResizeConv2d(1, 1, 3), "padding mode is reflect"),
        (resize_to_deconv, ResizeConv2d(1, 1, 3, mode="bilinear", padding_mode="zeros"), "interpolation is bilinear"),
        (resize_to_deconv, ResizeConv2d(1, 1, 3, dilation=2, padding_mode="zeros"), "dilation"),
        (resize_to_deconv, ResizeConv2d(1, 1, 4, (1, 2), padding_mode="zeros"), "fit no transposed convolution"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(convert, layer, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        convert(layer)
    assert "\n" not in str(caught.value)
