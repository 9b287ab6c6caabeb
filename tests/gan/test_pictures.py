"""The checkerboard in pictures themselves: planted combs are found, content in one place is none."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.pairs import pictures

from featvis.errors import FeatvisError
from featvis.gan import Surroundings, Verdict, chances, high_pass, measure_pictures, radial_power
from featvis.gan.pictures import PictureMeter
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding


def test_high_pass_against_its_response():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    for across, down in ((0.5, 0.5), (0.25, 0), (0.125, 0.25), (0, 0)):
        wave = torch.cos(2 * math.pi * (across * columns + down * rows))[None, None].double()
        response = 1 - math.cos(math.pi * across) ** 2 * math.cos(math.pi * down) ** 2
        torch.testing.assert_close(
            high_pass(wave)[..., 2:-2, 2:-2], response * wave[..., 2:-2, 2:-2], atol=1e-6, rtol=0
        )


def test_radial_power():
    noise = torch.randn(400, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    power, seen = radial_power(noise)
    assert seen[1:].all()
    torch.testing.assert_close(power[2:] / 400, torch.ones(len(power) - 2).double(), atol=0.12, rtol=0)
    columns = torch.arange(32.0)
    wave = torch.cos(2 * math.pi * 0.25 * columns).expand(1, 1, 32, 32).double()
    power, _ = radial_power(wave)
    assert int(power.argmax()) == 8  # in rings of 1/32 cycle


def test_a_planted_checkerboard_has_its_energy():
    """White noise times 1 + a on half of the phases and 1 - a on the others: E = (2 a / (1 + a^2))^2."""
    noise = torch.randn(128, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    board = (1 - 2 * ((rows + columns) % 2)).double()
    found = measure_pictures(noise * (1 + 0.2 * board))
    value, error = found.raw.energy[2]
    assert abs(value - (0.4 / 1.04) ** 2) < 4 * error < 0.05
    assert measure_pictures(noise).verdict.standing_out == ()
    added = measure_pictures(noise + 0.5 * board)
    assert added.raw.signed_comb[2].value == pytest.approx(0.2, abs=0.02)


def test_flat_pictures_are_left_out():
    lively = pictures(6, 1, 16)
    found = measure_pictures(torch.cat([lively, torch.full((2, 1, 16, 16), 0.3).double()]))
    assert (found.pictures, found.flat) == (6, 2)
    assert any("2 flat pictures" in note for note in found.raw.notes)
    with pytest.raises(FeatvisError, match="none of 4 pictures has any detail"):
        measure_pictures(torch.zeros(4, 3, 16, 16))
    with pytest.raises(FeatvisError, match="8 x 8 pixels hold fewer than two periods of 8"):
        measure_pictures(torch.rand(4, 3, 8, 8))
    with pytest.raises(FeatvisError, match="NaN"):
        measure_pictures(torch.full((4, 3, 16, 16), math.nan))


def content(width):
    """Content around the same place of every picture, of this standard deviation in pixels."""
    line = torch.exp(-((torch.arange(32.0, dtype=torch.float64) - 14) ** 2) / (2 * width**2))
    return 0.05 + line[:, None] * line


BLOB = content(3.9)


NOISE = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def comb(period, strength):
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    return 1 + strength * ((rows % period == 0) & (columns % period == 0)).double()


def verdict_on(values, total_stride):
    surroundings = Surroundings(total_stride)
    for batch in values.split(24):
        surroundings.update(batch)
    return surroundings.verdict()


@pytest.mark.parametrize("longest", [4, 8, 16])
def test_content_in_the_same_place_does_not_stand_out(longest):
    assert verdict_on(NOISE * BLOB, longest).standing_out == ()


@pytest.mark.parametrize(("longest", "period"), [(2, 2), (4, 2), (16, 2), (4, 4), (16, 4), (16, 8)])
def test_a_planted_comb_stands_out(longest, period):
    assert max(verdict_on(NOISE * comb(period, 2.0), longest).standing_out) == period
    assert verdict_on(NOISE, longest).standing_out == ()


@pytest.mark.parametrize(("longest", "width"), [(2, 3.9), (4, 3.9), (8, 5), (16, 5)])
def test_a_planted_comb_stands_out_in_content_in_the_same_place(longest, width):
    """Narrower content widens the lines of a comb until they fill what is beside them; the longer a window, the sooner."""
    assert 2 in verdict_on(NOISE * content(width) * comb(2, 2.0), longest).standing_out
    assert verdict_on(NOISE * content(width), longest).standing_out == ()


@pytest.mark.parametrize("pattern", ["board", "rows", "columns", "pairs of rows"])
def test_a_single_harmonic_stands_out(pattern):
    """32 pictures of white noise times 1.5 and .5: in all of 10 sets, at its own period, and no other in more than one of them."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    places = {"board": (rows + columns) % 2, "rows": rows % 2, "columns": columns % 2, "pairs of rows": rows // 2 % 2}
    period, others = (4, {2, 8}) if pattern == "pairs of rows" else (2, {4, 8})
    found = []
    for seed in range(10):
        noise = torch.randn(32, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
        found += verdict_on(noise * (0.5 + places[pattern]), 8).standing_out
    assert found.count(period) == 10
    assert sum(found.count(other) for other in others) <= 1


def test_energy_that_is_exactly_even_or_exactly_a_grid():
    even, rows = torch.ones(16, 16), torch.tensor([[1.0], [3.0]]).repeat(8, 16)
    assert chances(even) == {2: 1.0, 4: 1.0}
    assert chances(rows)[2] < 1e-9
    assert chances(rows)[4] == 1.0


def test_a_comb_that_is_no_divisor_does_not_stand_out():
    for period in (3, 5, 7):
        assert verdict_on(NOISE * comb(period, 2.0), 8).standing_out == ()


@pytest.mark.parametrize("sort", ["white", "smooth layout"])
def test_false_alarms_are_as_rare_as_they_say(sort):
    """Chances are uniform where no grid is, and larger, never smaller, where power falls with frequency: 300 sets of 16 pictures."""
    found = {2: [], 4: []}
    for seed in range(300):
        random = torch.Generator().manual_seed(seed)
        layout = torch.ones(24, 24)
        if sort == "smooth layout":
            layout = torch.randn(5, 5, generator=random)[None, None]
            layout = F.interpolate(layout, size=24, mode="bicubic")[0, 0].exp()
        for period, chance in verdict_on(torch.randn(16, 1, 24, 24, generator=random) * layout, 4).chances.items():
            found[period].append(chance)
    for values in found.values():
        below = torch.tensor([sum(value <= level for value in values) for level in (0.01, 0.1)])
        # Binomial: 3 and 30 expected; more than 9 and 47 come by chance once in 1000.
        assert int(below[0]) <= 9
        assert int(below[1]) <= 47
        if sort == "white":
            assert int(below[1]) >= 13
            assert 0.43 < sum(values) / 300 < 0.57


@pytest.mark.parametrize(
    ("size", "total", "longest"),
    [(32, 16, 8), (32, 4, 4), (28, 4, 4), (16, 16, 4), (8, 4, 2), (7, 4, 1), (128, 16, 16)],
)
def test_what_pictures_are_large_enough_for(size, total, longest):
    verdict = verdict_on(torch.randn(4, 1, size, size, generator=torch.Generator().manual_seed(0)), total)
    assert verdict.longest == longest
    assert list(verdict.chances) == [period for period in (2, 4, 8, 16) if period <= longest]


def test_pictures_of_several_sizes():
    surroundings = Surroundings(8)
    surroundings.update(torch.randn(2, 1, 64, 64))
    assert surroundings.verdict().longest == 8
    surroundings.update(torch.randn(2, 3, 24, 40))
    assert surroundings.verdict().longest == 4
    assert Surroundings(8).verdict() == Verdict()


def test_a_picture_of_nothing_has_no_verdict():
    with pytest.raises(FeatvisError, match="nothing but zeros"):
        Surroundings(2).update(torch.zeros(1, 1, 16, 16))


def test_what_is_shown_and_written():
    verdict = Verdict(2, {2: 0.005})
    assert verdict.standing_out == (2,)
    assert verdict.content() == {"longest": 2, "chances": {"2": 0.005}}
    profile = torch.rand(4, 4, dtype=torch.float64)
    shown = torch.tensor(verdict.shown(profile.tolist()), dtype=torch.float64)
    torch.testing.assert_close(shown, (profile[:2, :2] + profile[:2, 2:] + profile[2:, :2] + profile[2:, 2:]) / 4)
    assert Verdict().shown([[1.0]]) == [[1.0]]


def test_the_height_of_a_comb_in_grey_levels():
    """Noise of root mean square a where rows and columns are even, and b elsewhere, is a - b high; one of fixed sign is its own height."""
    noise = torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sign()
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    comb = ((rows % 2 == 0) & (columns % 2 == 0)).double()
    meter = PictureMeter(2, span=255.0)
    meter.update(128 + 10 * noise * (1 + comb))
    found = meter.compute()
    detail = high_pass(128 + 10 * noise * (1 + comb))
    strength = [detail[..., row::2, column::2].square().mean().sqrt() for row in (0, 1) for column in (0, 1)]
    assert found.height == pytest.approx(float(max(strength) - min(strength)), rel=0.02)
    board = PictureMeter(2, span=255.0)
    board.update(128 + 0.1 * noise + 3 * (1 - 2 * ((rows + columns) % 2)))
    assert board.compute().height == pytest.approx(6, rel=0.01)


@pytest.mark.parametrize(("levels", "stands"), [(4.0, True), (0.2, False)])
def test_half_a_grey_level_is_no_checkerboard(levels, stands):
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    comb = ((rows % 2 == 0) & (columns % 2 == 0)).double()
    noise = torch.randn(32, 1, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    meter = PictureMeter(8)
    meter.update(0.5 + levels / 255 * noise * (0.5 + comb))
    finding = meter.compute().finding
    assert (finding.period is not None) == stands
    assert "of 255 grey levels high" in finding.sentence()


def test_an_energy_below_0_is_no_verdict():
    shown = measure_pictures(pictures(8).float()).high_passed
    below = replace(
        shown, exact_periods={2: Estimate(-0.01667, 0.03241), 4: Estimate(0.001, 0.01), 8: Estimate(0.0, 0.1)}
    )
    assert Finding.judged_beside(below, Verdict(8, {2: 0.001, 4: 0.001, 8: 0.5})).period is None
