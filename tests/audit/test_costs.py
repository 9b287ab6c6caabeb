"""Seconds and bytes, held against computations whose cost is known."""

import time

import torch
from helpers.networks import strided
from torch import Tensor

from featvis.audit.costs import peak_memory, timed


def test_tensors_alive_at_once_are_counted() -> None:
    given = torch.ones(1000, dtype=torch.float64)

    def chain() -> Tensor:
        values = given + 1
        for _ in range(5):
            values = values + 1  # the old and the new one are alive at once, 8000 bytes each
        return values

    assert peak_memory(chain) == 16_000


def test_what_was_there_before_views_and_work_in_place_cost_nothing() -> None:
    given = torch.ones(10, 100, dtype=torch.float64)
    assert peak_memory(lambda: given.view(1000).t().unsqueeze(0)[:, :10].mul_(2)) == 0
    assert peak_memory(lambda: [given + number for number in range(3)]) == 3 * 8000


def test_a_gradient_holds_what_its_backward_pass_needs() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3))
    network.requires_grad_(False)
    images = torch.randn(4, 3, 64, 64)

    def gradient() -> Tensor:
        pixels = images.clone().requires_grad_()
        (found,) = torch.autograd.grad(network(pixels).sum(), pixels)
        return found

    # The pixels, the rectified features, their gradient and what the rectifier makes of it; a score and its gradient.
    assert peak_memory(gradient) == 4 * (images.numel() + 3 * 4 * 16 * 62 * 62 + 2)


def test_memory_is_the_same_each_time_and_grows_with_the_batch() -> None:
    network = strided()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        once, again, half = (peak_memory(lambda part=part: network(part)) for part in (images, images, images[:2]))
    assert once == again
    assert half == once / 2


def test_results_and_seconds() -> None:
    result, seconds = timed(lambda: time.sleep(0.02) or "done", torch.device("cpu"))
    assert result == "done"
    assert 0.02 <= seconds < 5
