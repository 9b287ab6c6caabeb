"""How far outputs lie from each other, held against torch's own distributions and brute force."""

import itertools

import pytest
import torch
from torch import Tensor

from featvis.audit.drift import Moments, OutputDrift, classes_of, random_crops, shift_consistency
from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws


def outputs(shape: tuple[int, ...] = (12, 7), seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_same_outputs_have_not_moved() -> None:
    drift = OutputDrift()
    drift.update(outputs(), outputs())
    found = drift.drift()
    assert found.agreement == (1.0, 0.0)
    assert found.divergence == (0.0, 0.0)
    assert (found.rmse, found.relative) == (0.0, 0.0)
    assert drift.accuracy.estimate() is None


def test_drift_is_what_other_formulas_give_in_any_batches() -> None:
    first, mine = outputs(), outputs(seed=1)
    right = [0, None, 3, *range(7), 1, 2]
    whole, parts = OutputDrift(), OutputDrift()
    whole.update(mine, first, right)
    for rows in (slice(0, 5), slice(5, 12)):
        parts.update(mine[rows], first[rows], right[rows])
    found = whole.drift()
    distributions = [torch.distributions.Categorical(logits=logits) for logits in (first, mine)]
    divergence = torch.distributions.kl_divergence(*distributions)
    assert found.divergence is not None
    assert found.divergence.value == pytest.approx(float(divergence.mean()))
    assert found.divergence.error == pytest.approx(float(divergence.std() / 12**0.5))
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(float((first.argmax(1) == mine.argmax(1)).double().mean()))
    assert found.rmse == pytest.approx(float(torch.nn.functional.mse_loss(mine, first).sqrt()))
    assert found.relative == pytest.approx(found.rmse / float(first.std(1, correction=0).square().mean().sqrt()))
    hits = [float(mine[row].argmax() == number) for row, number in enumerate(right) if number is not None]
    accuracy = whole.accuracy.estimate()
    assert accuracy is not None
    assert accuracy.value == pytest.approx(sum(hits) / len(hits))
    again = parts.drift()
    assert again.rmse == pytest.approx(found.rmse)
    assert again.divergence == pytest.approx(found.divergence)
    assert parts.accuracy.estimate() == pytest.approx(accuracy)


def test_a_constant_added_to_all_logits_moves_no_probability() -> None:
    drift = OutputDrift()
    drift.update(outputs() + 3, outputs())
    found = drift.drift()
    assert found.divergence is not None
    assert found.divergence.value == pytest.approx(0, abs=1e-12)
    assert found.rmse == pytest.approx(3)


def test_maps_count_by_their_mean_and_single_outputs_have_no_class() -> None:
    maps = outputs((5, 3, 4, 4))
    assert torch.equal(classes_of(maps), maps.mean((2, 3)).argmax(1))
    drift = OutputDrift()
    drift.update(outputs((5, 1)), outputs((5, 1), seed=1))
    found = drift.drift()
    assert (found.agreement, found.divergence) == (None, None)
    assert found.rmse > 0
    assert found.relative is None  # one output a picture does not deviate from its mean


def test_other_shapes_are_refused() -> None:
    with pytest.raises(FeatvisError, match=r"\(12, 6\).*\(12, 7\)"):
        OutputDrift().update(outputs((12, 6)), outputs())


def test_moments_of_nothing_are_none() -> None:
    assert Moments().estimate() is None


def test_consistency_is_the_share_of_equal_pairs() -> None:
    classes = torch.randint(0, 3, (5, 40), generator=torch.Generator().manual_seed(0))
    pairs = [(classes[a] == classes[b]).double() for a, b in itertools.combinations(range(5), 2)]
    assert torch.allclose(shift_consistency(classes), torch.stack(pairs).mean(0))
    assert shift_consistency(torch.zeros(4, 2)).tolist() == [1.0, 1.0]
    assert shift_consistency(torch.arange(4)[:, None]).tolist() == [0.0]


def test_crops_are_cut_from_their_pictures_and_belong_to_them() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    pixels = torch.stack([torch.stack([rows, columns, torch.full_like(rows, number)]) for number in range(6)])
    crops = random_crops(pixels, 4, 50, Draws(0, range(6)))
    assert crops.shape == (50, 6, 3, 8, 11)
    corners = crops[:, :, :2, 0, 0]
    assert {tuple(corner) for corner in corners.flatten(0, 1).int().tolist()} == set(
        itertools.product(range(5), range(5))
    )
    assert torch.equal(crops[..., 0, :, :] - crops[..., 0, :1, :1], rows[:8, :11].expand(50, 6, 8, 11))
    assert torch.equal(crops[0, :, 2, 0, 0], torch.arange(6.0))
    assert torch.equal(random_crops(pixels[4:], 4, 50, Draws(0, [4, 5])), crops[:, 4:])
