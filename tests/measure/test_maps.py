"""Mean maps merge like sums, and what they show is held against the definition of E."""

import pytest
import torch
from helpers.bestiary import plain_energy
from helpers.energies import comb

from featvis.errors import FeatvisError
from featvis.measure.lines import find_combs
from featvis.measure.maps import MeanMaps, energy_of


def test_mean_maps_merge_by_addition_in_any_order():
    energy = comb(48, 48, 4, 4, 0.5, count=64)
    whole, parts = MeanMaps((48, 48)), [MeanMaps((48, 48)) for _ in range(2)]
    whole.update(energy, range(64))
    parts[0].update(energy[40:], range(40, 64))
    parts[1].update(energy[:40].flip(0), range(39, -1, -1))
    summed = MeanMaps((48, 48))
    summed.sums, summed.counts = parts[0].sums + parts[1].sums, parts[0].counts + parts[1].counts
    assert torch.allclose(summed.sums, whole.sums, rtol=1e-12)
    assert [found.period for found in summed.found()] == [(4, 4)]


@pytest.mark.parametrize("period", [(4, 4), (2, 3), (1, 6)])
def test_the_energy_of_a_period_by_axis_is_that_of_its_definition(period):
    maps = comb(60, 72, *period, 0.5, count=12).double()
    assert energy_of(maps, period).value == pytest.approx(plain_energy(maps, period), rel=1e-9)


def test_what_is_surely_too_faint_to_matter_is_left_out():
    maps = MeanMaps((192, 192))
    maps.update(comb(192, 192, 2, 2, 0.012, count=64), range(64))
    assert find_combs(maps.means())
    assert maps.found() == ()


def test_maps_of_another_size_are_refused():
    with pytest.raises(FeatvisError, match="measure pictures of one size"):
        MeanMaps((48, 48)).update(torch.ones(1, 48, 47), [0])


def test_too_few_replicates_have_no_energy():
    assert energy_of(torch.ones(1, 8, 8), (8, 8)) is None
    assert MeanMaps((48, 48)).found() == ()
