"""Rules for operators against plain autograd: gradients averaged over random weights, inputs and signs.

What an operator does to the energy is told by the pixels in front of it: it reads every other pixel of every other row through a random
1x1 convolution, and another random 1x1 convolution reads all pixels. The even pixels' energy above that of the others is its factor.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import Function
from torch import nn

from featvis.errors import FeatvisError
from featvis.predict.draws import Draws
from featvis.predict.prediction import expected_energies, predict
from featvis.predict.rules import RULES
from featvis.predict.steps import Step
from featvis.tracing.trace import trace

INPUTS, CHANNELS, SIZE = 16, 6, 24
HALF = SIZE // 2


class Beside(nn.Module):
    def __init__(self, function, make=None):
        super().__init__()
        self.function = function
        self.even, self.all = (nn.Conv2d(INPUTS, CHANNELS, 1, bias=False) for _ in range(2))
        self.layer = make() if make else None
        for layer in (self.even, self.all):
            nn.init.normal_(layer.weight, std=INPUTS**-0.5)

    def forward(self, images):
        features = self.even(images[..., ::2, ::2])
        made = self.function(features, self.layer) if self.layer is not None else self.function(features)
        return torch.cat([made.reshape(len(images), -1), self.all(images).flatten(1)], 1)


class Spectrum(nn.Module):
    """Complex weights of mean square `size`."""

    def __init__(self, *shape, size=1.0):
        super().__init__()
        weight = torch.randn(*shape, dtype=torch.cdouble)
        self.weight = nn.Parameter(weight * math.sqrt(size / weight.abs().square().mean()))


def factor(energy):
    """Of an energy map (H, W)."""
    even = energy[::2, ::2].mean()
    return float(3 * even / (4 * energy.mean() - even) - 1)


def measured(case, draws=100, batch=8):
    """With its standard error."""
    maps = []
    for draw in range(draws):
        torch.manual_seed(draw)
        network = Beside(*case).double()
        images = torch.randn(batch, INPUTS, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
        outputs = network(images)
        signs = torch.randint(0, 2, outputs.shape).double() * 2 - 1
        (gradients,) = torch.autograd.grad((outputs * signs).sum(), images)
        maps.append(gradients.square().sum((0, 1)))
    maps = torch.stack(maps)
    groups = torch.tensor([factor(group.mean(0)) for group in maps.chunk(10)])
    return factor(maps.mean(0)), float(groups.std()) / math.sqrt(10)


def predicted(case):
    """With weights that all have the root of their mean square; those of a layer of its own are averaged over networks."""
    like, found = torch.zeros((), dtype=torch.float64), []
    for draw in range(4 if len(case) > 1 else 1):
        torch.manual_seed(draw)
        network = Beside(*case).double()
        for layer in (network.even, network.all):
            nn.init.constant_(layer.weight, INPUTS**-0.5)
        record = trace(network, like.new_zeros(1, INPUTS, SIZE, SIZE))
        *_, (number, energy) = expected_energies(record, record.output, like)
        assert number == 0
        found.append(energy[0].sum(0) / energy[0, :, 1::2, 1::2].mean())
    return factor(torch.stack(found).mean(0))


def halves(function):
    return lambda features: function(*features.chunk(2, 1))


def filtered(features, layer):
    spectrum = torch.fft.rfft2(features)
    return torch.fft.irfft2(spectrum * layer.weight, s=features.shape[-2:])


def low_frequencies(features, layer):
    """As in a Fourier neural operator: of each spectrum 4 x 4 frequencies are mixed, the others stay 0."""
    spectrum = torch.fft.rfft2(features)
    kept = torch.zeros_like(spectrum)
    kept[:, :, :4, :4] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :4, :4], layer.weight)
    return torch.fft.irfft2(kept, s=features.shape[-2:])


def every_row(features, layer):
    return layer(features.permute(0, 2, 3, 1).flatten(0, 1))[0].reshape(len(features), -1)


def wide(kind, **options):
    """A recurrent layer whose gates are about standard normal."""

    def make():
        layer = kind(CHANNELS, 16, batch_first=True, **options)
        for name, weight in layer.named_parameters():
            nn.init.normal_(weight)
            size = 0.0 if "bias" in name else weight.shape[-1] ** -0.5 * (0.5 if "hh" in name else 1)
            weight.data *= size / weight.detach().square().mean().sqrt()
        return layer

    return make


POSITIONS = torch.rand(1, 9, 9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5)) * 2 - 1


def sampled(reach=1.0, **options):
    return lambda features: F.grid_sample(features, reach * POSITIONS.expand(len(features), -1, -1, -1), **options)


CASES = {
    "identity": (lambda x: x,),
    "relu": (F.relu,),
    "exp of tanh": (lambda x: x.tanh().exp(),),
    "gate exp(tanh)": (halves(lambda a, b: a * b.tanh().exp()),),
    "gate 1 + tanh": (halves(lambda a, b: a * (1 + b.tanh())),),
    "gate of a gate": (halves(lambda a, b: a * (2 * F.softplus(b.tanh()))),),
    "mish by hand": (lambda x: x * F.softplus(x).tanh(),),
    "softsign by hand": (lambda x: x / (1 + x.abs()),),
    "bell": (lambda x: torch.exp(-(x**2)),),
    "sine": (lambda x: torch.sin(3 * x),),
    "root": (lambda x: (1 + x * x).sqrt(),),
    "blend by hand": (lambda x: (lambda a, b, c: a + (b - a) * c.sigmoid())(*x.chunk(3, 1)),),
    "reversed difference": (halves(lambda a, b: torch.rsub(a, b, alpha=3)),),
    "means that meet": (lambda x: 12 * x.mean(3, keepdim=True) * x.mean(2, keepdim=True),),
    "softmax": (lambda x: 5 * x.softmax(1),),
    "LPPool2d": (lambda x: F.lp_pool2d(x, 2, 2),),
    "LPPool2d, 4": (lambda x: F.lp_pool2d(x, 4, 2),),
    "LPPool2d, overlapping": (lambda x: F.lp_pool2d(x, 2, 3, 2),),
    "LPPool2d, 3 behind relu": (lambda x: F.lp_pool2d(F.relu(x) + 0.01, 3, 3, 2),),
    "LPPool1d": (lambda x: F.lp_pool1d(x.flatten(1, 2), 2, 3),),
    "average, divisor": (lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=2),),
    "average, divisor and ceiling": (lambda x: F.avg_pool2d(x, 3, 2, 0, True, divisor_override=5),),
    "average over channels too": (lambda x: 3 * F.avg_pool3d(x[:, None], 2)[:, 0],),
    "maximum, ceiling": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),),
    "maximum, ceiling, part of a window": (lambda x: F.max_pool2d(x, 5, 4, ceil_mode=True),),
    "addcmul": (halves(lambda a, b: torch.addcmul(a, b, a.flip(1).sigmoid(), value=2)),),
    "addcdiv": (halves(lambda a, b: torch.addcdiv(a, b, 1 + a.flip(1).sigmoid(), value=2)),),
    "where": (halves(lambda a, b: torch.where(a > 0, b, 3 * a)),),
    "where, leaky": (lambda x: torch.where(x > 0, x, 0.2 * x),),
    "where, mask": (lambda x: torch.where(torch.arange(HALF) % 3 == 0, x, 0.0),),
    "masked_fill": (lambda x: x.masked_fill(x < 0.5, 0.0),),
    "lerp": (halves(lambda a, b: torch.lerp(a, b, 0.3)),),
    "lerp, gate": (lambda x: (lambda a, b, c: torch.lerp(a, b, c.sigmoid()))(*x.chunk(3, 1)),),
    "fmax": (halves(torch.fmax),),
    "topk": (lambda x: x.flatten(2).topk(10, -1)[0],),
    "sort": (lambda x: x.sort(-1)[0],),
    "cumsum": (lambda x: x.cumsum(2),),
    "cummax": (lambda x: x.cummax(2)[0],),
    "norm": (lambda x: 3 * x.norm(dim=3),),
    "norm, 1": (lambda x: x.norm(p=1, dim=3),),
    "variance": (lambda x: 2 * x.var(3),),
    "logsumexp": (lambda x: 2 * x.logsumexp(3),),
    "max_unpool2d": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),),
    "grid_sample": (sampled(align_corners=False),),
    "grid_sample, border": (sampled(1.3, padding_mode="border", align_corners=True),),
    "grid_sample, reflection": (sampled(1.5, padding_mode="reflection", align_corners=False),),
    "grid_sample, reflection of corners": (sampled(1.5, padding_mode="reflection", align_corners=True),),
    "grid_sample, nearest": (sampled(mode="nearest", align_corners=False),),
    "global filter": (filtered, lambda: Spectrum(CHANNELS, HALF, HALF // 2 + 1)),
    "Fourier neural operator": (low_frequencies, lambda: Spectrum(CHANNELS, CHANNELS, 4, 4, size=1 / CHANNELS)),
    "real part of a spectrum": (lambda x: torch.fft.fft2(x, norm="ortho").real,),
    "size of a spectrum": (lambda x: torch.fft.rfft2(x, norm="ortho").abs(),),
    "both parts of a spectrum": (lambda x: torch.view_as_real(torch.fft.rfft2(x, norm="ortho")),),
    "complex of two": (halves(lambda a, b: torch.view_as_real(torch.complex(a, b) * 1)),),
    "LSTM": (every_row, wide(nn.LSTM)),
    "LSTM, both ways": (every_row, wide(nn.LSTM, bidirectional=True)),
    "GRU": (every_row, wide(nn.GRU)),
    "RNN": (every_row, wide(nn.RNN, nonlinearity="relu")),
    "gather": (lambda x: x.flatten(2).gather(2, torch.arange(0, HALF**2, 3).expand(len(x), CHANNELS, -1)),),
    "index_add": (lambda x: x.new_zeros(len(x), CHANNELS, HALF, 6).index_add(3, torch.arange(HALF) // 2, x),),
    "as_strided": (lambda x: x.contiguous().as_strided((len(x), 6, 11, 12, 2), (864, 144, 12, 1, 12)),),
    "tril": (lambda x: x.tril(),),
}


# A state is a standard normal three steps before, where a GRU's is smaller.
SLACK = {"GRU": 0.2}


@pytest.mark.parametrize("name", CASES)
def test_the_factor_of_an_operator(name):
    value, error = measured(CASES[name])
    assert predicted(CASES[name]) == pytest.approx(value, abs=4 * error + SLACK.get(name, 0.08) * value)


def flat(step):
    """A planted fault: every slope is 1."""
    for value in step.operation.arguments:
        if hasattr(value, "number"):
            yield value, step.energy.sum_to_size(step.shape(value))


@pytest.mark.parametrize(("name", "operator"), [("gate exp(tanh)", "mul"), ("LPPool2d", "pow"), ("sine", "sin")])
def test_the_comparison_can_fail(monkeypatch, name, operator):
    monkeypatch.setitem(RULES, operator, flat)
    value, error = measured(CASES[name], draws=40)
    assert predicted(CASES[name]) != pytest.approx(value, abs=4 * error + 0.08 * value)


@pytest.mark.parametrize("weights", ["learned", "uniform"])
@pytest.mark.parametrize("name", CASES)
def test_both_kinds_of_weights_are_predicted(name, weights):
    network = Beside(*CASES[name]).double()
    found = predict(network, (INPUTS, SIZE, SIZE), weights)
    assert found.energy[2] > 0
    assert all(math.isfinite(energy) for energy in found.energy.values())


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.cumprod(2), "no rule for the operator 'cumprod'"),
        (lambda x: x.prod(1), "no rule for the operator 'prod'"),
        (lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1)), "'grid_sampler_2d' .*positions depend on the input"),
        (
            lambda x: F.grid_sample(x, POSITIONS.expand(len(x), -1, -1, -1), mode="bicubic"),
            "'grid_sampler_2d' .*bicubic",
        ),
        (lambda x: F.max_unpool2d(x, torch.arange(36).view(1, 1, 6, 6).expand(1, 3, 6, 6), 2), "from no max-pooling"),
        (lambda x: x.norm(p=3), "of order 3"),
        (lambda x: F.conv2d(x, x), "weights depend on the input"),
    ],
)
def test_what_has_no_rule_has_no_number(function, said):
    network = nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.Sequential(nn.ReLU(), Function(function))).double()
    with pytest.raises(FeatvisError, match=f"cannot be predicted: .*{said}") as raised:
        predict(network, (3, 12, 12))
    assert "of layer '1.1'" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("layers", "noted"),
    [
        ((nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, 2, 1)), True),
        ((nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(2)), True),
        ((nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(3)), True),
        ((nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)), False),
        ((nn.AvgPool2d(3, 1, 1), nn.Conv2d(3, 3, 3), nn.AvgPool2d(3, 2, 1)), False),
        ((nn.MaxPool2d(2), nn.AvgPool2d(2)), False),
    ],
)
def test_averages_behind_overlapping_windows_are_noted(layers, noted):
    found = predict(nn.Sequential(nn.Conv2d(3, 3, 3), *layers).double(), (3, 32, 32))
    assert any("neighbouring gradients agree" in note for note in found.notes) == noted


def test_a_function_is_followed_through_what_leaves_it_as_it_is():
    """A gate behind a chunk is distributed as its source; a sum that is read elsewhere starts anew."""
    gated = Function(lambda x: (lambda a, b: a * b)(*x.tanh().exp().chunk(2, 1)))
    by_hand = Function(lambda x: x[:, :3] * x[:, 3:].tanh().exp())
    like = torch.zeros((), dtype=torch.float64)
    energies = []
    for network in (gated, by_hand):
        record = trace(network, like.new_zeros(1, 6, 4, 4))
        *_, (_, energy) = expected_energies(record, record.output, like)
        energies.append(float(energy[0, :3].mean() / energy[0, 3:].mean()))
    assert energies[0] == pytest.approx(1, rel=0.02)
    assert energies[1] > 1.5


def test_draws_are_standard_normal_and_independent():
    record = trace(Function(halves(lambda a, b: a * b)), torch.zeros(1, 2, 4, 4))
    product = record.operations[-1]
    makers = {number: operation for operation in record.operations for number in operation.outputs}
    apart = frozenset(record.shapes) - frozenset(product.outputs)
    draws = Draws(Step(product, [torch.ones(1, 1, 4, 4)], record.shapes, makers, True, set(), apart), 16016)
    draws.slopes()
    one, two = (drawn.detach() for drawn in draws.starts.values())
    for drawn in (one, two):
        assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
        assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    assert float((one * two).mean()) == pytest.approx(0, abs=0.01)
    assert float((one**2 * two**2).mean()) == pytest.approx(1, abs=0.03)
