"""Attacks, held against a network for which the best one is known."""

import adversary
import pytest
import torch
from torch import nn

from featvis.measure.estimates import Estimate
from featvis.models.model import Model


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
    value, chance = adversary.correlation_and_chance(rising, [2.0, 3.0, 5.0, 9.0])
    assert value == pytest.approx(1)
    assert chance == pytest.approx(2 / 24, abs=0.01)
    assert adversary.correlation_and_chance(rising, [4.0, 3.0, 2.0, 1.0])[0] == pytest.approx(-1)


def test_what_is_measured_of_a_victim_comes_back_from_its_rows():
    found = {("E", 8): Estimate(0.1, 0.01), ("sign method, all", 0.5): Estimate(0.25, 0.03)}
    rows = adversary.rows_of(("k3s2", "trained"), found)
    assert adversary.networks_of(rows) == {("k3s2", "trained"): found}
