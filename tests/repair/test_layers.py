"""Layers against brute force, against torch.nn where it has the like, and against what theory says of their harmonics."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.networks import fingerprint
from torch import nn

from featvis.errors import FeatvisError
from featvis.repair import layers
from featvis.repair.layers import (
    BlurPool1d,
    BlurPool2d,
    L2Pool1d,
    L2Pool2d,
    MaxBlurPool1d,
    MaxBlurPool2d,
    ResizeConv1d,
    ResizeConv2d,
    SmoothHold1d,
    SmoothHold2d,
    SmoothingDeconv1d,
    SmoothingDeconv2d,
    SubPixelConv1d,
    SubPixelConv2d,
    UnshuffleConv1d,
    UnshuffleConv2d,
    icnr_,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
)

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
DECONV = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
RESIZE = {1: ResizeConv1d, 2: ResizeConv2d}
SUBPIXEL = {1: SubPixelConv1d, 2: SubPixelConv2d}
CONVOLVE = {1: F.conv1d, 2: F.conv2d}


@pytest.fixture(autouse=True)
def _double():
    """Double precision and a fixed seed, for every test here."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def close(one, other, error=1e-12):
    return one.shape == other.shape and bool((one - other).abs().max() <= error)


def repeat(images, scales):
    """Nearest-neighbour enlargement, by repeating rows and columns."""
    for axis, scale in enumerate(scales, start=-len(scales)):
        images = images.repeat_interleave(scale, axis)
    return images


# Padding


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("margins", [((0, 0),), ((1, 2),), ((2, 0), (0, 3)), ((7, 5), (1, 9))])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_padding_is_that_of_numpy_at_every_size(mode, margins, size):
    images = torch.randn(2, 3, *[size] * len(margins))
    wanted = np.pad(images.numpy(), ((0, 0), (0, 0), *margins), mode=NUMPY_MODES[mode])
    assert np.array_equal(pad(images, margins, mode).numpy(), wanted)


# Resize-convolution


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("scale", [1, 2, 3, 5])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_resize_convolution_enlarges_pads_and_convolves(axes, scale, kernel):
    layer = RESIZE[axes](4, 6, kernel, scale, groups=2)
    images = torch.randn(2, 4, *(3, 4)[:axes])
    wide = repeat(images, [scale] * axes)
    before = (kernel - 1) // 2
    margins = ((0, 0), (0, 0), *[(before, kernel - 1 - before)] * axes)
    padded = torch.from_numpy(np.pad(wide.numpy(), margins, mode="reflect"))
    assert close(layer(images), CONVOLVE[axes](padded, layer.weight, layer.bias, groups=2))
    assert layer(images).shape[2:] == tuple(scale * size for size in images.shape[2:])


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("padding_mode", NUMPY_MODES)
def test_resize_convolution_is_that_of_torch(mode, padding_mode):
    layer = ResizeConv2d(3, 4, (3, 4), (2, 3), mode, dilation=2, padding_mode=padding_mode)
    plain = nn.Conv2d(3, 4, (3, 4), padding="same", dilation=2, padding_mode=padding_mode)
    plain.load_state_dict(layer.state_dict())
    images = torch.randn(2, 3, 7, 6)
    assert close(layer(images), plain(nn.Upsample(scale_factor=(2, 3), mode=mode)(images)))
    assert close(layer(images[0]), layer(images)[0])


@pytest.mark.parametrize(("layer", "size"), [(ResizeConv1d(2, 3, 5, mode="linear"), 1), (ResizeConv2d(2, 3, 7, 3), 1)])
def test_a_constant_stays_constant_to_the_border_of_a_tiny_map(layer, size):
    output = layer.double()(torch.ones(1, 2, *[size] * layer.axes))
    assert output.flatten(2).std(-1).max() < 1e-12
    deconv = DECONV[layer.axes](2, 3, 3, 2, 1, 1)
    assert deconv(torch.ones(1, 2, *[4] * layer.axes)).flatten(2).std(-1).max() > 1e-2


USUAL = [
    (3, 2, 1, 1),
    (4, 2, 1, 0),
    (2, 2, 0, 0),
    (5, 2, 2, 1),
    (3, 3, 0, 0),
    (16, 8, 4, 0),
    (8, 4, 2, 0),
    (1, 2, 0, 1),
]
LESS_USUAL = [(3, 2, 0, 0), (3, 2, 1, 0), (4, 2, 0, 0), (4, 2, 2, 0), (2, 3, 0, 2)]


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("setting", USUAL + LESS_USUAL)
def test_from_deconv_keeps_size_channels_and_brightness(axes, mode, setting):
    mode = "bilinear" if (mode, axes) == ("linear", 2) else mode
    deconv = DECONV[axes](4, 6, *setting, groups=2)
    before = fingerprint(deconv)
    state = torch.get_rng_state()
    layer = RESIZE[axes].from_deconv(deconv, mode)
    assert torch.equal(state, torch.get_rng_state())
    assert fingerprint(deconv) == before
    images = torch.randn(2, 4, *[9] * axes)
    assert layer(images).shape == deconv(images).shape
    stride = setting[1]
    if setting in USUAL:
        assert layer(images).shape[2:] == tuple(stride * size for size in images.shape[2:])
    # The mean answer to a constant, over whole periods of the interior
    inside = (..., *[slice(3 * stride, 6 * stride)] * axes)
    constant = torch.randn(1, 4, *[1] * axes).expand(1, 4, *[9] * axes)
    assert close(layer(constant)[inside].flatten(2).mean(-1), deconv(constant)[inside].flatten(2).mean(-1))


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(("kernel", "scale"), [(3, 2), (1, 2), (3, 3), (5, 2)])
def test_from_deconv_finds_the_resize_convolution_that_a_deconv_is(axes, kernel, scale):
    layer = RESIZE[axes](4, 6, kernel, scale, groups=2, padding_mode="zeros")
    spread = layer.weight.flip(*range(2, 2 + axes))
    for axis in range(2, 2 + axes):
        rows = spread.movedim(axis, -1)
        spread = sum(F.pad(rows, (shift, scale - 1 - shift)) for shift in range(scale)).movedim(-1, axis)
    deconv = DECONV[axes](4, 6, kernel + scale - 1, scale, kernel // 2, groups=2)
    with torch.no_grad():
        deconv.weight.copy_(spread.unflatten(0, (2, 3)).transpose(1, 2).flatten(0, 1))
        deconv.bias.copy_(layer.bias)
    images = torch.randn(2, 4, *[5] * axes)
    assert close(layer(images), deconv(images))
    assert close(RESIZE[axes].from_deconv(deconv, padding_mode="zeros").weight, layer.weight)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 2), (5, 3), (7, 4)])
def test_from_deconv_is_the_nearest_of_the_same_brightness(mode, kernel, stride):
    deconv = nn.ConvTranspose1d(1, 1, kernel, stride, bias=False)
    layer = ResizeConv1d.from_deconv(deconv, mode, padding_mode="zeros")
    impulse = torch.zeros(1, 1, 11)
    impulse[..., 5] = 1

    @torch.no_grad()
    def distance(weight):
        answer = torch.func.functional_call(layer, {"weight": weight[None, None]}, (impulse,))
        return float((answer - deconv(impulse)).square().sum())

    fitted = layer.weight[0, 0].detach()
    best = distance(fitted)
    for _ in range(20):
        step = torch.randn_like(fitted)
        step -= step.mean()
        for size in (1e-3, 1):
            assert distance(fitted + size * step) >= best - 1e-15


def test_from_deconv_keeps_type_mode_and_frozenness():
    deconv = nn.ConvTranspose2d(2, 3, 4, 2, 1, dtype=torch.float16).eval().requires_grad_(False)
    layer = ResizeConv2d.from_deconv(deconv)
    assert not layer.training
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float16}
    assert not any(parameter.requires_grad for parameter in layer.parameters())


# Sub-pixel convolution


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("scale", [2, 3, 4, (2, 3), (1, 4)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_icnr_makes_a_convolution_then_nearest(axes, scale, groups, padding_mode):
    scales = (scale,) * axes if isinstance(scale, int) else scale[:axes]
    phases = int(np.prod(scales))
    layer = SUBPIXEL[axes](4, 6, 3, scales, groups=groups, padding_mode=padding_mode)
    images = torch.randn(2, 4, *[5] * axes)
    small = (nn.Conv1d, nn.Conv2d)[axes - 1](4, 6, 3, padding="same", groups=groups, padding_mode=padding_mode)
    with torch.no_grad():
        small.weight.copy_(layer.weight[::phases])
        small.bias.copy_(layer.bias[::phases])
    wanted = repeat(small(images), scales)
    assert close(layer(images), wanted, 1e-15)
    # The wrong order, all channels of one phase after the other, is found out.
    with torch.no_grad():
        layer.weight.copy_(small.weight.repeat(phases, *[1] * (axes + 1)))
    assert phases == 1 or not close(layer(images), wanted, 1e-3)


def test_icnr_takes_any_initializer_and_a_bias():
    weight = icnr_(torch.empty(8, 3, 5, 5), 2, nn.init.orthogonal_)
    assert close(weight[::4].flatten(1) @ weight[::4].flatten(1).T, torch.eye(2))
    assert torch.equal(
        icnr_(torch.empty(6), (3,), lambda bias: bias.copy_(torch.arange(2))), torch.tensor([0.0] * 3 + [1] * 3)
    )
    layer = SubPixelConv2d(2, 3, 3, initializer=lambda tensor: nn.init.constant_(tensor, 7))
    assert (layer.weight == 7).all()
    assert 0 < layer.bias.abs().max() <= (2 * 9) ** -0.5
    assert layer.out_channels == 3


def test_without_icnr_the_phases_differ():
    layer = SubPixelConv2d(2, 3, 3, icnr=False)
    assert not close(layer.weight[0], layer.weight[1], 1e-3)
    assert not close(layer.bias[0], layer.bias[1], 1e-6)


def test_icnr_draws_as_torch_does():
    torch.manual_seed(3)
    layer = SubPixelConv2d(3, 4, 3, bias=False)
    torch.manual_seed(3)
    assert torch.equal(layer.weight[::4], nn.Conv2d(3, 4, 3, bias=False).weight)


@pytest.mark.parametrize("scales", [(2,), (3,), (2, 2), (2, 3), (3, 1)])
def test_pixel_shuffle_is_its_definition_and_has_an_inverse(scales):
    images = torch.randn(2, 3 * int(np.prod(scales)), *(4, 5)[: len(scales)])
    shuffled = pixel_shuffle(images, scales)
    for place in itertools.product(*(range(size) for size in shuffled.shape[1:])):
        coarse = tuple(pixel // scale for pixel, scale in zip(place[1:], scales, strict=True))
        phase = np.ravel_multi_index(
            tuple(pixel % scale for pixel, scale in zip(place[1:], scales, strict=True)), scales
        )
        channel = place[0] * int(np.prod(scales)) + int(phase)
        assert torch.equal(shuffled[(slice(None), *place)], images[(slice(None), channel, *coarse)])
    assert torch.equal(pixel_unshuffle(shuffled, scales), images)
    assert torch.equal(pixel_unshuffle(shuffled[0], scales), images[0])


# Blur


@pytest.mark.parametrize("size", range(1, 8))
def test_blur_kernels(size):
    binomial = np.poly1d([1, 1]) ** (size - 1)
    assert torch.equal(BlurPool1d(size).taps, torch.from_numpy(np.atleast_1d(binomial.coeffs).astype(int)))
    assert torch.equal(BlurPool2d(size, kernel="box").taps, torch.ones(size, size, dtype=torch.int64))


@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("stride", range(1, 5))
@pytest.mark.parametrize("padding_mode", NUMPY_MODES)
def test_blur_pool_is_a_convolution_of_every_channel(size, stride, padding_mode):
    for pixels in range(1, 10):
        images = torch.randn(2, 3, pixels)
        layer = BlurPool1d(size, stride, padding_mode=padding_mode)
        before = (size - 1) // 2
        padded = np.pad(images, ((0, 0), (0, 0), (before, size - 1 - before)), mode=NUMPY_MODES[padding_mode])
        kernel = layer.taps.numpy() / 2 ** (size - 1)
        wanted = np.apply_along_axis(np.convolve, 2, padded, kernel, "valid")[..., ::stride]
        assert close(layer(images), torch.from_numpy(wanted))
        assert layer(images).shape[-1] == -(-pixels // stride)


def test_blur_in_two_dimensions_is_one_after_the_other():
    images = torch.randn(2, 3, 7, 8)
    columns = BlurPool1d(3, 2, "box")(images.movedim(2, 3).flatten(0, 1)).unflatten(0, (2, 3)).movedim(3, 2)
    both = BlurPool1d(3, 3, "box")(columns.flatten(0, 1)).unflatten(0, (2, 3))
    layer = BlurPool2d((3, 3), (2, 3), "box")
    assert close(layer(images), both)
    assert close(BlurPool2d(2, 2, "box")(images[:, :, :6]), F.avg_pool2d(images[:, :, :6], 2))


@pytest.mark.parametrize(("size", "ratio"), [(3, 2), (2, 1), (4, 1), (6, 1)])
def test_gradient_energy_of_a_blur_by_phase(size, ratio):
    """Independent seeds: 1:2 along an axis, so 4:2:2:1, behind a blur of 3, and even behind every even length."""
    layer = BlurPool1d(size)
    jacobian = torch.autograd.functional.jacobian(layer, torch.zeros(1, 1, 40)).reshape(20, 40)
    energy = jacobian.square().sum(0)[10:30].reshape(-1, 2)
    assert close(energy[:, 0], energy[:, 1] * ratio) or close(energy[:, 1], energy[:, 0] * ratio)


FIXED = [BlurPool1d(5, 2), BlurPool2d(4, 2, "box"), SmoothHold1d(3, 1), SmoothHold2d((2, 3))]


@pytest.mark.parametrize("layer", FIXED)
@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "circular"])
def test_fixed_filters_keep_a_constant_in_every_type(layer, padding_mode):
    layer = copy.deepcopy(layer)
    layer.padding_mode = padding_mode
    for kind in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        images = torch.full((2, 5, *[6] * layer.axes), 3, dtype=kind)
        for module in (layer, copy.deepcopy(layer).half(), copy.deepcopy(layer).half().double()):
            output = module(images)
            assert output.dtype == kind
            assert (output - 3).abs().max() <= 8 * torch.finfo(kind).eps * 3


@pytest.mark.parametrize("layer", FIXED)
def test_fixed_filters_leave_the_state_dict_alone(layer):
    assert layer.state_dict() == {}
    assert list(layer.parameters()) == []
    assert copy.deepcopy(layer).to("meta").taps.device.type == "meta"


# Smooth hold


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_smooth_hold_kernel(scale, order):
    kernel = np.ones(1, int)
    for _ in range(order + 1):
        kernel = np.convolve(kernel, np.ones(scale, int))
    assert torch.equal(SmoothHold1d(scale, order).taps, torch.from_numpy(kernel))
    assert torch.equal(SmoothHold2d(scale, order).taps, torch.from_numpy(np.multiply.outer(kernel, kernel)))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 3), (5, 3), (7, 4)])
def test_smooth_hold_removes_the_checkerboard_of_both_passes(kernel, stride, order):
    hold = SmoothHold2d(stride, order)
    inside = (..., *[slice(4 * stride, 8 * stride)] * 2)
    deconv = nn.ConvTranspose2d(1, 1, kernel, stride, bias=False)
    forward = deconv(torch.ones(1, 1, 14, 14))
    assert forward[inside].std() > 1e-3
    assert hold(forward)[inside].std() < 1e-12
    pixels = torch.zeros(1, 1, 14 * stride, 14 * stride, requires_grad=True)
    conv = nn.Conv2d(1, 1, kernel, stride, bias=False)
    for network, uneven in ((conv, True), (nn.Sequential(hold, conv), False)):
        (gradient,) = torch.autograd.grad(network(pixels).sum(), pixels)
        assert (gradient[inside].std() > 1e-3) == uneven
        assert uneven or gradient[inside].std() < 1e-12


# Stride-1 transposed convolution


@pytest.mark.parametrize("kernel", range(1, 6))
def test_smoothing_deconv_keeps_the_size(kernel):
    for layer, flip in ((SmoothingDeconv1d(2, 3, kernel), (2,)), (SmoothingDeconv2d(2, 3, kernel), (2, 3))):
        images = torch.randn(2, 2, *(5, 6)[: layer.axes])
        before = (kernel - 1) // 2
        margins = ((kernel - 1 - before, before),) * layer.axes
        weight = layer.weight.transpose(0, 1).flip(*flip)
        assert close(layer(images), CONVOLVE[layer.axes](pad(images, margins, "zeros"), weight, layer.bias))


@pytest.mark.parametrize(("width", "left"), [(1, 1), (2, 0), (3, 1 / 9), (4, 0), (5, 1 / 25)])
def test_a_last_layer_of_stride_one_lowers_period_2_as_theory_says(width, left):
    deconv = nn.ConvTranspose1d(1, 1, 3, 2, bias=False)
    nn.init.ones_(deconv.weight)
    phases = SmoothingDeconv1d(1, 1, width).box_()(deconv(torch.ones(1, 1, 20)))[0, 0, 10:30].reshape(-1, 2).mean(0)
    energy = (phases / phases.mean() - 1).square().mean()
    assert energy.item() == pytest.approx(left / 9, abs=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_box_filters_each_channel_alone(groups):
    images = torch.randn(1, 4, 9, 9)
    layer = SmoothingDeconv2d(4, 4, 3, groups=groups).box_()
    assert close(layer(images), F.avg_pool2d(images, 3, 1, 1))


# Pooling

POOLS = [
    (kernel, *others)
    for kernel, *others in itertools.product([1, 2, 3, 4], [1, 2, 3, None], [0, 1], [1, 2], [False, True])
    if others[1] <= kernel // 2
]
"""Kernel, stride, padding, dilation and ceil_mode that torch accepts."""


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil_mode"), POOLS)
def test_max_blur_pool_without_blur_is_max_pool(kernel, stride, padding, dilation, ceil_mode):
    for size in range(8, 11):
        images = torch.randn(1, 2, size, size + 1)
        wanted = F.max_pool2d(images, kernel, stride, padding, dilation, ceil_mode)
        plain = MaxBlurPool2d(kernel, stride, padding, dilation, ceil_mode, blur_size=1)
        assert torch.equal(plain(images), wanted)
        assert MaxBlurPool2d(kernel, stride, padding, dilation, ceil_mode, blur_size=4)(images).shape == wanted.shape
        row = MaxBlurPool1d(kernel, stride, padding, dilation, ceil_mode, blur_size=1)(images[0])
        assert torch.equal(row, F.max_pool1d(images[0], kernel, stride, padding, dilation, ceil_mode))


def test_max_blur_pool_blurs_the_dense_maximum():
    images = torch.randn(2, 3, 8, 9)
    dense = F.max_pool2d(images, 3, 1, 1)
    assert close(MaxBlurPool2d(3, 2, 1, blur_size=4, kernel="box")(images), BlurPool2d(4, 2, "box")(dense))
    assert torch.isfinite(MaxBlurPool2d(3, 2, ceil_mode=True)(images)).all()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil_mode"),
    [(2, None, 0, False), (3, 2, 1, False), (3, 2, 0, True), (4, 3, 2, True)],
)
def test_l2_pool_is_the_root_of_the_mean_square(kernel, stride, padding, ceil_mode):
    images = torch.randn(2, 3, 8, 9)
    layer = L2Pool2d(kernel, stride, padding, ceil_mode)
    assert layer(images).shape == F.max_pool2d(images, kernel, stride, padding, ceil_mode=ceil_mode).shape
    assert close(layer(torch.full_like(images, -3)), torch.full_like(layer(images), 3))
    if not (padding or ceil_mode):
        assert close(layer(images), F.lp_pool2d(images, 2, kernel, stride) / kernel)
        assert close(L2Pool1d(kernel, stride)(images[0]), F.lp_pool1d(images[0], 2, kernel, stride) / kernel**0.5)
    leaf = images.clone().requires_grad_()
    assert torch.autograd.gradcheck(layer, leaf)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16])
def test_l2_pool_has_a_finite_gradient_at_zero_and_no_overflow(kind):
    images = torch.zeros(1, 1, 8, 8, dtype=kind, requires_grad=True)
    (gradient,) = torch.autograd.grad(L2Pool2d(2)(images).sum(), images)
    assert (gradient == 0).all()
    (theirs,) = torch.autograd.grad(F.lp_pool2d(images.double(), 2, 2).sum(), images)
    assert not torch.isfinite(theirs).all() or (theirs == 0).all()
    large = torch.full((1, 1, 4, 4), 300, dtype=kind)
    assert (L2Pool2d(2)(large) == 300).all()
    small = torch.full((1, 1, 2, 2), 1e-3, dtype=kind, requires_grad=True)
    (gradient,) = torch.autograd.grad(L2Pool2d(2)(small).sum(), small)
    assert (gradient - 0.25).abs().max() < 1e-3 * 4 + torch.finfo(kind).eps


# All of them


def one_of_each():
    return [
        ResizeConv1d(4, 6, 3),
        ResizeConv2d(4, 6, 4, 3, "bilinear", groups=2),
        SubPixelConv1d(4, 6, 3, 3),
        SubPixelConv2d(4, 6, 3, (1, 2), groups=2),
        UnshuffleConv1d(4, 6, 2, 3),
        UnshuffleConv2d(4, 6, 1, 2, groups=2),
        BlurPool1d(),
        BlurPool2d(4, 3),
        MaxBlurPool1d(3, 2, 1),
        MaxBlurPool2d(2),
        L2Pool1d(2),
        L2Pool2d(3, 2, 1),
        SmoothHold1d(),
        SmoothHold2d(2, 2),
        SmoothingDeconv1d(4, 4, 3),
        SmoothingDeconv2d(4, 4, 4),
    ]


def axes_of(layer):
    return int(type(layer).__name__[-2])


@pytest.mark.parametrize("layer", one_of_each(), ids=lambda layer: type(layer).__name__)
def test_every_layer_copies_pickles_moves_and_takes_single_pictures(layer):
    images = torch.randn(2, 4, *(7, 8)[: axes_of(layer)])
    layer = layer.double()
    output = layer(images)
    assert close(layer(images[0]), output[0])
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(images), output)
    assert layer.to(torch.bfloat16)(images.bfloat16()).dtype == torch.bfloat16
    assert set(layer.state_dict()) <= {"weight", "bias"}
    assert type(layer).__name__ in repr(layer)
    assert type(layer).__module__.startswith("featvis.repair.layers")


def test_every_layer_has_a_twin():
    kinds = {name for name in vars(layers) if name.endswith(("1d", "2d"))}
    assert {name[:-2] + "1d" for name in kinds} | {name[:-2] + "2d" for name in kinds} == kinds
    assert {type(layer).__name__ for layer in one_of_each()} == kinds


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: ResizeConv2d(1, 1, 3, 1.5), "scale_factor is 1.5"),
        (lambda: ResizeConv2d(1, 1, 3, (2, 2, 2)), r"scale_factor is \(2, 2, 2\)"),
        (lambda: ResizeConv2d(1, 1, 3, mode="linear"), "mode is 'linear'; give one of nearest, bilinear"),
        (lambda: ResizeConv1d(1, 1, 3, mode="bilinear"), "mode is 'bilinear'; give one of nearest, linear"),
        (lambda: ResizeConv2d.from_deconv(nn.Conv2d(1, 1, 3)), "from_deconv got Conv2d; give an nn.ConvTranspose2d"),
        (lambda: ResizeConv2d.from_deconv(nn.ConvTranspose2d(1, 1, 3)), r"stride \(1, 1\) enlarges nothing"),
        (lambda: ResizeConv2d.from_deconv(nn.ConvTranspose2d(1, 1, 3, 2, 3)), "crops more"),
        (lambda: SubPixelConv2d(1, 1, 3, 0), "scale_factor is 0"),
        (lambda: icnr_(torch.empty(6, 1, 3, 3), 2), "6 channels do not divide into 4 phases"),
        (lambda: icnr_(torch.empty(6), 2), "shows no axes; give a scale for each"),
        (lambda: BlurPool2d(0), "kernel_size is 0"),
        (lambda: BlurPool2d(3, kernel="gauss"), "kernel is 'gauss'; give one of binomial, box"),
        (lambda: BlurPool2d(padding_mode="mirror"), "padding_mode is 'mirror'"),
        (lambda: SmoothHold2d(2, -1), "order is -1; give a whole number of at least 0"),
        (lambda: L2Pool2d("2"), "kernel_size is '2'"),
        (lambda: SmoothingDeconv2d(2, 3, 3).box_(), "2 channels in and 3 out"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(build, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        build()
    assert "\n" not in str(caught.value)
