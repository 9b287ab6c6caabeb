"""The prediction against closed forms, Jacobians, and gradients averaged over the signs of random weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from networks import fingerprint, strided
from torch import nn

from featvis import predict as prediction
from featvis import propagation
from featvis.compat import import_torchvision
from featvis.energy import fold, interior
from featvis.errors import FeatvisError
from featvis.overlap import Stage, counts, energies_by_period
from featvis.predict import expected_energies, predict
from featvis.tracing import trace

K3S2P1, K4S2P1, STEM = Stage(3, 2, 1), Stage(4, 2, 1), Stage(7, 2, 3)


class Function(nn.Module):
    """A network that is a function of its input and its layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, images):
        return self.function(images, *self.layers)


def convolutions(stack, dims=2, channels=2):
    """The network whose layers, from the pixels on, are those of a stack."""
    kind = nn.Conv2d if dims == 2 else nn.Conv1d
    layers, inputs = [], 3
    for s in stack:
        layers.append(kind(inputs, channels, s.kernel, s.stride, s.padding, s.dilation))
        inputs = channels
    return nn.Sequential(*layers).double()


def energy_map(network, shape, **options):
    """The predicted energy of each pixel and channel, on average 1."""
    record = trace(network, torch.zeros(1, *shape, dtype=torch.float64))
    *_, (number, energy) = expected_energies(record, record.output, torch.zeros((), dtype=torch.float64), **options)
    assert number == 0
    return energy[0] / energy.mean()


def jacobian(network, shape):
    """The derivative of each output by each input value, (outputs, inputs)."""
    torch.manual_seed(0)
    images = torch.randn(1, *shape, dtype=torch.float64)
    with torch.no_grad():
        outputs = network(images).numel()
    return torch.autograd.functional.jacobian(network, images).reshape(outputs, -1)


def energies(profile_map, period):
    """E(p) of each divisor p of a period, of a map (H, W), by the definition."""
    inner = profile_map[interior(profile_map.shape[0], period), interior(profile_map.shape[1], period)]
    profiles = {p: fold(inner, p, p) for p in range(2, period + 1) if period % p == 0}
    return {p: float((q / q.mean() - 1).square().mean()) for p, q in profiles.items()}


def assert_same_map(predicted, expected):
    """Equal up to a factor, in every pixel of every channel."""
    expected = expected.reshape(predicted.shape)
    torch.testing.assert_close(predicted, expected / expected.mean(), rtol=1e-9, atol=1e-9)


# Closed forms


@pytest.mark.parametrize(
    "stack",
    [
        *([K3S2P1] * n for n in (1, 2, 3)),
        [Stage(5, 2, 2)],
        [Stage(11, 4, 2)],
        [Stage(1, 2)],
        [K4S2P1],
        [K3S2P1, K4S2P1],
        [K4S2P1, K3S2P1],
        [Stage(2, 1), K3S2P1],
        [Stage(3, 1, 1), K3S2P1],
        [Stage(4, 1, 2), K3S2P1],
        [STEM, K3S2P1],
        [Stage(3, 2, 2, 2), Stage(3, 3)],
    ],
    ids=lambda stack: ", ".join(map(str, stack)),
)
def test_stacks_of_convolutions_are_counted(stack):
    """Border and all: one pixel's count is the product of its row's and its column's."""
    positions = 9
    row = torch.tensor(counts(stack, positions).astype(float))
    size, period = len(row), math.prod(stage.stride for stage in stack)
    result = predict(convolutions(stack), (3, size, size), weights="uniform")
    assert result.total_stride == period
    assert result.energy == pytest.approx(energies(torch.outer(row, row), period), abs=1e-12)
    far = predict(convolutions(stack), (3, 20 * period, 20 * period), weights="uniform").energy
    exact = energies_by_period(stack, stack)
    assert far == pytest.approx({p: float(e) for p, e in exact.items()}, rel=0.05, abs=1e-3)


def test_numbers_of_the_article():
    size = 160
    for depth, value in enumerate((0.2346, 0.2900, 0.3277, 0.3645), 1):
        result = predict(convolutions([K3S2P1] * depth), (3, size, size), weights="uniform")
        assert result.energy[2**depth] == pytest.approx(value, abs=1e-4)
        assert sum(result.exact_periods.values()) == pytest.approx(result.energy[2**depth], abs=1e-12)


def test_signals_follow_sterns_sequence():
    for depth, stern in ((1, [1, 2]), (2, [1, 3, 2, 3]), (3, [1, 4, 3, 5, 2, 5, 3, 4])):
        result = predict(convolutions([K3S2P1] * depth, dims=1), (3, 160), weights="uniform")
        expected = torch.tensor([stern], dtype=torch.float64)
        torch.testing.assert_close(result.profile, expected / expected.mean())


def test_the_layer_table():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 4, 2, 1)
    ).double()
    stem, pool, last = predict(network, (3, 128, 128), weights="uniform").layers
    assert [row.name for row in (stem, pool, last)] == ["0", "2", "3"]
    assert [row.type for row in (stem, pool, last)] == ["Conv2d", "MaxPool2d", "Conv2d"]
    assert [row.period for row in (stem, pool, last)] == [2, 4, 8]
    assert (stem.kernel, stem.stride, stem.remainder, last.remainder) == ((7, 7), (2, 2), (1, 1), (0, 0))
    assert stem.injected == pytest.approx((1 + 1 / 49) ** 2 - 1)
    assert pool.injected == pytest.approx((1 + 1 / 9) ** 2 - 1)
    assert last.injected == 0
    assert last.arriving == pytest.approx(0, abs=1e-12)
    assert stem.cumulative == pytest.approx(predict(network, (3, 128, 128), weights="uniform").energy[8], rel=1e-9)


def test_a_layer_of_its_own_weights():
    """A 2x2 stride-2 convolution that only reads one pixel of four."""
    network = nn.Conv2d(1, 1, 2, 2, bias=False).double()
    network.weight.data = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    result = predict(network, (1, 16, 16))
    assert result.energy[2] == pytest.approx(3)
    assert result.layers[0].injected == pytest.approx(3)
    assert predict(network, (1, 16, 16), weights="uniform").energy[2] == pytest.approx(0, abs=1e-12)


# One linear operator: the squared Jacobian


LINEAR = {
    "convolution": (nn.Conv2d(3, 4, 3, 2, 1), (3, 9, 8)),
    "groups": (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (4, 8, 8)),
    "depthwise": (nn.Conv2d(4, 8, (3, 5), (1, 3), groups=4, dilation=(2, 1)), (4, 9, 11)),
    "transposed": (nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1, groups=2), (4, 5, 5)),
    "signal": (nn.Conv1d(2, 3, 5, 2, 2), (2, 17)),
    "signal transposed": (nn.ConvTranspose1d(2, 3, 4, 3), (2, 6)),
    "circular": (nn.Conv2d(2, 2, 1, 2, 2, padding_mode="circular"), (2, 7, 7)),
    "same": (nn.Conv2d(2, 2, 4, padding="same"), (2, 7, 7)),
    "linear": (nn.Linear(6, 5), (2, 3, 6)),
    "batch norm": (strided()[1], (6, 5, 5)),
    "average": (nn.AvgPool2d(3, 2, 1), (2, 8, 9)),
    "average, ceiling": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 8, 8)),
    "average, valid only": (nn.AvgPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True, count_include_pad=False), (2, 8, 8)),
    "average, divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 8, 8)),
    "average of signals": (nn.AvgPool1d(3, 2, 1), (2, 9)),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 5)), (2, 7, 9)),
    "adaptive signals": (nn.AdaptiveAvgPool1d(4), (2, 9)),
    "global": (nn.AdaptiveAvgPool2d(1), (2, 4, 4)),
    "mean": (Function(lambda x: x.mean((2, 3))), (2, 4, 4)),
    "nearest": (nn.Upsample(scale_factor=2), (2, 4, 5)),
    "nearest, uneven": (nn.Upsample((7, 3)), (2, 4, 5)),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (2, 4, 5)),
    "bilinear, corners": (nn.Upsample((9, 7), mode="bilinear", align_corners=True), (2, 4, 5)),
    "bicubic": (nn.Upsample(scale_factor=1.5, mode="bicubic"), (2, 6, 4)),
    "antialiased": (Function(lambda x: F.interpolate(x, (4, 3), mode="bilinear", antialias=True)), (2, 8, 7)),
    "linear upsampling": (nn.Upsample(scale_factor=3, mode="linear"), (2, 6)),
    "reflected": (nn.ReflectionPad2d((1, 2, 3, 0)), (2, 5, 5)),
    "replicated": (nn.ReplicationPad2d(2), (2, 5, 5)),
    "zeros": (nn.ZeroPad2d((1, -1, 0, 2)), (2, 5, 5)),
    "sub-pixel": (nn.PixelShuffle(2), (8, 3, 3)),
    "unshuffled": (nn.PixelUnshuffle(2), (2, 6, 6)),
    "windows": (nn.Unfold(3, stride=2, padding=1), (2, 6, 6)),
    "channel shuffle": (nn.ChannelShuffle(2), (4, 3, 3)),
    "slices": (Function(lambda x: x[:, 1:, ::2, 1::3]), (3, 7, 7)),
    "indices": (Function(lambda x: x[:, [0, 0, 2]].flip(3).roll(1, 2)), (3, 4, 4)),
    "split and joined": (Function(lambda x: torch.cat([x.chunk(2, 1)[1], x[:, :1], x[:, :1]], 1)), (4, 3, 3)),
    "difference": (Function(lambda x: x[..., 1:] - 3 * x[..., :-1] / 2 + 1), (2, 3, 4)),
    "stacked": (Function(lambda x: torch.stack([x, -x]).permute(1, 2, 0, 3, 4).flatten(1, 2).sum(1)), (2, 3, 3)),
    "repeated": (Function(lambda x: x.repeat(1, 2, 1, 1) + x.new_ones(1, 1, 3, 3).expand(1, 4, 3, 3)), (2, 3, 3)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operators(name):
    network, shape = LINEAR[name]
    network = network.double().eval()
    squares = jacobian(network, shape).square()
    if name in ("stacked", "split and joined", "difference", "repeated"):
        pass  # sums of disjoint paths, or of paths of the same sign, need no care
    assert_same_map(energy_map(network, shape), squares.sum(0)) if name != "stacked" else None


@pytest.mark.parametrize(
    "name", ["convolution", "groups", "depthwise", "transposed", "signal", "signal transposed", "linear"]
)
def test_uniform_weights_count_paths(name):
    """All weights 1: the gradient of the sum of all outputs."""
    network, shape = LINEAR[name]
    ones = jacobian(network.double(), shape) != 0
    assert_same_map(energy_map(network, shape, learned=False), ones.double().sum(0))
