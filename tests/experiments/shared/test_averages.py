"""Errors of means, shares, differences and ratios are the spreads that they stand for."""

import math

import pytest
import torch
from shared.averages import difference_of, mean_of, rank_correlation, ratio_of, share_of


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def calibrated(found, expected):
    """Whether estimates lie about what they estimate, and their errors are their spread."""
    values, errors = (torch.tensor(column, dtype=torch.float64) for column in zip(*found, strict=True))
    assert values.mean().item() == pytest.approx(expected, abs=4 * values.std().item() / len(values) ** 0.5)
    assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.1)


def test_the_error_of_a_mean_is_its_spread():
    calibrated([mean_of(2 + noise(30, seed=seed)) for seed in range(400)], 2)
    assert mean_of([1.0, 3.0]) == pytest.approx((2, 1))


def test_the_error_of_a_share_is_its_spread():
    calibrated([share_of(noise(200, seed=seed) > 0.5) for seed in range(400)], 0.3085)


def test_the_error_of_a_difference_is_its_spread():
    found = []
    for seed in range(400):
        values = noise(200, seed=seed)
        found.append(difference_of(values > 0.5, values + 0.3 * noise(200, seed=1000 + seed) > 0.8))
    calibrated(found, 0.3085 - 0.2217)


def test_the_error_of_a_ratio_is_its_spread():
    found = []
    for seed in range(400):
        below = 3 + noise(200, seed=seed)
        found.append(ratio_of(0.5 * below + noise(200, seed=1000 + seed), below))
    calibrated(found, 0.5)


def test_none_of_a_few_is_not_certain():
    none = torch.zeros(250, dtype=torch.bool)
    assert share_of(none).value == 0
    assert share_of(~none).value == 1
    # Three in 250 at most, with 95 percent: twice the error is near that.
    assert 2 * share_of(none).error == pytest.approx(3 / 250 / 2, rel=0.2)
    assert difference_of(none, none).value == 0
    assert 0 < difference_of(none, none).error < 0.01


def test_the_difference_of_shares_is_paired():
    first = torch.arange(200) < 100
    assert difference_of(first, first).error < 0.01
    assert difference_of(first, ~first).error == pytest.approx(2 * math.sqrt(0.25 / 200), rel=0.02)


def test_rank_correlation_reads_the_order_alone():
    assert rank_correlation([1, 2, 3, 4], [0.1, 0.2, 30, 400]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], torch.tensor([2, 1, 4, 3])) == pytest.approx(0.6)
