"""The stack of a network, as `featvis overlap` takes it: read off the layers by hand, and counted as the network counts."""

import pytest
import torch
from torch import nn

from featvis.predict.overlap import counts, parse_stack
from featvis.tracing.stacks import longest_stack, stage_text
from featvis.tracing.trace import trace
from featvis.tracing.windows import Window


def stack_of(network, *size):
    windows = longest_stack(trace(network.double(), torch.zeros(1, *size, dtype=torch.float64)))
    return None if windows is None else [stage_text(window) for window in windows]


class Block(nn.Module):
    """A body of two windows beside a shortcut of one."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.ReLU(), nn.Conv2d(3, 3, 3, 1, 1))
        self.shortcut = nn.Conv2d(3, 3, 1, 2)

    def forward(self, images):
        return self.body(images) + self.shortcut(images)


class Sliced(nn.Module):
    def forward(self, images):
        return images[:, :, ::3]


@pytest.mark.parametrize(
    ("network", "stack"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 1)), ["5,2,2", "3,2,1"]),
        (nn.Conv2d(3, 4, (3, 5), (2, 1), (1, 2)), ["3x5,2x1,1x2"]),
        (nn.Conv2d(3, 4, 3, dilation=2), ["3,1,0,2"]),
        (nn.Sequential(Block(), nn.AvgPool2d(2)), ["3,2,1", "3,1,1", "2,2"]),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3, 1, 1)), ["2,2", "3,1,1"]),
        (nn.Sequential(Sliced(), nn.Conv2d(3, 3, 3)), ["1,3x1", "3,1"]),
        (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)), ["3,2,1"]),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), []),
        (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3)), None),
        (nn.ConvTranspose2d(3, 4, 4, 2, 1), None),
    ],
)
def test_stacks(network, stack):
    assert stack_of(network, 3, 24, 24) == stack


def test_a_signal():
    assert stack_of(nn.Conv1d(2, 2, 3, 2, 1), 2, 24) == ["3,2,1"]


def test_the_stack_counts_as_the_network_does():
    """The input gradient of weights of one is the number of windows that read each pixel."""
    network = nn.Sequential(nn.Conv2d(1, 1, 5, 3, 1, bias=False), nn.Conv2d(1, 1, (2, 3), (1, 2), bias=False)).double()
    for layer in network:
        nn.init.ones_(layer.weight)
    images = torch.zeros(1, 1, 30, 42, dtype=torch.float64, requires_grad=True)
    outputs = network(images)
    (gradient,) = torch.autograd.grad(outputs.sum(), images)
    rows, columns = parse_stack(stack_of(network, 1, 30, 42))
    down, across = (counts(stack, size) for stack, size in zip((rows, columns), outputs.shape[2:], strict=True))
    expected = torch.tensor(down)[:, None] * torch.tensor(across)
    assert gradient[0, 0, : len(down), : len(across)].equal(expected.double())


def test_words():
    assert stage_text(Window.of(3, 2, 0, 1, 2)) == "3,2"
    assert stage_text(Window.of(3, 2, 1, 1, 2)) == "3,2,1"
    assert stage_text(Window.of(3, 1, 1, 2, 2)) == "3,1,1,2"
    assert stage_text(Window.of(3, 1, 0, 2, 2)) == "3,1,0,2"
