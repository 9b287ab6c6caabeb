from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import fingerprint, plain_gradient, strided
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine, input_gradient
from featvis.measure.phases import fold
from featvis.measure.sums import checkerboard_energy
from featvis.models.specs import load_model
from featvis.predict.overlap import Stage, profile
from featvis.repair.backward import FEWEST, backward_blur, backward_even, backward_smooth_maxpool
from featvis.repair.backward.hooks import PROFILE
from featvis.repair.backward.profiles import drawn_alike, overlap_profile
from featvis.repair.changes import Change
from featvis.tracing.networks import copy_module

SHARED = Path(__file__).parents[3] / "shared" / "data"
FIXES = (backward_blur, backward_smooth_maxpool, backward_even)
Fix = Callable[[nn.Module, Tensor | None, int], list[Change]]


class Block(nn.Module):
    """A 3x3 convolution and a 1x1 shortcut, both of stride 2, that read the same map."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.shortcut = nn.Conv2d(8, 8, 3, 2, padding=1), nn.Conv2d(8, 8, 1, 2)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.body(features) + self.shortcut(features))


def pooled(seed: int = 0) -> nn.Module:
    """Strided convolutions, overlapping and plain max-pooling, and a shortcut; total stride 16."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
        Block(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    return network.eval().double()


def fixed(fix: Fix, module: nn.Module, images: Tensor | None = None) -> nn.Module:
    """A copy with parameters of its own that a fix has changed."""
    twin = copy.deepcopy(module)
    assert fix(twin, images, 0)
    return twin


def noise(count: int, size: int = 64, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("fix", FIXES)
@pytest.mark.parametrize("calibrated", [False, True])
def test_outputs_are_the_same_bit_by_bit_and_gradients_are_not(fix: Fix, calibrated: bool) -> None:
    network, images = pooled(), noise(FEWEST)
    before = fingerprint(network)
    twin = fixed(fix, network, images if calibrated else None)
    assert fingerprint(network) == before
    for example in (images, images.to(memory_format=torch.channels_last), noise(2, 37)):
        with torch.enable_grad():
            assert torch.equal(twin(example.clone().requires_grad_()), network(example))
        with torch.no_grad():
            assert torch.equal(twin(example), network(example))
    assert not torch.allclose(plain_gradient(twin, images), plain_gradient(network, images))
    single, other = twin.float(), copy.deepcopy(network).float()
    with torch.autocast("cpu", torch.bfloat16):
        pixels = images.float().requires_grad_()
        assert torch.equal(single(pixels), other(images.float()))


@pytest.mark.parametrize("fix", FIXES)
@pytest.mark.parametrize("calibrated", [False, True])
def test_the_engine_copies_pickles_and_captum_agree(fix: Fix, calibrated: bool) -> None:
    network, images = pooled(), noise(FEWEST, 48)
    twin = fixed(fix, network, images if calibrated else None)
    expected = plain_gradient(twin, images)
    engine = GradientEngine(twin)
    torch.testing.assert_close(engine(images), expected)
    assert engine.prepared
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin)), copy_module(twin)):
        torch.testing.assert_close(plain_gradient(other, images), expected)
    torch.testing.assert_close(input_gradient(twin, images), expected)
    captum = pytest.importorskip("captum.attr")
    target = network(images).argmax(1)
    saliency = captum.Saliency(twin).attribute(images.clone().requires_grad_(), target=target, abs=False)
    torch.testing.assert_close(saliency, expected)


@pytest.mark.parametrize("fix", FIXES)
def test_weights_keep_their_names_and_profiles_are_saved(fix: Fix) -> None:
    network = pooled()
    twin = fixed(fix, network, noise(FEWEST))
    added = set(twin.state_dict()) - set(network.state_dict())
    assert set(network.state_dict()) <= set(twin.state_dict())
    assert all(name.endswith(PROFILE) for name in added)
    assert bool(added) == (fix is backward_even)
    again = fixed(fix, pooled(1), noise(FEWEST, seed=1))
    again.load_state_dict(twin.state_dict())
    torch.testing.assert_close(plain_gradient(again, noise(2)), plain_gradient(twin, noise(2)), rtol=0, atol=0)
    assert all(not parameter.isnan().any() for parameter in twin.half().state_dict().values())


@pytest.mark.parametrize("fix", FIXES)
def test_a_second_time_changes_nothing(fix: Fix) -> None:
    twin = fixed(fix, pooled(), noise(FEWEST))
    before = fingerprint(twin)
    assert fix(twin, noise(FEWEST), 0) == []
    assert fingerprint(twin) == before


@pytest.mark.parametrize("fix", FIXES)
def test_a_network_without_strides_has_nothing_to_change(fix: Fix) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    assert fix(network, noise(FEWEST), 0) == []
    assert fix(network, None, 0) == []


def test_changes_say_what_was_done() -> None:
    (first, *_) = backward_blur(pooled(), None, 0)
    assert first == Change("0", "Conv2d 3x3, stride 2x2", "its gradient averaged over 2x2 pixels, 4 times")
    changes = backward_smooth_maxpool(pooled(), None, 0)
    assert [change.layer for change in changes] == ["3", "5"]
    assert changes[0].after == "the gradient of mean(x^2) / (0.01 + mean|x|)"
    overlapping = backward_even(pooled(), None, 0)
    # Plain 2x2 max-pooling overlaps evenly.
    assert [change.layer for change in overlapping] == ["0", "3", "4.body", "4.shortcut"]
    assert {change.note for change in overlapping} == {"by the overlap of its weights"}
    calibrated = backward_even(pooled(), noise(FEWEST), 0)
    assert [change.layer for change in calibrated] == ["0", "3", "4.body", "4.shortcut", "5"]
    assert {change.note for change in calibrated} == {f"calibrated on {FEWEST} pictures"}


def test_blur_is_the_binomial_of_the_gradient() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, 2, padding=1).double()
    images = noise(2, 20)
    weights = torch.randn(2, 4, 10, 10, dtype=torch.float64)

    def gradient(module: nn.Module) -> Tensor:
        pixels = images.clone().requires_grad_()
        (found,) = torch.autograd.grad((module(pixels) * weights).sum(), pixels)
        return found

    kernel = torch.tensor([1, 4, 6, 4, 1], dtype=torch.float64) / 16
    kernel = torch.outer(kernel, kernel).expand(3, 1, 5, 5)
    expected = F.conv2d(gradient(layer), kernel, padding=2, groups=3)
    torch.testing.assert_close(gradient(fixed(backward_blur, layer)), expected)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_blur_removes_the_harmonics_of_the_stride_and_keeps_the_place(stride: int) -> None:
    layer = nn.Conv2d(1, 1, 1, stride, bias=False).double()
    nn.init.ones_(layer.weight)
    twin = fixed(backward_blur, layer)
    pixels = torch.zeros(1, 1, 12 * stride, 12 * stride, dtype=torch.float64, requires_grad=True)
    (comb,) = torch.autograd.grad(twin(pixels).sum(), pixels)
    inside = comb[..., 3 * stride : -3 * stride, 3 * stride : -3 * stride]
    torch.testing.assert_close(inside, torch.full_like(inside, stride**-2))
    (one,) = torch.autograd.grad(twin(pixels)[0, 0, 6, 6], pixels)
    rows = torch.arange(12 * stride, dtype=torch.float64)
    assert float(one.sum()) == pytest.approx(1)
    assert float((one.sum((0, 1, 3)) * rows).sum()) == pytest.approx(6 * stride)


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.MaxPool2d((3, 2), (2, 1), ceil_mode=True),
        nn.MaxPool2d(3, 1, padding=1),
        nn.MaxPool1d(3, 2, padding=1),
    ],
)
def test_max_pooling_passes_the_gradient_of_its_surrogate(pool: nn.Module) -> None:
    torch.manual_seed(0)
    flat = isinstance(pool, nn.MaxPool1d)
    images = torch.randn(2, 3, 13, dtype=torch.float64) if flat else torch.randn(2, 3, 13, 11, dtype=torch.float64)
    average: Callable[..., Tensor] = F.avg_pool1d if flat else F.avg_pool2d
    pixels = images.clone().requires_grad_()
    output = fixed(backward_smooth_maxpool, pool)(pixels)
    weights = torch.randn_like(output)
    (found,) = torch.autograd.grad((output * weights).sum(), pixels)
    other = images.clone().requires_grad_()
    window = pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, False
    surrogate = average(other**2, *window) / (0.01 + average(other.abs(), *window))
    (expected,) = torch.autograd.grad((surrogate * weights).sum(), other)
    torch.testing.assert_close(found, expected)
    assert torch.equal(output, pool(images))


def test_max_pooling_without_a_surrogate_is_refused() -> None:
    for pool in (nn.MaxPool2d(3, 2, dilation=2), nn.MaxPool2d(2, return_indices=True)):
        with pytest.raises(FeatvisError, match=r"^0: max-pooling that is dilated or returns its indices"):
            backward_smooth_maxpool(nn.Sequential(pool), None, 0)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (5, 2, 0), (5, 3, 2), (1, 2, 0), (4, 2, 1)])
def test_overlap_of_equal_weights_is_the_closed_form(kernel: int, stride: int, padding: int) -> None:
    layer = nn.Conv2d(2, 3, kernel, stride, padding)
    nn.init.ones_(layer.weight)
    axis = torch.tensor(profile([Stage(kernel, stride, padding)]).tolist(), dtype=torch.float64)
    expected = torch.outer(axis, axis)
    torch.testing.assert_close(overlap_profile(layer), (expected / expected.mean()).expand(2, -1, -1))


def test_overlap_counts_each_channels_own_weights() -> None:
    torch.manual_seed(0)
    for layer in (nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.Conv2d(4, 4, 3, (2, 1), groups=4), nn.Conv1d(3, 5, 4, 3)):
        layer = layer.double()
        squared = copy.deepcopy(layer)
        squared.weight.data = layer.weight.data.square()
        flat = isinstance(layer, nn.Conv1d)
        pixels = torch.zeros(
            1, layer.in_channels, *([36] if flat else [36, 36]), dtype=torch.float64, requires_grad=True
        )
        (energy,) = torch.autograd.grad(squared(pixels).sum(), pixels)
        energy = energy if not flat else energy.unsqueeze(2)
        rows, columns = (1, *layer.stride)[-2:]
        first = 12 if rows > 1 or not flat else 0
        inside = energy[0, :, first : first + 12, 12:24] if not flat else energy[0, :, :, 12:24]
        expected = fold(inside, rows, columns)
        torch.testing.assert_close(overlap_profile(layer), expected / expected.mean((1, 2), keepdim=True))


@pytest.mark.parametrize("kernel", [3, 1])
def test_the_overlap_evens_random_weights(kernel: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 64, kernel, 2, padding=kernel // 2), nn.ReLU(), nn.Conv2d(64, 8, 3)).double()
    images = noise(24, 36)
    plain = checkerboard_energy(input_gradient(network, images, "seeds"), 2).energy[2]
    even = checkerboard_energy(input_gradient(fixed(backward_even, network), images, "seeds"), 2).energy[2]
    assert plain.value > 0.15
    assert even.error is not None
    assert abs(even.value) < max(plain.value / 100, 4 * even.error)


def test_calibration_evens_what_the_overlap_does_not_see() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    ).double()  # fmt: skip
    # Correlated weights, as training makes them.
    for layer in (network[0], network[2]):
        layer.weight.data = F.avg_pool2d(F.pad(layer.weight.data, (1, 1, 1, 1)), 3, 1) + 0.2 * layer.weight.data
    plain = checkerboard_energy(plain_gradient(network, noise(48, seed=1)), 4).energy
    even = checkerboard_energy(plain_gradient(fixed(backward_even, network, noise(48)), noise(48, seed=1)), 4).energy
    for period in (2, 4):
        assert plain[period].value > 0.05
        assert even[period].value < plain[period].value / 20


def test_profiles_are_shrunk_to_what_is_sure() -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 9))
    twin = fixed(backward_even, network.double(), noise(FEWEST, 16))
    few = twin[0].get_buffer(PROFILE)
    assert few.shape == (3, 4, 4)
    torch.testing.assert_close(few.mean((1, 2)), torch.ones(3, dtype=torch.float64))
    # At one picture's noise the plain mean would be off by far more than what is left.
    many = fixed(backward_even, network, noise(400, 16, seed=2))[0].get_buffer(PROFILE)
    energy = plain_gradient(network, noise(FEWEST, 16)).square()
    plain = fold((energy / energy.mean((1, 2, 3), keepdim=True))[..., 4:12, 4:12], 4, 4).mean(0)
    plain = plain / plain.mean((1, 2), keepdim=True)
    assert (few - many).norm() < (plain - many).norm()


def test_signals_and_other_strides() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(2, 16, 5, 3), nn.ReLU(), nn.MaxPool1d(3, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    signals = torch.randn(32, 2, 240, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = checkerboard_energy(plain_gradient(network, signals), 6).energy[3].value
    for fix, images in ((backward_even, signals), (backward_even, None), (backward_blur, None)):
        twin = fixed(fix, network, images)
        assert torch.equal(twin(signals.requires_grad_()), network(signals))
        assert checkerboard_energy(plain_gradient(twin, signals), 6).energy[3].value < plain / 4


def test_trained_weights_need_pictures() -> None:
    zoo = load_model("zoo:cifar-k3s2").module
    assert not drawn_alike(zoo)
    with pytest.raises(FeatvisError, match=f"backward-even needs at least {FEWEST} pictures") as refused:
        backward_even(copy_module(zoo), torch.randn(FEWEST - 1, 3, 32, 32), 0)
    assert "\n" not in str(refused.value)
    assert backward_even(copy_module(zoo), torch.randn(FEWEST, 3, 32, 32), 0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "alexnet", "vgg11", "squeezenet1_1", "densenet121"])
def test_random_weights_do_not(name: str) -> None:
    for seed in range(2):
        assert drawn_alike(load_model(name, "none", seed=seed).module)


def test_pictures_smaller_than_the_total_stride_are_refused() -> None:
    with pytest.raises(FeatvisError, match="pictures of 8x8 are smaller than the total stride of 16"):
        backward_even(pooled(), noise(FEWEST, 8), 0)
    network = nn.Sequential(nn.Conv2d(3, 4, 7), nn.Conv2d(4, 4, 4, 4), nn.Conv2d(4, 4, 1, 2)).double()
    with pytest.raises(FeatvisError, match="pictures of 13x13 leave a map of 1x1 within the network"):
        backward_even(network, noise(FEWEST, 13), 0)


def test_a_layers_own_weights_keep_their_gradient() -> None:
    network, images = strided(), noise(4, 32)
    for fix in (backward_blur, backward_even):
        twin = fixed(fix, network)
        for module in (network, twin):
            module.zero_grad()
            module(images).square().sum().backward()
        torch.testing.assert_close(twin[3].weight.grad, network[3].weight.grad)
        assert not torch.allclose(twin[0].weight.grad, network[0].weight.grad)
        twin.zero_grad()
        network.zero_grad()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the weights in ../shared/data")
def test_mobilenet_looks_trained() -> None:
    weights = SHARED / "weights" / "mobilenet_v2_imagenet.pth"
    assert not drawn_alike(load_model("mobilenet_v2", str(weights)).module)
