"""A generator's pictures beside those of random weights and real ones."""

import math

import pytest
import torch
from helpers.networks import fingerprint
from helpers.pairs import square
from torch import nn

from featvis.errors import FeatvisError
from featvis.gan import audit_generator, fine_detail, limits_of, measure_pictures


@pytest.mark.parametrize(("low", "high", "limits"), [(-1, 1, (-1, 1)), (0, 1, (0, 1)), (-0.3, 0.2, (-1, 1))])
def test_ranges(low, high, limits):
    assert limits_of(torch.linspace(low, high, 9)) == limits


def test_a_range_beyond_both():
    with pytest.raises(FeatvisError, match="0 to 255; expected -1 to 1 or 0 to 1"):
        limits_of(torch.linspace(0, 255, 9))


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


def test_fine_detail_of_white_noise():
    noise = torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert fine_detail(measure_pictures(noise)) == pytest.approx(1 - math.pi / 16, abs=0.03)
    assert fine_detail(measure_pictures(noise.cumsum(-1).cumsum(-2))) < 0.1
