"""Periods found in energy maps: every network of the bestiary shows its own, and nothing shows none."""

import pytest
import torch
import torch.nn.functional as F
from helpers.bestiary import BESTIARY, built, energy_maps, plain_energy
from helpers.energies import comb, white
from torch import nn

from featvis.measure.lines import RESOLUTION, find_combs, likeliest_periods
from featvis.measure.planes import FEWEST_MAPS

LEAST = 0.01
"""The least E whose period must be found with 32 pictures."""


@pytest.mark.parametrize("name", BESTIARY)
def test_each_network_shows_its_period(name):
    """With 32 pictures; where a quarter of them is enough, no more are asked for."""
    beast = BESTIARY[name]
    network = built(beast)
    few = [comb.period for comb in find_combs(energy_maps(network, beast.shape, pictures=FEWEST_MAPS))]
    if beast.period not in (None, (1, 1)) and beast.period in few:
        return
    maps = energy_maps(network, beast.shape)
    found = [comb.period for comb in find_combs(maps)]
    if beast.period is None:
        assert found == [None], "it drifts"
    elif beast.period == (1, 1):
        assert found == []
    elif plain_energy(maps, beast.period) >= LEAST:
        assert beast.period in found


def natural(count, height, width, seed=0):
    """Energies with a 1/f spectrum and a bright centre, the same in all pictures."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    spectrum = torch.fft.rfft2(torch.randn(count, height, width, generator=generator))
    spectrum /= (rows.square() + columns.square()).sqrt().clamp_min(1 / max(height, width))
    texture = torch.fft.irfft2(spectrum, s=(height, width))
    down, across = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    centre = 0.2 + 3 * torch.exp(-2 * (down.square() + across.square()))
    return (texture / texture.std((1, 2), keepdim=True)).exp() * centre * white(count, height, width, seed + 1)


@pytest.mark.parametrize("energies", [white, natural])
@pytest.mark.parametrize("count", [4, 8, 32])
def test_false_alarms_are_rare(energies, count):
    """Twenty of each: were one in a hundred false, one in 800 such tests would see three. Of 1,000 each: experiments/found_periods.py."""
    alarms = [bool(find_combs(energies(count, 64, 80, 100 * seed))) for seed in range(20)]
    assert sum(alarms) < 3


@pytest.mark.parametrize("own", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("smooth", [0, 1, 3])
def test_a_pattern_that_all_pictures_share_is_no_grid(own, smooth):
    """As behind a network whose gradient hardly depends on the picture; own: what each picture adds, beside it."""
    generator = torch.Generator().manual_seed(0)

    def fields(count):
        field = torch.randn(count, 1, 72, 72, generator=generator)
        for _ in range(smooth):
            field = F.avg_pool2d(field, 3, 1, 1)
        return (field / field.std())[:, 0, 4:-4, 4:-4]

    alarms = [bool(find_combs((fields(1) + own * fields(24)).square())) for _ in range(20)]
    assert sum(alarms) < 3


def test_a_linear_network_shows_no_grid_of_chance():
    """All pictures have one gradient: that of its weights."""
    alarms = []
    for seed in range(20):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Flatten(),
            nn.LazyLinear(1),
        )
        pictures = (0.05 * torch.randn(16, 3, 32, 32) + torch.randn(3, 1, 1)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(pictures).sum(), pictures)
        alarms.append(bool(find_combs(gradient.square().sum(1))))
    assert sum(alarms) < 3


@pytest.mark.parametrize("period", [(2, 2), (3, 3), (4, 4), (5, 5), (7, 7), (1, 6), (12, 1), (4, 8), (16, 16), (9, 2)])
def test_a_planted_comb_is_found_by_axis(period):
    (found,) = find_combs(comb(96, 112, *period, 0.3))
    assert found.period == period
    assert found.chance < 0.01


def test_one_picture_is_enough_where_its_tiles_agree():
    (found,) = find_combs(comb(224, 224, 4, 4, 0.5, count=1))
    assert found.period == (4, 4)


def test_signals():
    maps = white(32, 1, 4000) * (1 + 0.2 * torch.cos(2 * torch.pi * torch.arange(4000) / 27))
    assert [found.period for found in find_combs(maps)] == [(1, 27)]


def test_a_grid_that_drifts_is_no_whole_period():
    phase = torch.arange(224) * (111 / 223)
    maps = (
        white(32, 224, 224)
        * (1 + 0.4 * torch.cos(2 * torch.pi * phase))
        * (1 + 0.4 * torch.cos(2 * torch.pi * phase))[:, None]
    )
    (found,) = find_combs(maps)
    assert found.period is None
    assert max(map(abs, found.frequency)) == pytest.approx(111 / 223, abs=RESOLUTION / 192)


@pytest.mark.parametrize(("into", "of"), [(41, 96), (53, 128), (47, 112)])
def test_a_strong_grid_near_a_long_period_drifts_all_the_same(into, of):
    """Of a small picture every frequency lies within a quarter of a cycle of some period's harmonic; a strong line is known better."""
    wave = 1 + 0.5 * torch.cos(2 * torch.pi * torch.arange(of) * (into / of))
    (found,) = find_combs(white(32, of, of) * wave)
    assert found.period is None
    assert abs(found.frequency[1]) == pytest.approx(into / of, abs=0.1 / of)


def test_a_faint_grid_of_few_pictures_does_not_drift():
    """Their textures spread its lines by up to a third of a cycle over the map."""
    wave = 1 + 0.2 * torch.cos(2 * torch.pi * torch.arange(224) / 8)
    for seed in range(10):
        periods = [comb.period for comb in find_combs(natural(8, 224, 224, 7 * seed) * wave[:, None] * wave)]
        assert periods == [(8, 8)]


def test_a_faint_line_beside_a_harmonic_is_no_comb_of_its_own():
    """A third of a cycle off period 16, where 2 / 31 lies nearer."""
    rows, columns = torch.arange(208)[:, None], torch.arange(208)
    strong = torch.cos(2 * torch.pi * columns / 16) + torch.cos(2 * torch.pi * rows / 16)
    faint = torch.cos(2 * torch.pi * (rows * (2 / 31) + columns / 16))
    found = find_combs(white(32, 208, 208) * (1 + 0.2 * strong + 0.05 * faint))
    assert [comb.period for comb in found] == [(16, 16)]


@pytest.mark.parametrize("period", [2, 4, 5])
def test_a_strong_grid_under_an_envelope_does_not_drift(period):
    """More energy in the middle spreads a line to both sides alike; at half a cycle per pixel these are one and the same."""
    rows = torch.arange(208)[:, None]
    envelope = torch.exp(-((rows - 104) / 50.0).square())
    found = find_combs(white(32, 208, 208) * envelope * (1 + 0.9 * torch.cos(2 * torch.pi * rows / period)))
    assert [comb.period for comb in found] == [(period, 1)]


def test_what_is_strongest_comes_first():
    places = torch.arange(112)
    drifting = torch.cos(2 * torch.pi * places * (47 / 112))
    whole = torch.cos(2 * torch.pi * places / 4)
    for weak, strong, order in ((whole, drifting, [None, (1, 4)]), (drifting, whole, [(1, 4), None])):
        found = find_combs(white(32, 112, 112) * (1 + 0.15 * weak + 0.5 * strong))
        assert [comb.period for comb in found] == order


@pytest.mark.parametrize(
    ("frequency", "period"),
    [(0.25, 4), (0.5, 2), (1 / 3, 3), (-0.2, 5), (0, 1), (0.4975, None), (3 / 7, 7), (1 / 32, 32), (0.0314, 32)],
)
def test_whole_periods(frequency, period):
    assert likeliest_periods([(frequency, RESOLUTION)], 192) == [period]


@pytest.mark.parametrize("period", [23, 27, 31, 32])
def test_faint_harmonics_of_a_long_period_are_of_no_other_one(period):
    """Of 1/32 and 1/31 the frequencies lie .19 of a cycle apart; most harmonics of the comb tell which it is."""
    profile = 1 + 0.8 * torch.randn(period, period, generator=torch.Generator().manual_seed(3)).abs()
    repeats = -(-208 // period)
    found = find_combs(white(8, 208, 208) * profile.tile(repeats, repeats)[:208, :208])
    assert [comb.period for comb in found] == [(period, period)]


def test_too_small_maps_show_nothing():
    assert find_combs(white(32, 6, 6)) == ()
    assert find_combs(white(1, 12, 12)) == ()
