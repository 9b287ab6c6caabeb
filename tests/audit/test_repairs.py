import pytest
import torch
from helpers.networks import fingerprint, plain_gradient, strided
from torch import nn

from featvis.audit.drift import Drift
from featvis.audit.repairs import Measure, Repair, judge, measured_energy, repair, save_repair
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.sums import EnergySums
from featvis.models.checkpoints import read_checkpoint
from featvis.models.model import Model
from featvis.predict.prediction import predict

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_repair_leaves_the_model_alone_and_says_what_became_of_it():
    model = Model(strided(), "network")
    before = fingerprint(model.module)
    repaired = repair(model, ["smooth-hold", "even-kernel"], IMAGES)
    assert fingerprint(model.module) == before
    assert list(repaired.changes) == ["smooth-hold", "even-kernel"]
    assert [change.layer for change in repaired.changes["even-kernel"]] == ["0", "3"]
    with torch.no_grad():
        difference = repaired.model.module(IMAGES) - model.module(IMAGES)
    assert repaired.drift.rmse == pytest.approx(float(difference.square().mean().sqrt()))
    measured, expected = repaired.measures
    assert {period: estimate.value for period, estimate in expected.before.items()} == predict(
        model.module, (3, 32, 32)
    ).energy
    assert all(estimate.error is None for estimate in expected.after.values())
    assert measured.before == measured_energy(model.module, IMAGES)
    assert measured.after[4].error > 0


def test_the_measured_energy_is_that_of_plain_gradients():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = strided()

        def forward(self, images):
            return self.body(images).sum(1, keepdim=True)

    # One output with a random sign: the energy does not see the sign.
    network = Sum().eval()
    metric = EnergySums(4)
    metric.update(plain_gradient(network, IMAGES, 0))
    for period, estimate in metric.compute().energy.items():
        assert measured_energy(network, IMAGES)[period].value == pytest.approx(estimate.value, rel=1e-6)


def test_fixes_of_the_backward_pass_alone_are_not_predicted():
    (measure,) = repair(Model(strided(), "network"), ["backward-blur"], IMAGES).measures
    assert measure.what.startswith("measured energy of the input gradient")
    assert abs(measure.after[4].value) < 0.1 * measure.before[4].value


def test_outputs_of_an_upsampling_network_lose_their_pattern():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ConvTranspose2d(16, 3, 3, 2, 1, 1)).double().eval()
    images = torch.randn(8, 3, 128, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    measure = repair(Model(network, "network"), ["resize-nearest"], images).measures[-1]
    assert measure.what.startswith("measured energy of the outputs")
    assert measure.before[2].value > 0.1
    # The energy of one network's pictures; that of many networks would be even.
    assert measure.after[2].value < 0.5 * measure.before[2].value


def test_what_cannot_be_known_has_a_reason():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, images):
            return torch.special.i0(self.layer(images))

    expected = repair(Model(Odd().double(), "network"), ["blurpool"], IMAGES).measures[1]
    assert not expected.before
    assert "no rule for the operator 'i0'" in expected.reason


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (0.2, 0.1, "lowered"),
        (0.2, 0.19, "not lowered"),
        (0.2, 0.3, "raised"),
        (0, 0, "nothing to lower"),
        (0, 0.1, "raised"),
    ],
)
def test_judgement(before, after, word):
    found, reason = judge(strided(), before, Estimate(after - before, None))
    assert found == word
    assert (reason == "") == (word == "lowered")
    if before:
        assert not reason or "2 x convolution 3 stride 2" in reason
        assert "no window is uneven" in judge(nn.Sequential(), 0.2, Estimate(0.0, None))[1]


def test_a_change_within_its_error_is_none():
    assert judge(strided(), 0.2, Estimate(-0.1, 0.06)) == (
        "lower within the error",
        "the change is less than twice its error; more inputs would tell",
    )
    assert judge(strided(), 0.2, Estimate(0.1, 0.06))[0] == "not lowered"
    assert judge(strided(), 0, Estimate(0.1, 0.06))[0] == "nothing to lower"
    assert judge(strided(), -0.1, Estimate(-0.1, None))[0] == "nothing to lower"


def energies(before, after, error):
    change = Estimate(after - before, error)
    return {4: Estimate(before, error)}, {4: Estimate(after, error)}, {4: change}


@pytest.mark.parametrize(
    ("measured", "expected", "kind", "word", "contradicted"),
    [
        ((0.2, 0.1, 0.01), (0.2, 0.1, None), "measured", "lowered", ""),
        ((0.2, 0.1, 0.01), (0.2, 0.3, None), "measured", "lowered", "raised"),
        ((0.2, 0.3, 0.01), (0.2, 0.1, None), "measured", "raised", "lowered"),
        ((0.2, 0.1, 0.15), (0.2, 0.3, None), "expected", "raised", ""),
        ((0.0, 0.0, 0.01), (0.0, 0.0, None), "measured", "nothing to lower", ""),
    ],
)
def test_what_was_measured_counts_where_it_was_clear(measured, expected, kind, word, contradicted):
    measures = (
        Measure("measured", "gradient", "measured", *energies(*measured)),
        Measure("expected", "gradient", "expected", *energies(*expected)),
    )
    (found,) = Repair(Model(strided()), {}, Drift(None, None, 0.0, None), measures, (6, 3, 32, 32)).judgements()
    assert (found.measure.kind, found.period, found.word, found.contradicted) == (kind, 4, word, contradicted)


def test_the_change_is_paired():
    repaired = repair(Model(strided(), "network"), ["backward-blur"], IMAGES)
    (measure,) = repaired.measures
    for period in (2, 4):
        expected = measure.after[period].value - measure.before[period].value
        assert measure.change[period].value == pytest.approx(expected)
    (judgement,) = repaired.judgements()
    assert judgement.word == "lowered"


def test_weights_are_saved_with_their_fixes_also_where_layers_share_them(tmp_path):
    network = strided()
    network.twin = network[0]
    repaired = repair(Model(nn.Sequential(network[0], network[1]), "network"), ["blurpool"], IMAGES)
    repaired.model.module.twin = repaired.model.module[0]
    path = save_repair(repaired, tmp_path / "fixed.safetensors")
    state = read_checkpoint(path)
    assert torch.equal(state["twin.weight"], network[0].weight)
    assert set(state) == set(repaired.model.module.state_dict())


def test_no_images():
    with pytest.raises(FeatvisError, match=r"images of shape \(0, 3, 32, 32\)"):
        measured_energy(strided(), IMAGES[:0])
