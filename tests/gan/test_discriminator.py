"""What a discriminator's gradients carry, against plain autograd and the closed forms; what it refuses and what it says."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.faces import WEIGHTS, FaceDiscriminator, FaceGenerator, needs_faces
from helpers.networks import Function, fingerprint
from helpers.pairs import layers, pictures
from torch import nn

from featvis.errors import FeatvisError
from featvis.gan import audit_discriminator, samples_of, sources_of
from featvis.gan.discriminator import LOGIT, measurable
from featvis.gan.networks import Conditioned, conditioned, without_sigmoid
from featvis.gan.neutral import Agreement
from featvis.measure.estimates import Estimate
from featvis.measure.sums import checkerboard_energy
from featvis.models.checkpoints import load_strictly, read_checkpoint


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
    ours = audit_discriminator(network, {"noise": pictures(256, 1, 32)}, replace(LOGIT, score="seeds"))
    value, error = ours.sources["noise"].audit.energy[2]
    assert abs(value - 0.2346) < 4 * error < 0.04
    assert not ours.even_overlap


def test_nothing_is_changed():
    network = layers().train()
    network[0] = nn.utils.parametrizations.spectral_norm(network[0])
    network[2] = nn.utils.spectral_norm(network[2])
    before, images = fingerprint(network), pictures()
    kept = images.clone()
    audit_discriminator(network, {"noise": images}, replace(LOGIT, culprits=True), neutral=(-1, 1))
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
    source = audit_discriminator(network, {"noise": images}, replace(LOGIT, culprits=True)).sources["noise"]
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
    made, gradients = found.examples["noise"]
    assert made.shape == gradients.shape == (8, channels, size, size)
    assert torch.equal(made, pictures(8, channels, size))


def test_examples_are_pictures_with_their_own_gradients():
    network, images = layers().eval(), pictures(12)
    made, gradients = audit_discriminator(network, {"noise": images}, replace(LOGIT, batch_size=3)).examples["noise"]
    assert torch.equal(made, images[:8])
    assert torch.allclose(gradients, gradient_of(network, images[:8]), rtol=1e-5, atol=1e-9)


def comb(gain):
    """A discriminator whose logit is a sum over the pixels' squares, those of one phase of 2 x 2 with this gain."""

    class Comb(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 12, 2, 2, bias=False)
            with torch.no_grad():
                self.convolution.weight.zero_()
                for number in range(12):
                    self.convolution.weight[number, number // 4, number % 4 // 2, number % 2] = 1
                self.convolution.weight[::4] *= gain

        def forward(self, x):
            return self.convolution(x).square().sum((1, 2, 3))

    return Comb()


def test_what_it_means_is_said_to_who_trains_the_pair():
    sources = {
        "real": pictures(32, size=32),
        "generated": pictures(32, seed=1, size=32),
        "noise": pictures(32, seed=2, size=32),
    }
    found = audit_discriminator(comb(2.0), sources)
    # A gain of 4 on amplitudes, 16 on energies: 16 : 1 : 1 : 1.
    expected = ((16 / 4.75 - 1) ** 2 + 3 * (1 / 4.75 - 1) ** 2) / 4
    assert found.finding.energy.value == pytest.approx(expected, rel=0.1)
    assert found.meaning.startswith(
        "The gradient that the generator learns from is stronger at some pixels of every 2 x 2 tile"
    )
    assert f"by {found.finding.energy.value**0.5:.0%} within" in found.meaning
    assert "stands out at real pictures and noise: the discriminator makes it" in found.meaning
    alone = replace(found, sources={**found.sources, "noise": audit_discriminator(comb(1.0), sources).sources["noise"]})
    assert "stands out at real pictures: the" in alone.meaning
    even = audit_discriminator(comb(1.0), sources)
    assert even.finding.period is None
    assert even.meaning == (
        "The gradient that the generator learns from favours no pixel of a 2 x 2 tile over the others, as far as this can tell."
    )
    assert audit_discriminator(comb(2.0), {"noise": sources["noise"]}).meaning.startswith(
        "The discriminator's gradient is"
    )
    assert even.taught == ""
    assert (found.content()["meaning"], found.content()["taught"]) == (found.meaning, found.taught)


@pytest.mark.parametrize(
    ("cosine", "chance", "said"),
    [
        (
            0.9,
            0.25,
            "has the gradient's pattern in the same place: in none of the 3 others it would agree as well, by chance one time in 4.",
        ),
        (
            -0.4,
            0.75,
            "does not have the gradient's pattern in the same place: in 2 of the 3 others it would agree as well.",
        ),
    ],
)
def test_who_teaches_whom_is_a_sentence(cosine, chance, said):
    found = audit_discriminator(comb(2.0), {"generated": pictures(32, size=32)})
    found = replace(found, agreements={"energy": {2: Agreement(cosine, chance)}})
    assert found.taught == f"The fine detail of the generated pictures {said}"


def test_running_statistics_are_said():
    notes = audit_discriminator(layers().train(), {"noise": pictures()}).notes
    assert any("running statistics" in note for note in notes)


def test_logits_that_are_not_finite():
    network = Function(lambda x, net: net(x) / (x[:, :1, :1, :1] * 0), layers())
    with pytest.raises(FeatvisError, match="NaN or infinity for 8 of 8 noise pictures"):
        audit_discriminator(network, {"noise": pictures()})


def test_waveforms_are_no_pictures():
    network = nn.Sequential(nn.Conv1d(1, 4, 4, 2, 1), nn.Conv1d(4, 1, 4, 2, 1))
    with pytest.raises(FeatvisError, match=r"real pictures of shape \(4, 1, 64\); expected \(N, C, H, W\)"):
        audit_discriminator(network, {"noise": pictures(), "real": torch.randn(4, 1, 64)})


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({}, "no source of pictures"),
        ({"real": pictures()[:0]}, r"real pictures of shape \(0, 3, 16, 16\); expected"),
        ({"real": pictures(), "noise": pictures().numpy()}, "noise pictures of type ndarray; expected a tensor"),
        ({"real": pictures().to("meta")}, "real pictures on the meta device"),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(sources, said):
    with pytest.raises(FeatvisError, match=said):
        audit_discriminator(layers(), sources)


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


# The faces


@needs_faces
def test_even_overlap_does_not_mean_even_gradients():
    discriminator, generator = FaceDiscriminator(), FaceGenerator()
    for network, name in ((discriminator, "discriminator"), (generator, "generator")):
        load_strictly(network, read_checkpoint(WEIGHTS / f"face_{name}.pt"), name)
    made = samples_of(generator, 512, "uniform")
    found = audit_discriminator(discriminator, {"generated": made}, replace(LOGIT, batch_size=128))
    audit = found.sources["generated"].audit
    assert audit.energy[2].value == pytest.approx(0.006, abs=0.001)
    assert audit.energy[4].value == pytest.approx(0.014, abs=0.002)
    assert audit.controls[3].value < 0.001
    assert found.even_overlap
    assert found.sources["generated"].verdict.standing_out == (2, 4)
    assert found.sources["generated"].verdict.longest == 8
    assert isinstance(audit.energy[2], Estimate)
    assert F.mse_loss(made.mean(), torch.zeros(())) < 0.1
