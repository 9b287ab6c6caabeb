"""Weights that are visibly not independent: the closed form against random signs, layers that are and are not, and who says so."""

import json

import pytest
import torch
from click.testing import CliRunner
from helpers.networks import Function, fingerprint
from torch import nn

from featvis.commands.cli import main
from featvis.models.specs import load_model
from featvis.predict.independence import CERTAIN, alignment
from featvis.predict.prediction import HOLDS, predict

MEASURE = "measure with `featvis audit`"


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_random_signs_line_up_by_no_deviation_on_average_and_by_one_as_a_rule():
    weights = normal(12, 20).abs() ** 1.5
    signs = [torch.where(normal(12, 20, seed=seed) < 0, -1.0, 1.0) for seed in range(4000)]
    found = torch.tensor([alignment(weights * sign) for sign in signs])
    assert abs(float(found.mean())) < 0.06
    assert float(found.std()) == pytest.approx(1, abs=0.04)


def test_a_matrix_lines_up_as_its_transpose_has_it():
    lined = normal(12, 20) + 1
    assert alignment(lined) > CERTAIN
    assert alignment(lined.T) == pytest.approx(alignment(lined))
    assert alignment(100 * lined) == pytest.approx(alignment(lined))
    assert alignment(torch.eye(5, dtype=torch.float64)) == 0


def smooth(layer):
    """Neighbouring taps alike, as after training."""
    layer.weight.data = nn.functional.avg_pool2d(layer.weight.data, 3, 1, 1)
    return layer


def shared(layer):
    """Each row four times, as ICNR starts a sub-pixel convolution."""
    layer.weight.data = layer.weight.data[::4].repeat_interleave(4, 0)
    return layer


class Blur(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("taps", torch.ones(16, 1, 3, 3, dtype=torch.float64) / 9)

    def forward(self, images):
        return nn.functional.conv2d(images, self.taps, stride=2, groups=16)


def network(middle=None):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), middle or nn.ReLU(), nn.Conv2d(16, 16, 3)).double()


@pytest.mark.parametrize(
    ("middle", "found"),
    [
        (nn.ReLU(), ()),
        (nn.LayerNorm((16, 16, 16)), ()),
        (Blur(), ()),
        (nn.utils.parametrizations.orthogonal(nn.Conv2d(16, 16, 3)), ()),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 3)), ()),
        (nn.Sequential(nn.Conv2d(16, 16, 3, groups=16), nn.PReLU(16)), ()),
        (smooth(nn.Conv2d(16, 16, 3, 1, 1)), ("1",)),
        (nn.utils.parametrizations.weight_norm(smooth(nn.Conv2d(16, 16, 3, 1, 1))), ("1",)),
        (smooth(nn.Conv2d(16, 64, 3, 1, 1, groups=16)), ("1",)),
        (nn.Sequential(shared(nn.Conv2d(16, 64, 1)), nn.PixelShuffle(2)), ("1.0",)),
    ],
)
def test_layers(middle, found):
    whole = network(middle)
    if isinstance(middle, nn.Sequential) and found:
        whole[2] = nn.Conv2d(16, 16, 3).double()
    elif found and middle.out_channels == 64:
        whole[2] = nn.Conv2d(64, 16, 3).double()
    before = fingerprint(whole)
    result = predict(whole, (3, 32, 32))
    assert result.dependent == found
    assert any(MEASURE in note for note in result.notes) == bool(found)
    assert not predict(whole, (3, 32, 32), weights="uniform").dependent
    assert fingerprint(whole) == before


def test_a_layer_behind_the_score_does_not_count():
    whole = network()
    smooth(whole[2])
    assert predict(whole, (3, 32, 32)).dependent == ("2",)
    assert predict(whole, (3, 32, 32), layer="1").dependent == ()


@pytest.mark.parametrize("name", ["cifar-k3s2", "twin-shortcut-1x1", "discriminator-k3s2"])
def test_trained_networks_are_told_from_random_ones(name):
    for weights, told in (("DEFAULT", True), ("none", False)):
        model = load_model(f"zoo:{name}", weights=weights)
        assert bool(predict(model.module, model.input_size).dependent) == told


def test_what_a_prediction_holds_for_is_said_wherever_it_is_shown(tmp_path):
    smoothed = network(smooth(nn.Conv2d(16, 16, 3, 1, 1)))
    plain, doubtful = (predict(one, (3, 32, 32)) for one in (network(), smoothed))
    for one in (plain, doubtful):
        assert HOLDS in str(one)
        assert json.loads(one.to_json())["holds"] == HOLDS
    assert MEASURE not in str(plain)
    assert str(doubtful).splitlines()[0].endswith("featvis audit`.")
    assert json.loads(doubtful.to_json())["dependent"] == ["1"]
    page = tmp_path / "page.html"
    for weights, told in (("DEFAULT", True), ("none", False)):
        line = ["predict", "zoo:twin-k3s2", "--weights", weights, "--html", str(page)]
        said = CliRunner().invoke(main, line, catch_exceptions=False).output
        for text in (said, page.read_text(encoding="utf-8")):
            assert text.count(HOLDS) >= 2
            assert ("visibly not" in text and "featvis audit" in text) == told


def test_an_unknown_period_is_not_called_none():
    assert "No layer has a stride" in str(predict(nn.Sequential(nn.Conv2d(3, 4, 3)).double(), (3, 16, 16)))
    ordered = Function(lambda x, layer: layer(x.sort(-1)[0]), nn.Conv2d(3, 4, 3)).double()
    found = predict(ordered, (3, 16, 16), assume_identity=["sort"])
    assert str(found).startswith("The period is unknown: sort in the network itself.")
    assert found.unknown == ("sort in the network itself",)
    assert "the period is unknown" in found.notes[0]
