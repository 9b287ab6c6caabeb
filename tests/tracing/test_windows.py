"""A layer and the operation that it runs have one window, and what the window says is what the layer does."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from featvis.tracing.trace import trace
from featvis.tracing.windows import Window, per_axis, size_words, times, window_of, window_of_layer

LAYERS = [
    nn.Conv1d(3, 4, 5, 3, padding=2, dilation=2),
    nn.Conv2d(3, 4, (3, 1), (2, 1), padding=(1, 0), dilation=(2, 1)),
    nn.Conv2d(3, 4, 4, 2, padding="valid"),
    nn.Conv2d(3, 4, 2, groups=1),
    nn.MaxPool2d((3, 2), padding=(1, 0)),
    nn.MaxPool2d(2, 3, dilation=2),
    nn.AvgPool2d(3, (2, 1)),
    nn.AvgPool1d(4),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_layer_and_its_operation_have_the_same_window(layer: nn.Module) -> None:
    axes = 1 if type(layer).__name__.endswith("1d") else 2
    images = torch.randn(1, 3, *(17, 22)[:axes])
    record = trace(layer, images)
    (window,) = [operation.window for operation in record.operations if operation.window is not None]
    assert window is not None
    assert window.on(axes) == window_of_layer(layer)
    counted = tuple(window.on(axes).count(axis, size) for axis, size in enumerate(images.shape[2:]))
    assert counted == layer(images).shape[2:]


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if isinstance(layer, nn.Conv1d | nn.Conv2d)], ids=str)
def test_taps_fall_on_phases_as_the_layer_reads(layer: nn.Module) -> None:
    window = window_of_layer(layer)
    assert window is not None
    sizes = tuple(40 * stride for stride in window.stride)
    taps = torch.randn(window.kernel, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convolve = {1: nn.functional.conv1d, 2: nn.functional.conv2d}[len(sizes)]
    picture = torch.zeros(1, 1, *sizes, dtype=torch.float64, requires_grad=True)
    output = convolve(picture, taps[None, None], None, window.stride, window.padding, window.dilation)
    (read,) = torch.autograd.grad(output.sum(), picture)
    middle = read[0, 0][tuple(slice(20 * stride, 21 * stride) for stride in window.stride)]
    assert torch.allclose(window.by_phase(taps), middle)
    ones = window.by_phase(torch.ones(window.kernel))
    assert window.skips == bool((ones == 0).any())
    # A dilation that shares a factor with the stride may leave even windows uneven.
    if all(dilation == 1 for dilation in window.dilation):
        assert window.even == bool((ones == ones.flatten()[0]).all())


def test_remainders_and_skips() -> None:
    assert Window.of((3, 4), 2).remainder == (1, 0)
    assert not Window.of((3, 4), 2).even
    assert Window.of((4, 6), 2).even
    assert not Window.of((2, 2), 2).skips
    assert Window.of((1, 1), (1, 2)).skips
    assert Window.of((2,), 2, dilation=2).skips
    for kernel, stride, dilation in itertools.product(range(1, 5), repeat=3):
        read = {tap * dilation % stride for tap in range(kernel)}
        assert Window.of((kernel,), stride, dilation=dilation).skips == (read != set(range(stride)))


def test_signals_have_one_row() -> None:
    assert Window.of((3,), 2, 1, 4).in_plane() == Window((1, 3), (1, 2), (0, 1), (1, 4))
    assert Window.of((3, 5), 2).in_plane() == Window.of((3, 5), 2)


def test_what_has_no_window() -> None:
    assert window_of("relu", ()) is None
    assert window_of_layer(nn.ReLU()) is None
    assert window_of_layer(nn.PixelShuffle(2)) is None


def test_a_slice_has_one_axis() -> None:
    assert window_of("slice", ("picture", 2, 0, 99, 3)) == Window.of((1,), 3)
    assert window_of("slice", ("picture", 2)) == Window.of((1,), 1)
    assert window_of("pixel_unshuffle", ("picture", 2)) == Window.of((2,), 2)


def test_sizes_in_words() -> None:
    assert per_axis(3, 2) == per_axis((3,), 2) == (3, 3)
    assert per_axis((1, 3), 1) == (3,)
    assert times((3, 3)) == "3x3"
    assert size_words((3, 3)) == "3"
    assert size_words((3, 1)) == "3x1"
