"""The prediction against closed forms, Jacobians, and gradients averaged over the signs of random weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import Function, fingerprint, strided
from torch import nn

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.measure.phases import fold, interior
from featvis.predict.overlap import Stage, counts, energies_by_period
from featvis.predict.prediction import WEIGHTS, expected_energies, predict
from featvis.predict.rules import RULES
from featvis.tracing.trace import trace

K3S2P1, K4S2P1, STEM = Stage(3, 2, 1), Stage(4, 2, 1), Stage(7, 2, 3)


def convolutions(stack, dims=2, channels=2):
    """The network whose layers, from the pixels on, are those of a stack."""
    kind = nn.Conv2d if dims == 2 else nn.Conv1d
    layers, inputs = [], 3
    for s in stack:
        layers.append(kind(inputs, channels, s.kernel, s.stride, s.padding, s.dilation))
        inputs = channels
    return nn.Sequential(*layers).double()


def energy_map(network, shape, learned=True):
    """The predicted energy of each pixel and channel, on average 1."""
    like = torch.zeros((), dtype=torch.float64)
    record = trace(network, like.new_zeros(1, *shape))
    *_, (number, energy) = expected_energies(record, record.output, like, learned)
    assert number == 0
    return energy[0] / energy.mean()


def jacobian(network, shape):
    """The derivative of each output by each input value, (outputs, inputs)."""
    images = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    derivative = torch.autograd.functional.jacobian(network, images)
    return derivative.reshape(-1, images.numel())


def energies(image, period):
    """E(p) of each divisor p of a period, of an energy map (H, W), by the definition."""
    inner = image[interior(image.shape[0], period), interior(image.shape[1], period)]
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
        *([K3S2P1] * depth for depth in (1, 2, 3)),
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
def test_stacks_of_convolutions(stack):
    """Near the border one pixel's energy is the product of its row's and its column's count, far from it the closed form."""
    row = torch.from_numpy(counts(stack, 9)).double()
    size, period = len(row), math.prod(stage.stride for stage in stack)
    result = predict(convolutions(stack), (3, size, size), weights="uniform")
    assert result.total_stride == period
    assert result.energy == pytest.approx(energies(torch.outer(row, row), period), abs=1e-12)

    far = predict(convolutions(stack), (3, 60 * period, 60 * period), weights="uniform").energy
    exact = {period: float(value) for period, value in energies_by_period(stack, stack).items()}
    assert far == pytest.approx(exact, rel=0.03, abs=1e-4)


def test_numbers_of_deeper_and_deeper_stacks():
    for depth, value in enumerate((0.2346, 0.2900, 0.3277, 0.3645), 1):
        result = predict(convolutions([K3S2P1] * depth), (3, 160, 160), weights="uniform")
        assert result.energy[2**depth] == pytest.approx(value, abs=1e-4)
        assert sum(result.exact_periods.values()) == pytest.approx(result.energy[2**depth], abs=1e-12)


def test_signals_follow_sterns_sequence():
    for depth, stern in ((1, [1, 2]), (2, [1, 3, 2, 3]), (3, [1, 4, 3, 5, 2, 5, 3, 4])):
        result = predict(convolutions([K3S2P1] * depth, dims=1), (3, 160), weights="uniform")
        expected = torch.tensor([stern], dtype=torch.float64)
        torch.testing.assert_close(result.profile, expected / expected.mean())


def test_the_table_of_layers():
    stem, pool, last = nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 4, 2, 1)
    result = predict(nn.Sequential(stem, nn.ReLU(), pool, last).double(), (3, 128, 128), weights="uniform")
    rows = result.layers
    assert [row.name for row in rows] == ["0", "2", "3"]
    assert [row.type for row in rows] == ["Conv2d", "MaxPool2d", "Conv2d"]
    assert [row.period for row in rows] == [2, 4, 8]
    assert [row.remainder for row in rows] == [(1, 1), (1, 1), (0, 0)]
    assert [row.kernel[0] for row in rows] == [7, 3, 4]
    assert [row.injected for row in rows] == pytest.approx([(1 + 1 / 49) ** 2 - 1, (1 + 1 / 9) ** 2 - 1, 0])
    assert rows[-1].arriving == pytest.approx(0, abs=1e-12)
    assert rows[0].cumulative == pytest.approx(result.energy[8], rel=1e-9)


def test_a_networks_own_weights():
    """A 2x2 stride-2 convolution that only reads one pixel of four."""
    network = nn.Conv2d(1, 1, 2, 2, bias=False).double()
    nn.init.zeros_(network.weight)
    network.weight.data[0, 0, 0, 0] = 1
    result = predict(network, (1, 16, 16))
    assert result.energy[2] == pytest.approx(3)
    assert result.layers[0].injected == pytest.approx(3)
    assert predict(network, (1, 16, 16), weights="uniform").energy[2] == pytest.approx(0, abs=1e-12)


# One linear operator: the squared Jacobian


def written(images):
    """Part of the channels is scaled and part of the rows overwritten, in place."""
    images = images * 2
    images[:, :1] *= 3
    images[:, :, 2] = images[:, :, 0]
    return images


LINEAR = {
    "convolution": (nn.Conv2d(3, 4, 3, 2, 1), (3, 9, 8)),
    "groups": (nn.Conv2d(4, 6, 3, 2, 1, groups=2), (4, 8, 8)),
    "depthwise": (nn.Conv2d(4, 8, (3, 5), (1, 3), groups=4, dilation=(2, 1)), (4, 9, 11)),
    "transposed": (nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1, groups=2), (4, 5, 5)),
    "signal": (nn.Conv1d(2, 3, 5, 2, 2), (2, 17)),
    "signal, transposed": (nn.ConvTranspose1d(2, 3, 4, 3), (2, 6)),
    "linear": (nn.Linear(6, 5), (2, 3, 6)),
    "circular": (nn.Conv2d(2, 2, 3, 2, 2, padding_mode="circular"), (2, 7, 7)),
    "same": (nn.Conv2d(2, 2, 5, padding="same"), (2, 7, 7)),
    "batch norm": (strided()[1], (6, 5, 5)),
    "average": (nn.AvgPool2d(3, 2, 1), (2, 8, 9)),
    "average, ceiling": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (2, 8, 8)),
    "average, valid": (nn.AvgPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True, count_include_pad=False), (2, 8, 8)),
    "average, divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 8, 8)),
    "average, signal": (nn.AvgPool1d(3, 2, 1), (2, 9)),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 5)), (2, 7, 9)),
    "adaptive, signal": (nn.AdaptiveAvgPool1d(4), (2, 9)),
    "global": (nn.AdaptiveAvgPool2d(1), (2, 4, 4)),
    "mean": (Function(lambda x: x.mean((2, 3))), (2, 4, 4)),
    "nearest": (nn.Upsample(scale_factor=2), (2, 4, 5)),
    "nearest, uneven": (nn.Upsample((7, 3)), (2, 4, 5)),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (2, 4, 5)),
    "bilinear, corners": (nn.Upsample((9, 7), mode="bilinear", align_corners=True), (2, 4, 5)),
    "bilinear, antialiased": (Function(lambda x: F.interpolate(x, (4, 3), mode="bilinear", antialias=True)), (2, 8, 7)),
    "bicubic": (nn.Upsample(scale_factor=1.5, mode="bicubic"), (2, 6, 4)),
    "interpolated signal": (nn.Upsample(scale_factor=3, mode="linear"), (2, 6)),
    "reflected": (nn.ReflectionPad2d((1, 2, 3, 0)), (2, 5, 5)),
    "replicated": (nn.ReplicationPad2d(2), (2, 5, 5)),
    "padded": (nn.ZeroPad2d((1, -1, 0, 2)), (2, 5, 5)),
    "sub-pixel": (nn.PixelShuffle(2), (8, 3, 3)),
    "unshuffled": (nn.PixelUnshuffle(2), (2, 6, 6)),
    "windows": (nn.Unfold(3, stride=2, padding=1), (2, 6, 6)),
    "shuffled channels": (nn.ChannelShuffle(2), (4, 3, 3)),
    "slices": (Function(lambda x: x[:, 1:, ::2, 1::3]), (3, 7, 7)),
    "indices": (Function(lambda x: x[:, [0, 0, 2]].flip(3).roll(1, 2)), (3, 4, 4)),
    "split and joined": (Function(lambda x: torch.cat([x.chunk(2, 1)[1], x[:, :1], x[:, :1]], 1)), (4, 3, 3)),
    "stacked": (Function(lambda x: torch.stack([x, -x]).permute(1, 2, 0, 3, 4).flatten(1, 2)), (2, 3, 3)),
    "repeated": (Function(lambda x: x.repeat(1, 2, 1, 1) + torch.ones_like(x[:, :1])), (2, 3, 3)),
    "difference": (Function(lambda x: x[..., 1:] - 3 * x[..., :-1] / 2 + 1), (2, 3, 4)),
    "scaled": (Function(lambda x, layer: x * layer.weight[0, 0, 0], nn.Conv2d(1, 1, 3)), (2, 3, 3)),
    "written into": (Function(written), (3, 4, 4)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operators(name):
    network, shape = LINEAR[name]
    network = network.double().eval()
    assert_same_map(energy_map(network, shape), jacobian(network, shape).square().sum(0))


@pytest.mark.parametrize("name", list(LINEAR)[:7])
def test_weights_that_are_all_alike_count_the_paths(name):
    network, shape = LINEAR[name]
    reads = jacobian(network.double(), shape) != 0
    assert_same_map(energy_map(network, shape, learned=False), reads.double().sum(0))


# Whole networks: squared gradients, averaged over the signs of all weights and over noise


class Branches(nn.Module):
    """Branches of other kernels that meet in a sum, and of another pooling that meet in a concatenation."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, 2, 1, bias=False)
        self.left = nn.Conv2d(8, 8, 3, 2, 1, groups=2, bias=False)
        self.right = nn.Conv2d(8, 8, 1, 2, bias=False)
        self.last = nn.Conv2d(16, 6, 3, 1, 1, bias=False)

    def forward(self, images):
        features = F.relu(self.stem(images))
        pooled = F.avg_pool2d(features, 2)
        return self.last(torch.cat([F.relu(self.left(features)) + self.right(features), pooled], 1))


def plain(inputs, outputs, kernel, stride=1, padding=0, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


NETWORKS = {
    "chain": lambda: nn.Sequential(plain(2, 6, 3, 2, 1), nn.ReLU(), plain(6, 6, 3, 2, 1)),
    "branches": Branches,
    "maximum": lambda: nn.Sequential(plain(2, 8, 4, 2, 1), nn.MaxPool2d(3, 2, 1), plain(8, 4, 1)),
    "depthwise": lambda: nn.Sequential(plain(2, 16, 3, 2, 1), nn.SiLU(), plain(16, 16, 5, 2, 2, groups=16)),
}


def mean_squares(network, shape, draws=1500, batch=250):
    """The mean energy map of the gradient of all outputs with random signs."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)

    def signs(*size):
        return torch.randint(0, 2, size, generator=generator).double() * 2 - 1

    def score(images, signed, seeds):
        return (torch.func.functional_call(network, signed, (images[None],))[0] * seeds).sum()

    outputs = network(torch.zeros(1, *shape, dtype=torch.float64)).shape[1:]
    total = torch.zeros(shape, dtype=torch.float64)
    for _ in range(draws // batch):
        images = torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
        signed = {name: weight * signs(batch, *weight.shape) for name, weight in weights.items()}
        gradients = torch.func.vmap(torch.func.grad(score))(images, signed, signs(batch, *outputs))
        total += gradients.square().sum(0)
    return total / total.mean()


def difference(predicted, measured, period=4):
    """The largest difference between energies by period, relative to the largest energy."""
    first, second = energies(predicted.sum(0), period), energies(measured.sum(0), period)
    return max(abs(first[p] - second[p]) for p in first) / max(second.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_mean_of_squared_gradients(name):
    torch.manual_seed(1)
    network = NETWORKS[name]().double()
    assert difference(energy_map(network, (2, 32, 32)), mean_squares(network, (2, 32, 32))) < 0.05


def absolute(step):
    """A planted fault: the weights' size in place of their squares."""
    value, weight, _, *geometry = step.operation.arguments
    shape = step.energy.new_empty(1).expand(step.shape(value))
    backward = torch.ops.aten.convolution_backward
    yield value, backward(step.energy, shape, weight.abs(), None, *geometry, (True, False, False))[0]


def first_of_the_window(step):
    """A planted fault: the maximum is always the window's first value."""
    kernel = torch.zeros(step.energy.shape[1], 1, 3, 3, dtype=torch.float64)
    kernel[..., 0, 0] = 1
    yield step.argument(0), F.conv_transpose2d(step.energy, kernel, None, 2, 1, 1, groups=len(kernel))


@pytest.mark.parametrize(
    ("name", "operator", "fault"),
    [("branches", "convolution", absolute), ("maximum", "max_pool2d_with_indices", first_of_the_window)],
)
def test_the_comparison_can_fail(monkeypatch, name, operator, fault):
    torch.manual_seed(1)
    network = NETWORKS[name]().double()
    monkeypatch.setitem(RULES, operator, fault)
    assert difference(energy_map(network, (2, 32, 32)), mean_squares(network, (2, 32, 32), draws=500)) > 0.1


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        (nn.ReLU(), 1 / 2),
        (nn.ReLU6(inplace=True), 1 / 2),
        (nn.LeakyReLU(0.2), (1 + 0.04) / 2),
        (nn.PReLU(init=0.2), (1 + 0.04) / 2),
        (nn.Hardtanh(), math.erf(1 / math.sqrt(2))),
        (nn.Hardsigmoid(), math.erf(3 / math.sqrt(2)) / 36),
        (nn.GELU(), 0.4559),
        (nn.Dropout(), 1),
    ],
)
def test_gains(activation, gain):
    """The outer rows pass the activation, the inner ones an identity beside it."""
    network = Function(lambda x, f: torch.cat([f(x * 1), x[:, :, 1:-1]], 2), activation).double().eval()
    energy = energy_map(network, (1, 4, 4))[0]
    assert float(energy[0, 0] / (energy[1, 0] - energy[0, 0])) == pytest.approx(gain, rel=2e-3)


def test_attention_is_even():
    """Only 5 of 16 tokens are read, and every pixel gets the same."""

    def attend(images, layer):
        tokens = images.flatten(2).transpose(1, 2)
        weights = torch.softmax(tokens @ tokens.transpose(1, 2), -1)
        return layer(weights @ tokens)[:, :5]

    def fused(images):
        return F.scaled_dot_product_attention(*[images.flatten(2).transpose(1, 2)] * 3)[:, :5]

    for network in (Function(attend, nn.Linear(3, 3)), Function(fused)):
        energy = energy_map(network.double(), (3, 4, 4))
        torch.testing.assert_close(energy, energy[:, :1, :1].expand_as(energy))
        assert "even mix" in predict(network, (3, 4, 4)).notes[0]


# Architectures


def vision_transformer(models):
    network = models.VisionTransformer(32, 8, 2, 2, 16, 32)
    nn.init.normal_(network.heads.head.weight)
    return network


def convnext(models):
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(16, 32, 1), block(32, None, 1)])


def swin_v2(models):
    parts = models.swin_transformer
    kinds = {"block": parts.SwinTransformerBlockV2, "downsample_layer": parts.PatchMergingV2}
    return models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4], **kinds)


ARCHITECTURES = {
    "squeezenet": lambda models: models.squeezenet1_1(),
    "resnet": lambda models: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=8),
    "densenet": lambda models: models.DenseNet(8, (2, 2, 2), 16),
    "googlenet": lambda models: models.GoogLeNet(aux_logits=False, init_weights=False),
    "mobilenet_v2": lambda models: models.mobilenet_v2(width_mult=0.25),
    "mobilenet_v3": lambda models: models.mobilenet_v3_small(width_mult=0.5),
    "shufflenet": lambda models: models.shufflenet_v2_x0_5(),
    "efficientnet": lambda models: models.efficientnet_b0(),
    "regnet": lambda models: models.regnet_y_400mf(),
    "convnext": convnext,
    "swin": lambda models: models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4]),
    "swin_v2": swin_v2,
    "vit": vision_transformer,
    "maxvit": lambda models: models.MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, 0.0),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_have_rules(name):
    import_torchvision()
    from torchvision import models

    torch.manual_seed(0)
    network, size = ARCHITECTURES[name](models), 32 if name == "vit" else 64
    for weights in WEIGHTS:
        result = predict(network, (3, size, size), weights)
        assert result.profile.mean() == pytest.approx(1)
        assert list(result.energy) == [p for p in range(2, result.total_stride + 1) if result.total_stride % p == 0]
        assert all(0 <= value < 100 for value in result.energy.values())
        assert sum(result.exact_periods.values()) == pytest.approx(result.energy[result.total_stride])


def test_the_network_stays_as_it_is():
    network = strided().train()
    before = fingerprint(network)
    predict(network, (3, 32, 32))
    with pytest.raises(FeatvisError):
        predict(network, (3, 2, 2))
    assert fingerprint(network) == before


def test_a_layer_inside():
    network = strided()
    first = predict(network, (3, 32, 32), layer="0")
    assert first.total_stride == 2
    assert first.energy == pytest.approx(predict(network[:1], (3, 32, 32)).energy)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_deep_networks_neither_vanish_nor_overflow(size):
    network = nn.Sequential(nn.Conv2d(2, 2, 3, 2, 1), *(nn.Conv2d(2, 2, 1) for _ in range(40)))
    for layer in network:
        nn.init.constant_(layer.weight, size)
    assert predict(network, (2, 64, 64)).energy[2] == pytest.approx(0.2346, abs=1e-4)


# Refusals


@pytest.mark.parametrize(
    ("network", "shape", "options", "said"),
    [
        (strided(), (3, 2, 32), {}, "2 x 32 is smaller than the total stride of 4"),
        (strided(), (32,), {}, r"expected \(C, H, W\)"),
        (strided(), (3, 32, 32), {"weights": "random"}, "expected learned or uniform"),
        (strided(), (3, 32, 32), {"layer": "9"}, "no layer '9'"),
        (strided(), (3, 32, 32), {"assume_identity": ["rellu"]}, "'rellu' to take for an identity; nearest: relu"),
        (
            Function(lambda x: x.cumprod(2)),
            (3, 8, 8),
            {},
            "cannot be predicted: no rule for the operator 'cumprod' of .*--assume",
        ),
        (Function(lambda x: x.detach() * 2), (3, 8, 8), {}, "no gradient of the score reaches the pixels"),
        (Function(lambda x: torch.ones(3)), (3, 8, 8), {}, "does not depend on the pixels"),
        (Function(lambda x: F.conv2d(x, x)), (3, 8, 8), {}, "'convolution' of .*weights depend on the input"),
        (Function(lambda x: x[..., ::2]), (3, 8, 8), {"assume_identity": ["slice"]}, "no input has the shape"),
    ],
)
def test_refusals(network, shape, options, said):
    with pytest.raises(FeatvisError, match=said):
        predict(network, shape, **options)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (torch.jit.script, "the network is TorchScript"),
        (lambda network: torch.jit.trace(network, torch.zeros(1, 3, 16, 16)), "the network is TorchScript"),
        (lambda network: nn.Sequential(nn.Identity(), torch.jit.script(network)), "the layer '1' is TorchScript"),
        (lambda network: network.to("meta"), "on the meta device and has no weights"),
    ],
)
def test_networks_that_cannot_be_watched(made, said):
    network = made(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()))
    with pytest.raises(FeatvisError, match=said) as raised:
        predict(network, (3, 16, 16))
    assert "\n" not in str(raised.value)


def test_complex_convolutions_are_not_blamed_on_the_network():
    layer = nn.Conv2d(3, 4, 3, stride=2, dtype=torch.complex64)
    network = Function(lambda x, net: net(x.to(torch.complex64)).abs(), layer)
    assert trace(network, torch.zeros(1, 3, 16, 16)).total_stride() == 2
    with pytest.raises(FeatvisError, match=r"no energy passes the operator|no rule for the operator"):
        predict(network, (3, 16, 16))


def test_rows_that_become_a_batch():
    rows = nn.Conv1d(3, 8, 3, 2, 1)

    def forward(x, net):
        y = net(x.transpose(1, 2).reshape(-1, 3, x.shape[-1])).mean(2)
        return y.view(x.shape[0], x.shape[2], -1).mean(1)

    found = predict(Function(forward, rows), (3, 32, 32), weights="uniform")
    # Of each row's columns, the even ones are read by one tap of the kernel and the odd ones by two: (1, 2) of mean 1.5.
    assert found.total_stride == 2
    assert found.energy[2] == pytest.approx(0.25 / 1.5**2, rel=0.02)


def test_an_identity_can_be_assumed():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Function(lambda x: x.cumprod(2)))
    expected = predict(network[:1], (3, 16, 16)).energy
    for name in ("cumprod", "1"):
        assert predict(network, (3, 16, 16), assume_identity=[name]).energy == pytest.approx(expected)
