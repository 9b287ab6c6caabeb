import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from featvis.errors import FeatvisError
from featvis.predict.prediction import predict
from featvis.repair.forward import Site
from featvis.repair.surgery import FIXES, operate
from featvis.tracing.windows import Window

CONVOLVE = {1: F.conv1d, 2: F.conv2d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d}
KEEPING = ("blurpool", "avgpool", "smooth-hold", "even-kernel")
POOLS = [(2, 2, 0), (3, 2, 0), (3, 2, 1), (5, 3, 2), (2, 3, 1)]
WINDOWS = {
    kind: [
        (fix, *window)
        for fix in (*KEEPING, "l2pool", "pool-shortcut")
        for window in windows
        if FIXES[fix].applies(Site(kind, Window.of(window[:1], window[1:2])))
    ]
    for kind, windows in {
        "convolution": [(1, 2, 0), (3, 2, 1), (4, 2, 1), (7, 2, 3), (5, 3, 2), (11, 4, 2)],
        "maximum pooling": POOLS,
        "average pooling": POOLS,
    }.items()
}
"""Fix, kernel, stride and padding, where the fix is for such a window."""


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fixed(layer, fix, *more):
    """What a fix makes of a single layer, in float64."""
    return operate(layer.double(), fix, *more)[0]


def binomial(dense, taps, stride):
    """An independent blur: reflected, taps along each axis one after the other, every stride-th value."""
    weights = torch.tensor(taps, dtype=dense.dtype) / sum(taps)
    for axis in range(2, dense.ndim):
        rows = dense.movedim(axis, -1)
        size = rows.shape[-1]
        before = (len(taps) - 1) // 2
        places = [abs(n) if n < size else 2 * (size - 1) - n for n in range(-before, size + len(taps) - 1 - before)]
        padded = rows[..., places]
        rows = sum(weights[n] * padded[..., n : n + size] for n in range(len(taps)))
        dense = rows[..., ::stride].movedim(-1, axis)
    return dense


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(("fix", "kernel", "stride", "padding"), WINDOWS["convolution"])
def test_a_convolution_keeps_its_output_size_at_every_size(fix, kernel, stride, padding, axes):
    layer = (nn.Conv1d, nn.Conv2d)[axes - 1](2, 4, kernel, stride, padding, groups=2).double()
    repaired = fixed(layer, fix)
    for size in range(max(kernel, 4), kernel + 9):
        images = noise(1, 2, *((size, size + 3)[-axes:]))
        assert repaired(images).shape == layer(images).shape


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("fix", KEEPING)
def test_padding_modes_and_dilation(fix, dilation, padding_mode):
    layer = nn.Conv2d(2, 3, (3, 5), (2, 1), (2, 3), dilation, padding_mode=padding_mode).double()
    repaired = fixed(layer, fix)
    for size in (17, 18):
        images = noise(1, 2, size, size)
        assert repaired(images).shape == layer(images).shape
    level = torch.full((1, 2, 40, 40), 3.0, dtype=torch.float64)
    middle = (slice(None), slice(None), slice(8, 12), slice(15, 20))
    torch.testing.assert_close(repaired(level)[middle], layer(level)[middle], rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kind", "fix", "kernel", "stride", "padding"),
    [
        *(("Max", *window) for window in WINDOWS["maximum pooling"]),
        *(("Avg", *window) for window in WINDOWS["average pooling"]),
    ],
)
def test_pooling_keeps_its_output_size_at_every_size(kind, fix, kernel, stride, padding, ceil_mode, axes):
    layer = getattr(nn, f"{kind}Pool{axes}d")(kernel, stride, padding, ceil_mode=ceil_mode)
    repaired = fixed(layer, fix)
    for size in range(max(kernel, 3), 16):
        images = noise(1, 2, *((size, size + 1)[-axes:]))
        output = repaired(images)
        assert output.shape == layer(images).shape
        assert output.isfinite().all()


@pytest.mark.parametrize("axes", [1, 2])
def test_blurpool_of_a_convolution_is_dense_then_one_three_three_one(axes):
    layer = (nn.Conv1d, nn.Conv2d)[axes - 1](2, 3, 3, 2, padding=1).double()
    images = noise(2, 2, *(13, 16)[-axes:])
    dense = CONVOLVE[axes](images, layer.weight, layer.bias, 1, 1)
    torch.testing.assert_close(fixed(layer, "blurpool")(images), binomial(dense, [1, 3, 3, 1], 2), rtol=0, atol=1e-12)


def test_blurpool_of_a_single_pixel_convolution_blurs_first_to_the_same_effect():
    layer = nn.Conv2d(2, 3, 1, 2).double()
    images = noise(2, 2, 13, 16)
    dense = F.conv2d(images, layer.weight, layer.bias)
    torch.testing.assert_close(fixed(layer, "blurpool")(images), binomial(dense, [1, 3, 3, 1], 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_blurpool_of_pooling(ceil_mode):
    images = noise(2, 2, 12, 12)
    dense = F.max_pool2d(images, 3, 1)
    if ceil_mode:
        # The last window of (12 - 3) / 2 is half outside: the dense map is repeated by one.
        dense = F.pad(dense, (0, 1, 0, 1), mode="replicate")
    repaired = fixed(nn.MaxPool2d(3, 2, ceil_mode=ceil_mode), "blurpool")
    torch.testing.assert_close(repaired(images), binomial(dense, [1, 3, 3, 1], 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("axes", [1, 2])
def test_blurpool_of_an_average_reads_both_phases_with_equal_energy(kernel, axes):
    repaired = fixed(nn.Sequential((nn.AvgPool1d, nn.AvgPool2d)[axes - 1](kernel, 2)), "blurpool")
    images = noise(1, 1, *(40,) * axes).requires_grad_()
    output = repaired(images)
    middle = output[(0, 0, *(size // 2 for size in output.shape[2:]))]
    (gradient,) = torch.autograd.grad(middle, images)
    energies = gradient.square().reshape(1, 1, *(20, 2) * axes).sum((2, 4)[:axes]).flatten()
    torch.testing.assert_close(energies, energies.mean().expand_as(energies), rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [12, 13])
def test_avgpool(size):
    images = noise(2, 2, size, size)
    convolution = nn.Conv2d(2, 3, 3, 2, 1).double()
    dense = F.conv2d(images, convolution.weight, convolution.bias, 1, 1)
    cells = F.avg_pool2d(dense, 2, 2, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(fixed(convolution, "avgpool")(images), cells)
    torch.testing.assert_close(fixed(nn.MaxPool2d(2), "avgpool")(images), F.avg_pool2d(images, 2))
    uneven = fixed(nn.MaxPool2d(3, 2), "avgpool")(images)
    weights = torch.tensor([1, 2, 2, 1], dtype=torch.float64) / 6
    kernel = torch.outer(weights, weights).expand(2, 1, 4, 4)
    whole = F.conv2d(images, kernel, stride=2, groups=2)
    torch.testing.assert_close(uneven[:, :, : whole.shape[2], : whole.shape[3]], whole)


def test_l2pool_is_the_root_of_a_flat_mean_of_squares():
    images = noise(2, 2, 12, 12)
    torch.testing.assert_close(fixed(nn.MaxPool2d(2), "l2pool")(images), F.avg_pool2d(images.square(), 2).sqrt())
    weights = torch.tensor([1, 2, 2, 1], dtype=torch.float64) / 6
    kernel = torch.outer(weights, weights).expand(2, 1, 4, 4)
    expected = F.conv2d(images.square(), kernel, stride=2, groups=2).sqrt()
    torch.testing.assert_close(fixed(nn.MaxPool2d(3, 2), "l2pool")(images)[:, :, :5, :5], expected)


@pytest.mark.parametrize("size", [8, 9])
def test_pool_shortcut(size):
    layer = nn.Conv2d(2, 3, 1, 2, bias=False).double()
    images = noise(1, 2, size, size)
    expected = F.conv2d(F.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False), layer.weight)
    torch.testing.assert_close(fixed(layer, "pool-shortcut")(images), expected)


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(("kernel", "stride", "gained"), [(3, 2, 1), (7, 2, 1), (11, 4, 1), (4, 3, 2)])
def test_even_kernel_is_the_same_convolution_of_a_map_averaged_between_its_pixels(kernel, stride, gained, axes):
    layer = (nn.Conv1d, nn.Conv2d)[axes - 1](2, 3, kernel, stride, 1).double()
    repaired = fixed(layer, "even-kernel")
    assert repaired.kernel_size == (kernel + gained,) * axes
    assert repaired.weight.shape[2:] == repaired.kernel_size
    torch.testing.assert_close(repaired.weight.flatten(2).sum(2), layer.weight.flatten(2).sum(2))
    images = noise(1, 2, *(31, 32)[-axes:])
    before = 1 + gained // 2
    padded = F.pad(images, (before, 2 + gained - before) * axes)
    averaged = AVERAGE[axes](padded, gained + 1, 1)
    expected = CONVOLVE[axes](averaged, layer.weight, layer.bias, stride)
    torch.testing.assert_close(repaired(images), expected, rtol=0, atol=1e-12)


def test_even_kernel_and_avgpool_of_a_convolution_are_the_same_function():
    layer = nn.Conv2d(2, 3, 3, 2, 1).double()
    images = noise(1, 2, 16, 16)
    averaged, widened = (fixed(layer, fix)(images) for fix in ("avgpool", "even-kernel"))
    # They differ at the border alone, where a cell of the dense map reads beyond the padding.
    torch.testing.assert_close(averaged[..., :-1, :-1], widened[..., :-1, :-1], rtol=0, atol=1e-12)


def test_even_kernel_of_pooling_takes_maxima_over_wider_windows():
    images = noise(1, 2, 12, 12)
    repaired = fixed(nn.MaxPool2d(3, 2, 1), "even-kernel")
    padded = F.pad(images, (1, 2, 1, 2), value=-torch.inf)
    torch.testing.assert_close(repaired(images), padded.unfold(2, 4, 2).unfold(3, 4, 2).amax((4, 5)))


@pytest.mark.parametrize(
    ("fix", "energy"),
    # One k3 s2 layer has (1 + 1/9)^2 - 1; a stride-1 width of 2 or of even binomials removes it, 1 2 1 leaves 1/9 of each harmonic.
    [("blurpool", 0), ("avgpool", 0), ("even-kernel", 0), ("smooth-hold", (1 + 1 / 81) ** 2 - 1)],
)
def test_energy_left_of_a_k3_s2_layer(fix, energy):
    layer = nn.Conv2d(1, 1, 3, 2, 1, bias=False).double()
    nn.init.ones_(layer.weight)
    assert predict(layer, (1, 32, 32)).energy[2] == pytest.approx((1 + 1 / 9) ** 2 - 1)
    assert predict(fixed(layer, fix), (1, 32, 32)).energy[2] == pytest.approx(energy, abs=1e-12)


@pytest.mark.parametrize("fix", ["even-kernel", "pool-shortcut", "blurpool", "avgpool"])
def test_energy_left_of_a_single_pixel_shortcut(fix):
    layer = nn.Conv2d(2, 2, 1, 2, bias=False).double()
    assert predict(layer, (2, 32, 32)).energy[2] == pytest.approx(3)
    assert predict(fixed(layer, fix), (2, 32, 32)).energy[2] == pytest.approx(0, abs=1e-12)


def norms():
    return {"parametrized": parametrizations.spectral_norm, "hooked": spectral_norm}


@pytest.mark.parametrize("norm", list(norms()))
@pytest.mark.parametrize("fix", ["blurpool", "avgpool", "smooth-hold"])
def test_a_normalised_weight_stays_normalised(fix, norm):
    plain = nn.Conv2d(2, 3, 3, 2, 1).double()
    layer = norms()[norm](copy.deepcopy(plain))
    layer.eval()
    images = noise(1, 2, 12, 12)
    layer(images)
    plain.weight = nn.Parameter(layer.weight.detach().clone())
    repaired = fixed(layer, fix)
    torch.testing.assert_close(repaired(images), fixed(plain, fix)(images))
    assert set(repaired.state_dict()) == set(layer.state_dict())


@pytest.mark.parametrize("norm", list(norms()))
@pytest.mark.parametrize(("kind", "fix"), [(nn.Conv2d, "even-kernel"), (nn.ConvTranspose2d, "resize-nearest")])
def test_a_normalised_weight_is_not_rewritten(kind, fix, norm):
    with pytest.raises(FeatvisError, match="the layer 'part' computes its weight anew in each pass"):
        operate(nn.ModuleDict({"part": norms()[norm](kind(2, 2, 3, 2))}), fix)


def test_a_surrounded_layer_can_be_copied_and_pickled():
    layer = nn.Conv2d(2, 3, 3, 2, 1).double()
    repaired = fixed(layer, "blurpool")
    images = noise(1, 2, 9, 9)
    for other in (copy.deepcopy(repaired), pickle.loads(pickle.dumps(repaired))):
        torch.testing.assert_close(other(images), repaired(images), rtol=0, atol=0)
        assert type(other) is type(repaired)
        assert isinstance(other, nn.Conv2d)
        other.load_state_dict(layer.state_dict())


DECONVS = [(3, 2, 1, 1), (4, 2, 1, 0), (2, 2, 0, 0), (5, 2, 2, 1), (6, 3, 1, 1), (3, 2, 0, 0), (7, 4, 2, 3)]


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("geometry", DECONVS)
def test_subpixel_computes_the_same(geometry, groups, axes):
    kernel, stride, padding, extra = geometry
    layer = (nn.ConvTranspose1d, nn.ConvTranspose2d)[axes - 1](
        4, 6, kernel, stride, padding, extra, groups=groups
    ).double()
    images = noise(2, 4, *(7, 8)[-axes:])
    torch.testing.assert_close(fixed(layer, "subpixel")(images), layer(images), rtol=0, atol=1e-12)


@pytest.mark.parametrize("fix", ["resize-nearest", "resize-bilinear", "subpixel-icnr", "smooth-hold", "stride1-smooth"])
@pytest.mark.parametrize(("axes", "geometry"), list(itertools.product([1, 2], DECONVS[:5])))
def test_upsampling_keeps_size_and_mean_response(fix, axes, geometry):
    kernel, stride, padding, extra = geometry
    layer = (nn.ConvTranspose1d, nn.ConvTranspose2d)[axes - 1](2, 3, kernel, stride, padding, extra).double()
    repaired = fixed(layer, fix)
    for size in (11, 12):
        images = torch.ones(1, 2, *(size,) * axes, dtype=torch.float64)
        output, expected = repaired(images), layer(images)
        assert output.shape == expected.shape
        middle = (..., *(slice(3 * stride, 6 * stride),) * axes)
        spatial = tuple(range(2, 2 + axes))
        torch.testing.assert_close(output[middle].mean(spatial), expected[middle].mean(spatial), rtol=0, atol=1e-12)
        # The pattern of a constant is gone, whatever it was.
        assert output[middle].std(spatial, correction=0).max() < 1e-12


def test_phases_of_subpixel_icnr_share_one_kernel():
    repaired = fixed(nn.ConvTranspose2d(2, 3, 4, 2, 1), "subpixel-icnr")
    phases = repaired.weight.unflatten(0, (3, 4))
    assert (phases == phases[:, :1]).all()
    assert repaired.weight.is_contiguous()


class Crossed(nn.Module):
    """Registers its last layer first."""

    def __init__(self):
        super().__init__()
        self.last = nn.ConvTranspose2d(4, 3, 3, 2, 1, 1)
        self.first = nn.ConvTranspose2d(2, 4, 4, 4)

    def forward(self, images):
        return self.last(self.first(images))


def test_stride1_smooth_finds_the_last_layer_to_run():
    network = Crossed().double()
    assert operate(network, "stride1-smooth")[1][0].layer == "first"
    repaired, (change,) = operate(network, "stride1-smooth", noise(1, 2, 4, 4))
    assert change.layer == "last"
    assert repaired.last.after.weight.shape == (3, 1, 2, 2)
    assert repaired.last.after.weight.requires_grad


def test_stride1_smooth_behind_a_pixel_shuffle_needs_images():
    network = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), nn.PixelShuffle(2)).double()
    with pytest.raises(
        FeatvisError, match="the channels that '1', pixel shuffle, gives are not known; give an example"
    ):
        operate(network, "stride1-smooth")
    repaired = fixed(network, "stride1-smooth", noise(1, 2, 6, 6))
    assert repaired(noise(1, 2, 6, 6)).shape == (1, 3, 12, 12)


@pytest.mark.parametrize(
    ("layer", "fix", "said"),
    [
        (
            nn.MaxPool2d(2, return_indices=True),
            "blurpool",
            "the layer '0', maximum pooling 2 stride 2, returns indices",
        ),
        (
            nn.Conv2d(2, 2, 32, 32),
            "blurpool",
            "the layer '0', convolution 32 stride 32, would need a blur of 64 values",
        ),
        (nn.MaxPool2d(2, dilation=2), "avgpool", "the layer '0' pools with a dilation"),
        (nn.MaxPool2d(2, dilation=2), "l2pool", "the layer '0' pools with a dilation"),
        (
            nn.Conv2d(2, 2, 3, 2, dilation=2),
            "even-kernel",
            "the layer '0', convolution 3 stride 2, has a dilation divisible",
        ),
        (
            nn.Conv2d(2, 2, 1, 2, 1),
            "pool-shortcut",
            "the layer '0', convolution 1 stride 2, pads a kernel of one pixel",
        ),
        (nn.Conv3d(2, 2, 3, 2), "blurpool", "the layer '0', convolution 3 stride 2, has 3 axes"),
        (nn.ConvTranspose2d(2, 2, 3, 2, dilation=2), "subpixel", "the layer '0': the dilation is"),
        (nn.Upsample(scale_factor=1.5), "stride1-smooth", "the channels that '0', interpolation, gives are not known"),
    ],
)
def test_a_layer_that_cannot_be_served_is_named(layer, fix, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        operate(nn.Sequential(layer), fix)
    assert "\n" not in str(caught.value)


class Same(nn.Conv2d):
    def forward(self, images):
        return super().forward(F.pad(images, (1, 1, 1, 1)))


def test_a_convolution_with_a_forward_pass_of_its_own():
    layer = Same(2, 3, 3, 2).double()
    images = noise(1, 2, 11, 11)
    dense = F.conv2d(images, layer.weight, layer.bias, 1, 1)
    torch.testing.assert_close(fixed(layer, "blurpool")(images), binomial(dense, [1, 3, 3, 1], 2), rtol=0, atol=1e-12)
    with pytest.raises(FeatvisError, match="is a Same with a forward pass of its own"):
        operate(nn.Sequential(layer), "even-kernel")
