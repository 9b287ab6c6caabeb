"""Discriminators and generators: their gradients and pictures against plain autograd, closed forms and planted combs."""

import math
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from helpers.faces import WEIGHTS, FaceDiscriminator, FaceGenerator, needs_faces
from helpers.networks import Function, fingerprint
from torch import nn

from featvis.errors import FeatvisError
from featvis.gan import (
    Surroundings,
    Verdict,
    agreement,
    audit_discriminator,
    audit_generator,
    fine_detail,
    high_pass,
    limits_of,
    measure_pictures,
    neutral_pictures,
    period_parts,
    radial_power,
    samples_of,
    sources_of,
)
from featvis.gan.board import scalars_of, write_board
from featvis.gan.discriminator import measurable
from featvis.gan.networks import Conditioned, conditioned, latent_shape, sample, with_random_weights, without_sigmoid
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate
from featvis.measure.sums import checkerboard_energy
from featvis.models.checkpoints import load_strictly, read_checkpoint


def layers(channels=3, kernel=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 6, kernel, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(6, 8, 4, 2, 1),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2),
        nn.Conv2d(8, 1, 3, 1, 1),
    ).double()


def pictures(count=8, channels=3, size=16, seed=0):
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand((count, channels, size, size), generator=random, dtype=torch.float64) - 1


def gradient_of(network, images):
    """Each picture alone, by plain autograd."""
    found = []
    for image in images:
        pixels = image[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(pixels + 0).mean(), pixels)
        found.append(gradient)
    return torch.cat(found)


def same(estimates, others):
    assert estimates.keys() == others.keys()
    for period, (value, _) in estimates.items():
        assert value == pytest.approx(others[period].value, rel=1e-6, abs=1e-9)


SIGMOIDS = {
    "module": lambda: nn.Sequential(layers(), nn.Sigmoid()),
    "function": lambda: Function(lambda x, net: torch.sigmoid(net(x)), layers()),
    "method": lambda: Function(lambda x, net: net(x).sigmoid(), layers()),
    "then a view": lambda: Function(lambda x, net: torch.sigmoid(net(x).mean((2, 3))).view(-1), layers()),
    "in a tuple": lambda: Function(lambda x, net: (torch.sigmoid(net(x)), x), layers()),
    "by keyword": lambda: Function(lambda x, net: torch.sigmoid(input=net(x)), layers()),
    "then a mean": lambda: Function(lambda x, net: net(x).sigmoid().mean((1, 2, 3)), layers()),
}


@pytest.mark.parametrize("make", SIGMOIDS.values(), ids=SIGMOIDS)
def test_the_gradient_is_that_of_the_logit(make):
    network, images = make().eval(), pictures()
    ours = audit_discriminator(network, {"noise": images})
    same(ours.sources["noise"].audit.energy, checkerboard_energy(gradient_of(layers().eval(), images), 4).energy)
    assert any("a sigmoid ends the discriminator" in note for note in ours.notes)
    assert ours.settings["without_sigmoid"]


def test_a_saturated_sigmoid_does_not_matter():
    network = layers().eval()
    nn.init.constant_(network[-1].bias, 100)
    closed = nn.Sequential(network, nn.Sigmoid())
    assert float(closed(pictures()).detach().min()) == 1
    ours = audit_discriminator(closed, {"noise": pictures()})
    same(ours.sources["noise"].audit.energy, checkerboard_energy(gradient_of(network, pictures()), 4).energy)


def test_sigmoids_within_stay():
    network = Function(
        lambda x, net, gate: net(x) * torch.sigmoid(gate(x).mean()), layers(), nn.Conv2d(3, 1, 1).double()
    )
    found = without_sigmoid(Conditioned(network.eval()), pictures(2))
    assert found.skipped is None
    both = Function(
        lambda x, net, gate: torch.sigmoid(net(x) * torch.sigmoid(gate(x))), nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 1)
    )
    assert without_sigmoid(Conditioned(both), pictures(2).float()).skipped == 1


def test_outputs_that_look_like_a_sigmoid_are_said():
    network = Function(lambda x, net: 1 / (1 + torch.exp(-net(x))), layers())
    notes = audit_discriminator(network.eval(), {"noise": pictures()}).notes
    assert any("lie in [0, 1]" in note for note in notes)
    lower = layers()
    nn.init.constant_(lower[-1].bias, -1)
    assert not any("lie in [0, 1]" in note for note in audit_discriminator(lower, {"noise": pictures()}).notes)


def test_energies_against_the_closed_form():
    """One 3 x 3 convolution of stride 2 whose map is weighed with random signs: phases 1:2:2:4."""
    network = nn.Conv2d(1, 1, 3, 2, 1, bias=False).double()
    nn.init.ones_(network.weight)
    ours = audit_discriminator(network, {"noise": pictures(256, 1, 32)}, score="seeds")
    value, error = ours.sources["noise"].audit.energy[2]
    assert abs(value - 0.2346) < 4 * error < 0.04
    assert not ours.even_overlap


def test_nothing_is_changed():
    network = layers().train()
    network[0] = nn.utils.parametrizations.spectral_norm(network[0])
    network[2] = nn.utils.spectral_norm(network[2])
    before, images = fingerprint(network), pictures()
    kept = images.clone()
    audit_discriminator(network, {"noise": images}, culprits=True, neutral=(-1, 1))
    assert fingerprint(network) == before
    assert torch.equal(images, kept)


def test_an_activation_in_place_may_come_first():
    network = nn.Sequential(nn.LeakyReLU(0.2, inplace=True), layers()).eval()
    images = pictures()
    kept = images.clone()
    ours = audit_discriminator(network, {"noise": images})
    assert torch.equal(images, kept)
    same(ours.sources["noise"].audit.energy, checkerboard_energy(gradient_of(network, images), 4).energy)


def test_each_resolution_and_the_culprits():
    network, images = layers().eval(), pictures()
    source = audit_discriminator(network, {"noise": images}, culprits=True).sources["noise"]
    assert [layer.layer for layer in source.resolutions] == ["0", "2"]
    assert [layer.size for layer in source.resolutions] == [(16, 16), (8, 8)]
    assert sorted(culprit.layer for culprit in source.audit.culprits) == ["0", "2"]
    first = network[1](network[0](images)).detach().requires_grad_()
    (inner,) = torch.autograd.grad(network[2:](first).mean((1, 2, 3)).sum(), first)
    assert source.resolutions[1].energy.value == pytest.approx(checkerboard_energy(inner, 2).energy[2].value, abs=1e-9)


class Projection(nn.Module):
    """A logit and the projection on a class: Miyato and Koyama 2018."""

    def __init__(self):
        super().__init__()
        self.features, self.linear, self.embedding = layers()[:5], nn.Linear(8, 1).double(), nn.Embedding(3, 8).double()

    def forward(self, x, y):
        pooled = self.features(x).sum((2, 3))
        return self.linear(pooled) + (self.embedding(y) * pooled).sum(1, keepdim=True)


def test_projection_discriminators():
    network, images = Projection().eval(), pictures()
    found = audit_discriminator(network, {"noise": images}, category=2).sources["noise"].audit
    plain = gradient_of(lambda x: network(x, torch.tensor([2])), images)
    same(found.energy, checkerboard_energy(plain, 4).energy)
    with pytest.raises(FeatvisError, match=r"called with \(x, y\); give --class"):
        audit_discriminator(network, {"noise": images})
    with pytest.raises(FeatvisError, match="takes no class"):
        audit_discriminator(layers(), {"noise": images}, category=2)
    with pytest.raises(FeatvisError, match="the network refuses"):
        audit_discriminator(network, {"noise": images}, category=7)


class Three(nn.Module):
    def forward(self, x, y, z):
        return x


def test_three_arguments_are_refused():
    with pytest.raises(FeatvisError, match="pictures, or pictures and a class"):
        conditioned(Three(), 1)


def minibatch_deviation(features):
    """Karras et al. 2018, section 3, one group."""
    deviation = (features.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(features), 1, *features.shape[2:])
    return torch.cat([features, deviation], 1)


MIXING = {
    "minibatch deviation": lambda: Function(
        lambda x, first, last: last(minibatch_deviation(first(x))),
        nn.Conv2d(3, 4, 3, 2, 1).double(),
        nn.Conv2d(5, 1, 3, 1, 1).double(),
    ),
    "batch norm without statistics": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4, track_running_stats=False), nn.Conv2d(4, 1, 3)
    ).double(),
}


@pytest.mark.parametrize("make", MIXING.values(), ids=MIXING)
def test_networks_that_mix_a_batch_are_given_pictures_one_by_one(make):
    torch.manual_seed(0)
    network, images = make().eval(), pictures()
    found = audit_discriminator(network, {"noise": images})
    assert any("each picture was given alone" in note for note in found.notes)
    assert found.settings["batch_size"] == 1
    same(found.sources["noise"].audit.energy, checkerboard_energy(gradient_of(network, images), 2).energy)


def test_networks_that_need_a_batch_are_refused():
    network = nn.Sequential(layers(), nn.Flatten(), nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 1))
    with pytest.raises(FeatvisError, match="Expected more than 1 value per channel"):
        audit_discriminator(network.double(), {"noise": pictures()})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 64])
def test_sizes_and_channels(channels, size):
    found = audit_discriminator(layers(channels), {"noise": pictures(8, channels, size)})
    assert found.sources["noise"].audit.total_stride == 4
    assert found.examples["noise"][1].shape == (channels, size, size)


def test_running_statistics_are_said():
    notes = audit_discriminator(layers().train(), {"noise": pictures()}).notes
    assert any("running statistics" in note for note in notes)


def test_logits_that_are_not_finite():
    network = Function(lambda x, net: net(x) / (x[:, :1, :1, :1] * 0), layers())
    with pytest.raises(FeatvisError, match="NaN or infinity for 8 of 8 noise pictures"):
        audit_discriminator(network, {"noise": pictures()})


@pytest.mark.parametrize(
    ("total", "size", "period", "said"),
    [
        (16, 64, 16, ""),
        (16, 32, 16, "only 2 periods"),
        (32, 32, 16, "fewer than two"),
        (4, 7, 2, "fewer"),
        (1, 5, 1, ""),
    ],
)
def test_which_periods_can_be_measured(total, size, period, said):
    found, notes = measurable(total, size)
    assert found == period
    assert said in " ".join(notes)
    assert bool(said) == bool(notes)


# Sources and ranges


def test_sources():
    real, made = pictures(6).float(), pictures(8, seed=1).float()
    sources = sources_of(real, made, (3, 16, 16), 5, (-1, 1), seed=0)
    assert {name: len(found) for name, found in sources.items()} == {"real": 6, "generated": 8, "mixed": 6, "noise": 5}
    share = (sources["mixed"] - made[:6]) / (real - made[:6])
    for one in share:
        assert 0 <= float(one.median()) <= 1
        torch.testing.assert_close(one, torch.full_like(one, float(one.median())), atol=1e-3, rtol=0)
    assert list(sources_of(None, None, (1, 8, 8), 3, (0, 1), 0)) == ["noise"]
    assert float(sources_of(None, None, (1, 8, 8), 3, (0, 1), 0)["noise"].min()) >= 0


@pytest.mark.parametrize(
    ("real", "limits", "said"),
    [
        (pictures(8).abs(), (-1, 1), "as in a range 0 to 1"),
        (255 * pictures(8).abs(), (0, 1), "outside the range 0 to 1"),
        (pictures(8), (0, 1), "outside the range 0 to 1"),
        (
            pictures(8, size=8),
            (-1, 1),
            "the real pictures are 3 x 8 x 8, but the discriminator is asked at 3 x 16 x 16",
        ),
    ],
)
def test_pictures_that_do_not_fit(real, limits, said):
    with pytest.raises(FeatvisError, match=said) as raised:
        sources_of(real, None, (3, 16, 16), 4, limits, 0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("low", "high", "limits"), [(-1, 1, (-1, 1)), (0, 1, (0, 1)), (-0.3, 0.2, (-1, 1))])
def test_ranges(low, high, limits):
    assert limits_of(torch.linspace(low, high, 9)) == limits


def test_a_range_beyond_both():
    with pytest.raises(FeatvisError, match="0 to 255; expected -1 to 1 or 0 to 1"):
        limits_of(torch.linspace(0, 255, 9))


# Generators


class Flat(nn.Module):
    """Latent values (B, z) to pictures; the class comes in front in the order of its layers."""

    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(3, 5), nn.Linear(7, 4 * 16)
        self.up = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, z):
        return torch.tanh(self.up(self.linear(z).view(-1, 4, 4, 4)))


def square():
    return nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(True), nn.ConvTranspose2d(8, 3, 4, 4), nn.Tanh()
    )


@pytest.mark.parametrize(("make", "shape"), [(Flat, (7,)), (square, (6, 1, 1))])
def test_latent_shapes(make, shape):
    assert latent_shape(Conditioned(make())) == shape


def test_what_makes_no_pictures():
    for network in (nn.Linear(3, 4), nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))):
        with pytest.raises(FeatvisError, match="makes no pictures"):
            latent_shape(Conditioned(network))


def test_samples():
    torch.manual_seed(0)
    network = square().train()
    before = fingerprint(network)
    made = samples_of(network, 9, "uniform", seed=3)
    assert torch.equal(made, samples_of(network, 9, "uniform", seed=3))
    assert not torch.equal(made, samples_of(network, 9, "uniform", seed=4))
    assert not torch.equal(made, samples_of(network, 9, "normal", seed=3))
    torch.testing.assert_close(made, sample(Conditioned(network), (6, 1, 1), "uniform", 9, 3, batch_size=2))
    latents = 2 * torch.rand((9, 6, 1, 1), generator=torch.Generator().manual_seed(3)) - 1
    torch.testing.assert_close(made, network.eval()(latents).detach())
    assert fingerprint(network.train()) == before
    with pytest.raises(FeatvisError, match="known: normal, uniform"):
        samples_of(network, 9, "cauchy")
    nn.init.constant_(network[0].weight, math.nan)
    with pytest.raises(FeatvisError, match="4 of 4 pictures of the generator hold NaN"):
        samples_of(network, 4)


def test_random_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(6, 8, 4)), *list(square())[1:])
    nn.init.normal_(network[1].running_mean)
    latents = torch.randn(16, 6, 1, 1)
    before, random = fingerprint(network), torch.random.get_rng_state()
    drawn = with_random_weights(Conditioned(network), latents, seed=1)
    assert fingerprint(network) == before
    assert torch.equal(torch.random.get_rng_state(), random)
    for name, parameter in drawn.network.named_parameters():
        assert name.startswith("1.") or not torch.equal(parameter, network.get_parameter(name)), name
    again = with_random_weights(Conditioned(network), latents, seed=1)
    assert torch.equal(drawn(latents), again(latents))
    normed = drawn.network[1](drawn.network[0](latents))
    torch.testing.assert_close(normed.mean((0, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    assert not any(part.training for part in drawn.modules())


def test_a_generator_is_audited():
    torch.manual_seed(0)
    network = square().eval()
    before = fingerprint(network)
    real = torch.rand(8, 3, 16, 16) * 2 - 1
    found = audit_generator(network, 64, real=real, period=4)
    assert list(found.pictures) == ["trained", "random weights", "real"]
    assert fingerprint(network) == before
    # Transposed convolutions 4 x 4 of stride 4: each phase has a weight of its own.
    assert found.pictures["trained"].raw.energy[4].value > 10 * found.pictures["trained"].raw.energy[4].error
    assert found.pictures["trained"].verdict.standing_out
    assert found.pictures["real"].verdict.standing_out == ()
    with pytest.raises(FeatvisError, match="the real pictures are 3 x 8 x 8, the generator makes 3 x 16 x 16"):
        audit_generator(network, 8, real=real[..., :8, :8])


def test_a_generator_that_has_collapsed_is_said():
    network = square()
    nn.init.zeros_(network[0].weight)
    nn.init.zeros_(network[0].bias)
    nn.init.ones_(network[1].bias)
    assert any("nearly the same" in note for note in audit_generator(network, 8, period=4).notes)


# Pictures


def test_high_pass_against_its_response():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    for across, down in ((0.5, 0.5), (0.25, 0), (0.125, 0.25), (0, 0)):
        wave = torch.cos(2 * math.pi * (across * columns + down * rows))[None, None].double()
        response = 1 - math.cos(math.pi * across) ** 2 * math.cos(math.pi * down) ** 2
        torch.testing.assert_close(
            high_pass(wave)[..., 2:-2, 2:-2], response * wave[..., 2:-2, 2:-2], atol=1e-6, rtol=0
        )


def test_radial_power():
    noise = torch.randn(400, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    power, seen = radial_power(noise)
    assert seen[1:].all()
    torch.testing.assert_close(power[2:] / 400, torch.ones(len(power) - 2).double(), atol=0.12, rtol=0)
    columns = torch.arange(32.0)
    wave = torch.cos(2 * math.pi * 0.25 * columns).expand(1, 1, 32, 32).double()
    power, _ = radial_power(wave)
    assert int(power.argmax()) == 8  # in rings of 1/32 cycle


def test_fine_detail_of_white_noise():
    noise = torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert fine_detail(measure_pictures(noise)) == pytest.approx(1 - math.pi / 16, abs=0.03)
    assert fine_detail(measure_pictures(noise.cumsum(-1).cumsum(-2))) < 0.1


def test_a_planted_checkerboard_has_its_energy():
    """White noise times 1 + a on half of the phases and 1 - a on the others: E = (2 a / (1 + a^2))^2."""
    noise = torch.randn(128, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    board = (1 - 2 * ((rows + columns) % 2)).double()
    found = measure_pictures(noise * (1 + 0.2 * board))
    value, error = found.raw.energy[2]
    assert abs(value - (0.4 / 1.04) ** 2) < 4 * error < 0.05
    assert measure_pictures(noise).verdict.standing_out == ()
    added = measure_pictures(noise + 0.5 * board)
    assert added.raw.signed_comb[2].value == pytest.approx(0.2, abs=0.02)


def test_flat_pictures_are_left_out():
    lively = pictures(6, 1, 16)
    found = measure_pictures(torch.cat([lively, torch.full((2, 1, 16, 16), 0.3).double()]))
    assert (found.pictures, found.flat) == (6, 2)
    assert any("2 flat pictures" in note for note in found.raw.notes)
    with pytest.raises(FeatvisError, match="none of 4 pictures has any detail"):
        measure_pictures(torch.zeros(4, 3, 16, 16))
    with pytest.raises(FeatvisError, match="8 x 8 pixels hold fewer than two periods of 8"):
        measure_pictures(torch.rand(4, 3, 8, 8))
    with pytest.raises(FeatvisError, match="NaN"):
        measure_pictures(torch.full((4, 3, 16, 16), math.nan))


BLOB = torch.exp(-((torch.arange(32.0, dtype=torch.float64) - 14) ** 2) / 30)
BLOB = 0.05 + BLOB[:, None] * BLOB
"""Content in the middle of every picture."""

NOISE = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def comb(period, strength):
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    return 1 + strength * ((rows % period == 0) & (columns % period == 0)).double()


def verdict_on(values, total_stride):
    surroundings = Surroundings(total_stride)
    for batch in values.split(24):
        surroundings.update(batch)
    return surroundings.verdict()


@pytest.mark.parametrize("longest", [4, 8, 16])
def test_content_in_the_same_place_does_not_stand_out(longest):
    assert verdict_on(NOISE * BLOB, longest).standing_out == ()


@pytest.mark.parametrize(("longest", "period"), [(2, 2), (4, 2), (16, 2), (4, 4), (16, 4), (16, 8)])
def test_a_planted_comb_stands_out(longest, period):
    assert max(verdict_on(NOISE * comb(period, 2.0), longest).standing_out) == period
    assert verdict_on(NOISE, longest).standing_out == ()


@pytest.mark.parametrize("longest", [2, 4, 16])
def test_a_planted_comb_stands_out_in_content_in_the_same_place(longest):
    """Content 6 pixels wide, which holds three periods of 2; of longer ones it holds too few to tell."""
    assert 2 in verdict_on(NOISE * BLOB * comb(2, 2.0), longest).standing_out


def test_a_comb_that_is_no_divisor_does_not_stand_out():
    for period in (3, 5, 7):
        assert verdict_on(NOISE * comb(period, 2.0), 8).standing_out == ()


@pytest.mark.parametrize("sort", ["white", "smooth layout"])
def test_false_alarms_are_as_rare_as_they_say(sort):
    """Chances are uniform where no grid is, and larger, never smaller, where power falls with frequency: 300 sets of 16 pictures."""
    found = {2: [], 4: []}
    for seed in range(300):
        random = torch.Generator().manual_seed(seed)
        layout = torch.ones(24, 24)
        if sort == "smooth layout":
            layout = torch.randn(5, 5, generator=random)[None, None]
            layout = F.interpolate(layout, size=24, mode="bicubic")[0, 0].exp()
        for period, chance in verdict_on(torch.randn(16, 1, 24, 24, generator=random) * layout, 4).chances.items():
            found[period].append(chance)
    for values in found.values():
        below = torch.tensor([sum(value <= level for value in values) for level in (0.01, 0.1)])
        # Binomial: 3 and 30 expected; more than 9 and 47 come by chance once in 1000.
        assert int(below[0]) <= 9
        assert int(below[1]) <= 47
        if sort == "white":
            assert int(below[1]) >= 13
            assert 0.43 < sum(values) / 300 < 0.57


@pytest.mark.parametrize(
    ("size", "total", "longest"),
    [(32, 16, 8), (32, 4, 4), (28, 4, 4), (16, 16, 4), (8, 4, 2), (7, 4, 1), (128, 16, 16)],
)
def test_what_pictures_are_large_enough_for(size, total, longest):
    verdict = verdict_on(torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(0)), total)
    assert verdict.longest == longest
    assert list(verdict.chances) == [period for period in (2, 4, 8, 16) if period <= longest]


def test_pictures_of_several_sizes():
    surroundings = Surroundings(8)
    surroundings.update(torch.randn(2, 1, 64, 64))
    assert surroundings.verdict().longest == 8
    surroundings.update(torch.randn(2, 3, 24, 40))
    assert surroundings.verdict().longest == 4
    assert Surroundings(8).verdict() == Verdict()


def test_a_picture_of_nothing_has_no_verdict():
    with pytest.raises(FeatvisError, match="nothing but zeros"):
        Surroundings(2).update(torch.zeros(1, 1, 16, 16))


def test_what_is_shown_and_written():
    verdict = Verdict(2, {2: 0.005})
    assert verdict.standing_out == (2,)
    assert verdict.content() == {"longest": 2, "chances": {"2": 0.005}}
    profile = torch.rand(4, 4, dtype=torch.float64)
    shown = torch.tensor(verdict.shown(profile.tolist()), dtype=torch.float64)
    torch.testing.assert_close(shown, (profile[:2, :2] + profile[:2, 2:] + profile[2:, :2] + profile[2:, 2:]) / 4)
    assert Verdict().shown([[1.0]]) == [[1.0]]


# Who teaches whom


def test_period_parts():
    profile = torch.rand(8, 8, dtype=torch.float64)
    parts = period_parts(profile)
    assert list(parts) == [2, 4, 8]
    torch.testing.assert_close(sum(parts.values()) + profile.mean(), profile)
    for period, part in parts.items():
        torch.testing.assert_close(part.roll(period, 0), part)
        torch.testing.assert_close(part.roll(period, 1), part)
    board = 1 - 2 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2).double()
    torch.testing.assert_close(period_parts(board)[2], board)


def test_agreement():
    profile = torch.rand(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for found in (agreement(profile, 3 * profile + 1), agreement(-profile, -profile)):
        assert {period: round(one.cosine, 9) for period, one in found.items()} == {2: 1, 4: 1}
        assert {period: one.chance for period, one in found.items()} == {2: 1 / 4, 4: 1 / 16}
    opposite = agreement(profile, -profile)
    assert {period: round(one.cosine, 9) for period, one in opposite.items()} == {2: -1, 4: -1}
    assert opposite[4].chance == 1
    assert agreement(profile, profile.roll(1, 0))[4].cosine < 0.99
    assert agreement(profile, torch.ones(4, 4)) == {}
    with pytest.raises(FeatvisError, match="expected"):
        agreement(profile, torch.ones(3, 3))


def followed(network):
    return neutral_pictures(GradientEngine(network.double(), "0"), (1, 16, 16), (-1, 1), 8, period=4, steps=20)


def test_free_pixels_take_the_comb_of_the_gradient():
    """A discriminator that reads one pixel in four moves no other; one that reads all alike leaves no comb."""
    torch.manual_seed(0)
    sparse = nn.Conv2d(1, 1, 1, 2, bias=False)
    nn.init.ones_(sparse.weight)
    found = followed(sparse)
    assert found.change.raw.signed_comb[2].value == pytest.approx(1, abs=1e-3)
    assert found.after.high_passed.signed_comb[2].value > 0.5
    assert abs(found.before.high_passed.signed_comb[2].value) < 0.05
    assert found.output_after > found.output_before + 0.1
    dense = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1))
    value, error = followed(dense).after.high_passed.signed_comb[2]
    assert abs(value) < 3 * error < 0.1


def test_flat_pictures_agree_with_nothing():
    flat = torch.full((8, 3, 16, 16), 0.3, dtype=torch.float64)
    found = audit_discriminator(nn.Sequential(nn.BatchNorm2d(3), layers()).double().eval(), {"generated": flat})
    assert found.agreements == {}
    some = torch.cat([flat[:2], pictures(6)])
    both = [audit_discriminator(layers().eval(), {"generated": made}).agreements["energy"] for made in (some, some[2:])]
    assert both[0].keys() == both[1].keys() == {2, 4}


def test_the_discriminator_says_who_teaches_whom():
    sources = {"generated": pictures(16), "noise": pictures(8, seed=1)}
    found = audit_discriminator(layers(), sources, neutral=(-1, 1))
    assert list(found.agreements) == ["energy", "signed"]
    assert list(found.agreements["energy"]) == [2, 4]
    assert found.neutral.steps == 200
    content = found.content()
    assert content["agreements"]["energy"]["2"].keys() == {"cosine", "chance"}
    assert content["neutral"]["change"]["high_passed"]["energy"].keys() == {"2", "4"}
    assert content["sources"]["noise"]["resolutions"][0]["layer"] == "0"


# TensorBoard


class Board:
    def __init__(self, log_dir):
        self.log_dir, self.scalars, self.images, self.closed = log_dir, {}, {}, False
        Board.last = self

    def add_scalar(self, name, value, step):
        self.scalars[name] = value, step

    def add_image(self, name, image, step, dataformats):
        self.images[name] = image.shape, image.dtype.name, step, dataformats

    def close(self):
        self.closed = True


def test_tensorboard(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Board))
    audit = measure_pictures(pictures()).raw
    write_board(tmp_path / "board", scalars_of("real", audit), {"figure": Figure(figsize=(2, 1), dpi=100)}, step=7)
    assert Board.last.scalars["real/energy/2"] == (audit.energy[2].value, 7)
    assert Board.last.scalars["real/control/3"] == (audit.controls[3].value, 7)
    assert Board.last.images["figure"] == ((100, 200, 3), "uint8", 7, "HWC")
    assert Board.last.closed
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(FeatvisError, match="pip install tensorboard"):
        write_board(tmp_path / "board", {})


# The faces


@needs_faces
def test_even_overlap_does_not_mean_even_gradients():
    discriminator, generator = FaceDiscriminator(), FaceGenerator()
    for network, name in ((discriminator, "discriminator"), (generator, "generator")):
        load_strictly(network, read_checkpoint(WEIGHTS / f"face_{name}.pt"), name)
    made = samples_of(generator, 512, "uniform")
    found = audit_discriminator(discriminator, {"generated": made}, batch_size=128)
    audit = found.sources["generated"].audit
    assert audit.energy[2].value == pytest.approx(0.006, abs=0.001)
    assert audit.energy[4].value == pytest.approx(0.014, abs=0.002)
    assert audit.controls[3].value < 0.001
    assert found.even_overlap
    assert found.sources["generated"].verdict.standing_out == (2, 4)
    assert found.sources["generated"].verdict.longest == 8
    assert isinstance(audit.energy[2], Estimate)
    assert F.mse_loss(made.mean(), torch.zeros(())) < 0.1
