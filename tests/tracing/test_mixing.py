"""What computes over windows lies at the mean of what it reads: held against the derivative of each operation."""

import pytest
import torch
import torch.nn.functional as F
from helpers.places import agree, told

MIXES = {
    "pool": lambda x: F.avg_pool2d(x, 3, 2),
    "pool by axis": lambda x: F.avg_pool2d(x, (2, 3), (2, 1)),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "convolution": lambda x: F.conv2d(x, torch.ones(4, 2, 3, 3, dtype=x.dtype), stride=(2, 3)),
    "dilated": lambda x: F.conv2d(x, torch.ones(4, 2, 3, 2, dtype=x.dtype), dilation=(1, 4)),
    "mean": lambda x: x.mean(2),
    "sum": lambda x: x.sum((2, 3), keepdim=True),
    "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "bilinear": lambda x: F.interpolate(x, size=(5, 20), mode="bilinear", align_corners=False),
}


@pytest.mark.parametrize("name", MIXES)
def test_windows_lie_at_the_mean_of_what_they_read(name):
    assert agree(MIXES[name])


def test_a_planted_shift_is_found(monkeypatch):
    def shifted(step):
        (place,) = step.places_of(step.inputs[0])
        return [(place.with_axes([axis[..., ::2] for axis in place.axes]),)]

    monkeypatch.setattr("featvis.tracing.following.RULES", {"avg_pool2d": shifted})
    assert not agree(lambda x: F.avg_pool2d(x, (1, 2), (1, 2)))


def test_a_maximum_lies_where_a_mean_does():
    maxima, means = (told(lambda x, pool=pool: pool(x, 3, 2, 1), (1, 1, 8, 8)) for pool in (F.max_pool2d, F.avg_pool2d))
    assert all(torch.equal(first, second) for first, second in zip(maxima, means, strict=True))


def test_padded_windows_keep_the_distance_of_the_others():
    _, columns = told(lambda x: F.conv2d(x, torch.ones(1, 1, 3, 3, dtype=x.dtype), stride=2, padding=1), (1, 1, 8, 8))
    assert columns[0, 0, 0].tolist() == [0, 2, 4, 6]
