"""Combs by colour, held against planted ones."""

import math

import pytest
import strong_colours
import torch

from featvis.measure.estimates import Estimate


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("period", "removed"), [(2, 0), (3, 0), (4, 0), (3, 15)])
def test_a_squared_comb_is_0_in_noise_and_itself_where_there_is_one(period, removed):
    patches = noise(4000, 1, 12, 12, seed=period)
    if removed:
        cell = strong_colours.fold(patches, 4, 4)
        patches = patches - cell.repeat(1, 1, 3, 3)
    found = strong_colours.squared_comb(patches, period, removed)
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5
    comb = noise(period, period, seed=9)
    comb -= comb.mean()
    combed = strong_colours.squared_comb(patches + comb.repeat(12 // period, 12 // period), period, removed)
    assert combed.mean().item() == pytest.approx(comb.square().mean().item(), rel=0.05)


def test_a_comb_that_grows_with_the_colour_is_found():
    random = torch.Generator().manual_seed(0)
    colour = torch.rand(256, 3, 1, 1, generator=random) * 1.2 - 0.6
    comb = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 16)
    pictures = colour + colour.square().mean(1, keepdim=True) * comb
    pictures += 0.02 * torch.randn(256, 3, 32, 32, generator=random)
    rows = strong_colours.rows_of("planted", "pictures", strong_colours.patches_of(pictures))
    by_class = [float(row["comb"]) for row in rows if row["period"] == "2"]
    assert by_class == sorted(by_class)
    assert by_class[-1] > 5 * by_class[0]
    assert float(rows[0]["correlation"]) > 0.8


@pytest.mark.parametrize(
    ("square", "error", "limit"), [(-0.96, 0.63, 1.2600), (0.5, 0.3, 1.1), (4.0, 0.5, None), (0.0, 0.01, 0.02)]
)
def test_a_comb_that_may_be_none_gets_a_limit(square, error, limit):
    """From the root that the table of results holds, not from the square."""
    root = math.copysign(math.sqrt(abs(square)), square)
    written = Estimate(root, error / max(2 * abs(root), math.sqrt(error)))
    found = strong_colours.upper_limit(written)
    assert found is None if limit is None else found == pytest.approx(math.sqrt(limit))
