from __future__ import annotations

import math

import pytest
import torch
from helpers.energies import noise
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.periods import periods_of
from featvis.measure.phases import expected_profile, fold, interior, laid_out, period_parts, phase_profile, shrunk


def test_interior_leaves_out_the_border_where_the_picture_is_large_enough() -> None:
    assert interior(224, 32) == slice(32, 192)
    assert interior(230, 32) == slice(32, 192)
    assert interior(32, 8) == slice(8, 24)
    assert interior(31, 8) == slice(0, 24)


def test_fold_is_the_mean_of_each_phase() -> None:
    values = torch.arange(2.0 * 7 * 9).view(2, 7, 9)
    folded = fold(values, 3, 2)
    for row in range(3):
        for column in range(2):
            assert torch.allclose(folded[:, row, column], values[:, :6, :8][:, row::3, column::2].mean((1, 2)))


def test_phase_profile_recovers_a_constructed_one() -> None:
    profile = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert torch.allclose(phase_profile(profile.repeat(5, 7)[None], 2)[0], profile / profile.mean())


@pytest.mark.parametrize("bad", [torch.zeros(1, 4, 4), torch.full((1, 4, 4), math.nan), torch.ones(1, 1, 4)])
def test_phase_profile_refuses_what_has_none(bad: Tensor) -> None:
    with pytest.raises(FeatvisError):
        phase_profile(bad, 2)


def test_a_profile_is_laid_out_from_the_first_pixel() -> None:
    profile = noise(2, 2, 3)
    laid = laid_out(profile, 5, 7)
    assert laid.shape == (2, 5, 7)
    assert all(
        torch.equal(laid[:, row, column], profile[:, row % 2, column % 3]) for row in range(5) for column in range(7)
    )


@pytest.mark.parametrize(("rows", "columns"), [(12, 12), (1, 12), (4, 6), (1, 1)])
def test_parts_are_the_harmonics_of_their_period_and_add_up(rows: int, columns: int) -> None:
    profile = 1 + noise(2, rows, columns)
    parts = period_parts(profile)
    assert list(parts) == periods_of(math.lcm(rows, columns))
    whole = sum(parts.values()) + profile.mean((1, 2), keepdim=True)
    assert torch.allclose(whole.expand_as(profile), profile, atol=1e-12)
    spectrum = torch.fft.fft2(profile)
    for period, part in parts.items():
        # A harmonic (m / rows, n / columns) repeats after the least common multiple of both denominators.
        held = [
            [math.lcm(rows // math.gcd(m, rows), columns // math.gcd(n, columns)) == period for n in range(columns)]
            for m in range(rows)
        ]
        expected = torch.fft.ifft2(torch.where(torch.tensor(held), spectrum, 0)).real
        assert torch.allclose(part, expected, atol=1e-12), period


def test_shrinking_keeps_what_is_there_and_drops_the_noise() -> None:
    profile = 1 + 0.1 * noise(4, 4)
    parts = period_parts(profile)
    plain = {period: part.square().mean() for period, part in parts.items()}
    assert torch.allclose(shrunk(parts, plain), profile - profile.mean())
    assert torch.allclose(shrunk(parts, {2: float(plain[2]) / 4, 4: -1.0}), parts[2] / 4)
    assert torch.equal(shrunk(parts, {}), torch.zeros_like(profile))
    assert torch.equal(shrunk(period_parts(torch.ones(2, 2)), {2: 1.0}), torch.zeros(2, 2))
    channels = period_parts(torch.stack((profile, profile)))
    assert torch.allclose(shrunk(channels, {2: torch.stack((plain[2], 0 * plain[2]))})[1], torch.zeros(4, 4).double())


def test_an_expected_profile_takes_numbers_and_is_not_negative() -> None:
    rows = [[0.2, 0.6], [1.2, 2.0]]
    plain = float((torch.tensor(rows, dtype=torch.float64) - 1).square().mean())
    assert torch.allclose(expected_profile(rows, {2: Estimate(plain, None)}), torch.tensor(rows, dtype=torch.float64))
    half = expected_profile(rows, {2: Estimate(plain / 2, None)})
    assert torch.allclose(half - 1, (torch.tensor(rows, dtype=torch.float64) - 1) / 2)
    assert torch.equal(expected_profile([[1.0]], {}), torch.ones(1, 1).double())
    assert float(expected_profile([[3.5, 0.5], [0.0, 0.0]], {2: Estimate(9.0, None)}).amin()) == 0
