from __future__ import annotations

import pytest
import torch
from helpers.networks import Function, fingerprint, strided
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.gradients.faithfulness import Faithfulness, blurred, pixel_ranks


def probe(weights: Tensor) -> nn.Module:
    """Two logits, the weighted sum of the pixels and its negative, so that the first class has probability sigmoid(2 sum)."""
    layer = nn.Linear(weights.numel(), 2, bias=False, dtype=weights.dtype)
    layer.weight.data = torch.stack((weights.flatten(), -weights.flatten()))
    return nn.Sequential(nn.Flatten(), layer)


def test_a_linear_network_has_the_curves_that_are_known() -> None:
    torch.manual_seed(0)
    weights = torch.rand(1, 8, 8, dtype=torch.float64)
    images = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    curves = Faithfulness(probe(weights), steps=4, batch_size=3)(images, weights.unsqueeze(0))
    largest = weights.flatten().sort(descending=True).values
    kept = torch.stack([largest[count:].sum() for count in (0, 4, 16, 36, 64)])
    torch.testing.assert_close(curves.fractions, torch.tensor([0, 4, 16, 36, 64], dtype=torch.float64) / 64)
    torch.testing.assert_close(curves.deletion[0], torch.sigmoid(2 * kept))
    # An even picture is its own blur: nothing comes that was not there.
    torch.testing.assert_close(curves.insertion[0], torch.sigmoid(2 * kept[:1]).expand(5))
    steps = curves.fractions.diff()
    halves = (curves.deletion[0, 1:] + curves.deletion[0, :-1]) / 2
    torch.testing.assert_close(curves.deletion_area[0], (steps * halves).sum())


def test_insertion_ends_where_deletion_starts() -> None:
    torch.manual_seed(0)
    network, images = strided(), torch.randn(3, 3, 32, 32, dtype=torch.float64)
    curves = Faithfulness(network)(images, torch.randn_like(images))
    chosen = network(images).softmax(1).amax(1)
    torch.testing.assert_close(curves.deletion[:, 0], chosen)
    torch.testing.assert_close(curves.insertion[:, -1], chosen)
    grey = network(torch.zeros_like(images)).softmax(1)[torch.arange(3), network(images).argmax(1)]
    torch.testing.assert_close(curves.deletion[:, -1], grey)
    start = network(blurred(images)).softmax(1)[torch.arange(3), network(images).argmax(1)]
    torch.testing.assert_close(curves.insertion[:, 0], start)


def test_the_truth_beats_chance_and_chance_its_opposite() -> None:
    torch.manual_seed(0)
    # Every pixel speaks for the class, some far more than others, and all of it goes where the picture is blurred.
    signs = 1 - 2 * (torch.arange(16).view(-1, 1) + torch.arange(16)).remainder(2).to(torch.float64)
    weights = signs * torch.randn(1, 16, 16, dtype=torch.float64).mul(2).exp()
    images = 0.003 * signs.expand(20, 1, 16, 16)
    measure = Faithfulness(probe(weights))
    orders = (weights.expand_as(images), torch.randn_like(images), 1 / weights.expand_as(images))
    truth, chance, opposite = (measure(images, order) for order in orders)
    assert truth.deletion[:, 0].amin() > 0.9
    assert bool((truth.deletion_area < chance.deletion_area).all())
    assert bool((chance.deletion_area < opposite.deletion_area).all())
    assert bool((truth.insertion_area > chance.insertion_area).all())
    assert bool((chance.insertion_area > opposite.insertion_area).all())


def test_batches_do_not_matter_and_the_network_stays() -> None:
    torch.manual_seed(0)
    network, images = strided().train(), torch.randn(5, 3, 16, 16, dtype=torch.float64)
    before, attributions = fingerprint(network), torch.randn_like(images)
    whole = Faithfulness(network, steps=6, batch_size=64)(images, attributions)
    parts = Faithfulness(network, steps=6, batch_size=4)
    torch.testing.assert_close(parts(images, attributions).deletion, whole.deletion)
    torch.testing.assert_close(parts(images[3:], attributions[3:]).insertion, whole.insertion[3:])
    assert fingerprint(network) == before


def test_signals() -> None:
    weights = torch.tensor([[1.0, 5.0, 2.0, 4.0]], dtype=torch.float64)
    curves = Faithfulness(probe(weights), steps=2)(torch.ones(1, 1, 4, dtype=torch.float64), weights.unsqueeze(0))
    torch.testing.assert_close(
        curves.deletion[0], torch.sigmoid(2 * torch.tensor([12.0, 7.0, 0.0], dtype=torch.float64))
    )


def test_ranks_count_channels_together_and_ties_row_by_row() -> None:
    attributions = torch.tensor([[[[3.0, 1.0], [1.0, -4.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    assert pixel_ranks(attributions).tolist() == [[[1, 2], [3, 0]]]


def test_blur_is_the_gaussian() -> None:
    image = torch.zeros(1, 1, 31, 31, dtype=torch.float64)
    image[..., 15, 15] = 1
    kernel = torch.exp(-torch.arange(-5, 6, dtype=torch.float64).square() / 50)
    kernel = kernel / kernel.sum()
    torch.testing.assert_close(blurred(image)[0, 0, 10:21, 10:21], torch.outer(kernel, kernel))
    ramp = torch.arange(40, dtype=torch.float64).expand(1, 2, 30, 40)
    torch.testing.assert_close(blurred(ramp)[..., 5:-5], ramp[..., 5:-5])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images: images[:, :, 1:], "give one for each value"),
        (lambda images: images * torch.nan, "NaN or infinity"),
    ],
)
def test_attributions_that_do_not_fit(change: object, said: str) -> None:
    images = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    with pytest.raises(FeatvisError, match=said):
        Faithfulness(strided())(images, change(images))  # type: ignore[operator]


def test_what_has_no_classes_or_no_steps_is_refused() -> None:
    images = torch.randn(1, 3, 16, 16)
    with pytest.raises(FeatvisError, match="one logit for each class"):
        Faithfulness(Function(lambda pixels: pixels))(images, images)
    with pytest.raises(FeatvisError, match="0 steps"):
        Faithfulness(strided(), steps=0)
