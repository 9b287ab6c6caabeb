"""Maps from anywhere: their periods are found without a network, and E is that of the same maps as gradients."""

import numpy as np
import pytest
import torch
from helpers.energies import comb

from featvis.audit.maps import audit_maps
from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.measure.sums import checkerboard_energy


def maps_of(rows, columns, size=(96, 96), count=12, strength=0.5):
    return comb(*size, rows, columns, strength, count=count).sqrt().numpy()


@pytest.mark.parametrize("period", [(2, 2), (3, 3), (4, 4), (8, 8), (5, 1), (1, 6)])
def test_a_period_is_found_and_named_without_a_network(period):
    maps = maps_of(*period)
    audit = audit_maps([maps], layout="bhw")
    assert [found.period for found in audit.found] == [period]
    whole = max(period)
    assert audit.total_stride == whole
    assert audit.energy[whole] == pytest.approx(checkerboard_energy(maps, whole, "bhw").energy[whole])
    sentence = audit.finding.sentence()
    assert "layer" not in sentence
    assert "Try" not in sentence
    assert Audit.from_json(audit.to_json()).finding.sentence() == sentence


def test_noise_shows_none_and_says_how_much_it_may_be():
    audit = audit_maps(list(np.random.default_rng(0).normal(size=(8, 3, 64, 64))))
    assert (audit.found, audit.total_stride) == ((), 8)
    assert "not distinguishable from 0 with 8 maps (below" in audit.finding.sentence()


def test_maps_one_by_one_or_together_are_the_same():
    maps = maps_of(4, 4)
    assert audit_maps([maps], layout="bhw") == audit_maps(list(maps)) == audit_maps(list(torch.from_numpy(maps)))


def test_empty_maps_are_left_out_and_said():
    maps = maps_of(4, 4)
    audit = audit_maps([*maps, np.zeros((96, 96))])
    assert audit.pictures == 12
    assert audit.notes == ("1 map of nothing but zeros left out",)


def test_enlarged_maps_are_said_to_be_smooth():
    """As of a class activation map; a bilinear enlarging draws a grid of its own."""
    small = torch.rand(8, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    audit = audit_maps([large], period=4)
    assert "give the maps in the size that they were made in" in audit.notes[0]
    assert audit_maps([small], period=4).notes == ()


@pytest.mark.parametrize(
    ("maps", "options", "said"),
    [
        ([], {}, "no maps were given"),
        ([np.zeros((64, 64))], {}, "1 map of nothing but zeros"),
        ([np.ones((6, 6))], {}, "maps of 6 pixels hold no period four times"),
        ([np.ones((64, 64)), np.ones((64, 60))], {}, "b: 64 x 60 pixels, where others have 64 x 64"),
        ([np.full((64, 64), np.nan)], {}, "a: .*NaN or infinity"),
        ([np.random.default_rng(0).normal(size=(64, 64))], {"period": 32}, "a period of 32 does not fit four times"),
    ],
)
def test_what_cannot_be_measured(maps, options, said):
    with pytest.raises(FeatvisError, match=said):
        audit_maps(maps, names=["a", "b"], **options)
