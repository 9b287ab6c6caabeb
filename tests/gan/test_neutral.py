"""Free pixels that follow a discriminator's gradient, and how far two pictures agree."""

import pytest
import torch
from helpers.pairs import layers, pictures
from torch import nn

from featvis.errors import FeatvisError
from featvis.gan import agreement, audit_discriminator, neutral_pictures, period_parts
from featvis.gradients.engine import GradientEngine


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
