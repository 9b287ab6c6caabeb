"""How many pictures fit, and what happens where they do not."""

import pytest
import torch

from featvis.audit.memory import Halving, fitting_batch, free_memory, kept_bytes
from featvis.errors import FeatvisError


def test_kept_bytes_of_a_known_computation():
    values = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    # The square keeps its input, the exponential its output, the sum nothing.
    assert kept_bytes(lambda: values.square().exp().sum()) == 2 * 8000


@pytest.mark.parametrize(
    ("kept", "free", "enough", "size"),
    [
        (100, 800, None, 2),
        (100, 799, None, 1),
        (100, 10**9, None, 256),
        (100, 10**9, 1600, 8),
        (10**9, 10**6, None, 1),
    ],
)
def test_the_largest_power_of_two_that_fits(kept, free, enough, size):
    assert fitting_batch(kept, free, enough) == size


def test_free_memory_is_plausible():
    assert 2**26 < free_memory(torch.device("cpu")) < 2**46


def limited(most, calls):
    """Doubles pictures, at most so many at a time."""

    def double(images, numbers):
        calls.append(len(images))
        if len(images) > most:
            raise torch.OutOfMemoryError("planted")
        assert images.flatten().tolist() == numbers
        return 2 * images

    return double


def test_a_batch_is_halved_until_it_fits_and_later_ones_start_there():
    halving, calls = Halving(), []
    images = torch.arange(10.0).view(10, 1)
    for _ in range(2):
        result = halving(limited(3, calls), images, [int(value) for value in images])
        assert torch.equal(result, 2 * images)
    assert calls == [10, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert halving.notes == [
        "memory ran out with 10 pictures at a time; went on with 5",
        "memory ran out with 5 pictures at a time; went on with 2",
    ]


def test_the_allocators_own_error_is_understood():
    def huge(images, numbers):
        return torch.empty(2**60) if len(images) > 1 else images

    assert len(Halving()(huge, torch.zeros(4, 1), range(4))) == 4


def test_one_picture_that_does_not_fit_is_one_line():
    with pytest.raises(FeatvisError, match=r"one picture of 3x8x8 does not fit into memory; give a smaller --size"):
        Halving()(limited(0, []), torch.zeros(2, 3, 8, 8), range(2))


def test_other_errors_pass():
    def broken(images, numbers):
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        Halving()(broken, torch.zeros(2, 1), range(2))
