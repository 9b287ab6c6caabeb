"""What the studies measure, held against cases that can be worked out."""

import math

import adversary
import audio
import overlap_training
import pooling_frequencies
import pytest
import resize_modes
import strong_colours
import torch
import trained_generators
from torch import nn

from featvis.measure.estimates import Estimate
from featvis.models.model import Model


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear_victim():
    """A linear classifier of two classes, and pictures that it classifies correctly."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    pictures = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        classes = network(pictures).argmax(1)
    return adversary.Victim(Model(network.eval()), pictures, classes), pictures, classes


def test_a_sparse_attack_on_a_linear_network_is_the_best_one():
    """There the gains of pixels add up, so the best attack takes the largest ones."""
    victim, pictures, classes = linear_victim()
    margins, gradient = victim.gradient(pictures, classes)
    gains = (gradient * (pictures - (gradient < 0).float())).sum(1).flatten(1).sort(1, descending=True)
    left = margins[:, None] - gains.values.cumsum(1)
    budget = 4
    expected = torch.where((left[:, :budget] < 0).any(1), (left < 0).float().argmax(1) + 1.0, torch.inf)
    needed, taken, drop = victim.sparse(pictures, classes, "gradient", budget)
    assert torch.equal(needed, expected)
    assert 0 < needed.isinf().sum() < len(needed)
    torch.testing.assert_close(drop, gains.values[:, 0], rtol=1e-4, atol=1e-5)
    changes = torch.where(needed.isinf(), budget, needed)
    for picture, count in enumerate(changes.int().tolist()):
        assert taken[picture, :count].tolist() == gains.indices[picture, :count].tolist()
        assert (taken[picture, count:] == -1).all()


def test_an_attack_on_a_quarter_stays_in_it():
    victim, pictures, classes = linear_victim()
    for which in ("best", "worst"):
        allowed = victim.phases(8, 16, which == "best").flatten()
        assert allowed.double().mean() == 0.25
        _, taken, _ = victim.sparse(pictures, classes, f"{which} quarter", 4)
        assert allowed[taken[taken >= 0]].all()


def test_participation_is_1_where_all_pixels_count_alike():
    one = torch.zeros(1, 3, 32, 32)
    one[0, 0, 3, 5] = 2
    assert adversary.participation(torch.ones(1, 3, 32, 32)).item() == pytest.approx(1)
    assert adversary.participation(one).item() == pytest.approx(1 / 1024)


def test_rank_correlation_and_how_often_chance_gives_as_much():
    rising = [1.0, 2.0, 3.0, 4.0]
    value, chance = adversary.rank_correlation(rising, [2.0, 3.0, 5.0, 9.0])
    assert value == pytest.approx(1)
    assert chance == pytest.approx(2 / 24, abs=0.01)
    assert adversary.rank_correlation(rising, [4.0, 3.0, 2.0, 1.0])[0] == pytest.approx(-1)


def test_what_is_measured_of_a_victim_comes_back_from_its_rows():
    found = {("E", 8): Estimate(0.1, 0.01), ("sign method, all", 0.5): Estimate(0.25, 0.03)}
    rows = adversary.rows_of(("k3s2", "trained"), found)
    assert adversary.networks_of(rows) == {("k3s2", "trained"): found}


@pytest.mark.parametrize(("period", "removed"), [(2, 0), (3, 0), (4, 0), (3, 15)])
def test_a_squared_comb_is_0_in_noise_and_itself_where_there_is_one(period, removed):
    patches = noise(4000, 1, 12, 12, seed=period)
    if removed:
        cell = strong_colours.fold(patches, 4, 4)
        patches = patches - cell.repeat(1, 1, 3, 3)
    found = strong_colours.squared_comb(patches, period, removed)
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5
    comb = noise(period, period, seed=9)
    comb -= comb.mean()
    combed = strong_colours.squared_comb(patches + comb.repeat(12 // period, 12 // period), period, removed)
    assert combed.mean().item() == pytest.approx(comb.square().mean().item(), rel=0.05)


def test_a_comb_that_grows_with_the_colour_is_found():
    random = torch.Generator().manual_seed(0)
    colour = torch.rand(256, 3, 1, 1, generator=random) * 1.2 - 0.6
    comb = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 16)
    pictures = colour + colour.square().mean(1, keepdim=True) * comb
    pictures += 0.02 * torch.randn(256, 3, 32, 32, generator=random)
    rows = strong_colours.rows_of("planted", "pictures", strong_colours.patches_of(pictures))
    by_class = [float(row["comb"]) for row in rows if row["period"] == "2"]
    assert by_class == sorted(by_class)
    assert by_class[-1] > 5 * by_class[0]
    assert float(rows[0]["correlation"]) > 0.8


@pytest.mark.parametrize(
    ("square", "error", "limit"), [(-0.96, 0.63, 1.2600), (0.5, 0.3, 1.1), (4.0, 0.5, None), (0.0, 0.01, 0.02)]
)
def test_a_comb_that_may_be_none_gets_a_limit(square, error, limit):
    """From the root that the table of results holds, not from the square."""
    root = math.copysign(math.sqrt(abs(square)), square)
    written = Estimate(root, error / max(2 * abs(root), math.sqrt(error)))
    found = strong_colours.upper_limit(written)
    assert found is None if limit is None else found == pytest.approx(math.sqrt(limit))


def test_the_spectrum_of_white_noise_is_flat():
    spectrum = pooling_frequencies.spectrum(noise(512, 3, 32, 32))
    assert spectrum.mean().item() == pytest.approx(1)
    assert spectrum.std().item() < 0.06


def test_layers_alone_pass_what_they_must():
    for name, share in {"max2": 0.75, "average": 0.331, "blur": 0.077}.items():
        found = pooling_frequencies.of_layer(pooling_frequencies.LAYERS[name])
        assert found.share.value == pytest.approx(share, abs=0.01)


def test_shuffles_keep_what_they_say():
    kernels = noise(5, 9)
    random = torch.Generator().manual_seed(0)
    positions = overlap_training.SHUFFLES["positions shuffled"](kernels, random)
    assert torch.equal(positions.sort(1).values, kernels.sort(1).values)
    assert not torch.equal(positions, kernels)
    mixed = overlap_training.SHUFFLES["kernels shuffled"](kernels, random)
    assert torch.equal(mixed.sort(0).values, kernels.sort(0).values)
    assert not torch.equal(mixed, kernels)


def test_shuffled_networks_have_batch_norms_of_their_own(monkeypatch):
    """With the statistics of the network that they come from, shuffled weights put all pictures into one class."""
    random = torch.Generator().manual_seed(0)
    inputs = [torch.randn(64, 3, 32, 32, generator=random)]
    network = overlap_training.network_at("k3s2", 0, None, 0, inputs)
    seen = []

    def watched(twin_network, twin, pictures):
        with torch.no_grad():
            features = twin_network.stem(inputs[0])
        seen.append(features)
        return [0.0] * 6

    monkeypatch.setattr(overlap_training, "measured", watched)
    change = overlap_training.SHUFFLES["kernels shuffled"]
    overlap_training.measured_shuffled(network, "k3s2", inputs[0], change, inputs)
    assert len(seen) == overlap_training.DRAWS
    for features in seen:
        # Rectified standard normal values: half are 0, and their mean square is a half.
        assert features.square().mean().item() == pytest.approx(0.5, rel=0.1)


def test_one_seed_has_the_error_over_pictures_and_several_their_own():
    rows = [{"measured": "0.1", "predicted": "0.2", "error": "0.01"}]
    assert overlap_training.estimate(rows, "measured") == (0.1, 0.01)
    assert overlap_training.estimate(rows, "predicted") == (0.2, None)
    rows.append({"measured": "0.3", "predicted": "0.2", "error": "0.01"})
    found = overlap_training.estimate(rows, "measured")
    assert found == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize("variant", ["deconv, uneven", "deconv, even", "subpixel", "nearest", "deconv, uneven + hold"])
def test_combs_of_random_audio_generators_are_the_closed_forms(monkeypatch, variant):
    monkeypatch.setattr(audio, "NETWORKS", 24)
    monkeypatch.setattr(audio, "LENGTH", 2048)
    family = audio.FAMILIES["by 2"]
    monkeypatch.setattr(audio, "CONTROLS", (296, 408))
    found = audio.measure(family, variant)
    wide, overlap = audio.wide_combs(family, variant), audio.overlap_energies(family, variant)
    for period in family.combs:
        # 1e-3: layers of 16 channels are not infinitely wide.
        assert abs(found.comb[period].value - wide[period]) < 4 * found.comb[period].error + 1e-3
        assert abs(found.energy[period].value - overlap[period]) < 4 * found.energy[period].error + 1e-3


def test_rectified_correlation_at_its_ends():
    """Independent values keep the square of their mean, 1/π of the mean square, equal ones all of it, opposite ones nothing."""
    assert audio.rectified(torch.tensor([0.0, 1.0, -1.0]).double().numpy()) == pytest.approx([1 / math.pi, 1, 0])


def test_a_line_is_found_and_noise_has_none():
    power = noise(16_385).square() + noise(16_385, seed=1).square()
    lines = torch.arange(16, 16_384, 16)
    # The mean of the logarithm of what is exponentially distributed, by Euler's constant; a little more is due to the neighbours.
    assert audio.line_level(power, lines) == pytest.approx(-10 / math.log(10) * 0.5772, abs=0.7)
    louder = power.clone()
    louder[lines] *= 100
    assert audio.line_level(louder, lines) == pytest.approx(audio.line_level(power, lines) + 20)


def test_weights_tell_the_training_that_they_come_from():
    weights = trained_generators.weights_of("nearest")
    assert trained_generators.steps_and_seed(weights) == (2000, 0)
    assert trained_generators.weights_of("none of these") is None


def test_random_generators_are_those_of_their_seed():
    one, same, other = (trained_generators.random("icnr", seed) for seed in (3, 3, 4))
    pictures = [trained_generators.pictures_of(network, 4) for network in (one, same, other)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


def test_a_quantity_of_no_generator_has_no_column():
    rows = resize_modes.rows_of("CIFAR-10", {"E(2)": resize_modes.Estimate(0.1, 0.01)})
    rows += resize_modes.rows_of("nearest", {"E(2)": resize_modes.Estimate(0.2, None), "at 0.5": (1, None)})
    lines = resize_modes.table(rows).splitlines()
    assert lines == [
        "| generator | E(2) |",
        "| --- | --- |",
        "| nearest | 0.2000 |",
        "| CIFAR-10 | 0.1000 ± 0.0100 |",
    ]
