from __future__ import annotations

import pytest
import torch
from helpers.networks import plain_gradient, strided
from torch import Tensor, nn

from featvis.compat import import_torchvision
from featvis.gradients.engine import GradientEngine
from featvis.tracing.folding import FewChannelConvolution, few_channel_convolutions, foldable, prepare_network
from featvis.tracing.networks import copy_module
from featvis.tracing.trace import trace


def prepared(network: nn.Module, images: Tensor, keep: str | None = None) -> nn.Module:
    return prepare_network(copy_module(network), trace(network, images), keep)


def relative(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / second.norm())


def test_batch_norms_are_folded_into_the_convolutions_before_them() -> None:
    network, images = strided(), torch.randn(1, 3, 24, 24, dtype=torch.float64)
    assert foldable(network, trace(network, images)) == [("0", "1"), ("3", "4")]
    assert foldable(network, trace(network, images), keep="0") == [("3", "4")]
    fast = prepared(network, images)
    assert isinstance(fast[1], nn.Identity)
    assert isinstance(network[1], nn.BatchNorm2d)
    assert torch.allclose(fast(images), network(images))


def test_what_cannot_be_folded_is_left_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read_twice, self.norm1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.shared, self.norm2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            self.hooked, self.norm3 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, pixels: Tensor) -> Tensor:
            first = self.read_twice(pixels)
            second = self.norm1(first) + first
            third = self.norm2(self.shared(self.norm2(self.shared(second))))
            return self.norm3(self.hooked(third)).mean((2, 3))

    torch.manual_seed(0)
    network = Branching().eval()
    network.hooked.register_forward_hook(lambda module, arguments, output: output * 2)
    images = torch.randn(2, 3, 12, 12)
    assert foldable(network, trace(network, images[:1])) == []
    engine = GradientEngine(network)
    assert relative(engine(images), plain_gradient(network, images)) < 1e-5


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "regnet_y_400mf", "vgg11_bn"])
def test_prepared_torchvision_networks_give_the_same_gradient(name: str) -> None:
    models = import_torchvision().models
    torch.manual_seed(0)
    network = models.get_model(name, weights=None).double().eval()
    # Statistics that are not 0 and 1, as after training.
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 2)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert len(foldable(network, trace(network, images))) > 5
    assert relative(plain_gradient(prepared(network, images), images), plain_gradient(network, images)) < 1e-8


def test_a_prepared_form_that_differs_is_not_used_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(network: nn.Module, *arguments: object, **keywords: object) -> nn.Module:
        network[0].weight.data = network[0].weight.data * 1.01
        return network

    monkeypatch.setattr("featvis.tracing.prepared.prepare_network", spoil)
    network, images = strided(), torch.randn(2, 3, 24, 24, dtype=torch.float64)
    engine = GradientEngine(network)
    assert torch.allclose(engine(images), plain_gradient(network, images))
    assert not engine.prepared
    assert "could not be prepared" in engine.notes[0]


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(1, 2, 0), (2, 2, 0), (3, 2, 1), (3, 2, 0), (7, 2, 3), (11, 4, 2), (4, 4, 0), (3, 5, 1)],
)
@pytest.mark.parametrize("size", [(23, 30), (24, 25)])
def test_the_quick_backward_pass_into_the_pixels_is_exact(
    kernel: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, kernel, stride, padding), nn.Softplus()).double()
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    fast = prepared(network, images)
    assert isinstance(fast[0], FewChannelConvolution)
    gradients = []
    for module in (network, fast):
        pixels = images.clone().requires_grad_()
        gradients.append(torch.autograd.grad(module(pixels).square().sum(), pixels)[0])
    assert torch.allclose(*gradients, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 4, 3, 2),
        nn.Conv2d(4, 4, 3, 2, groups=2),
        nn.Conv2d(3, 4, 3, 1),
        nn.Conv2d(3, 4, 3, 2, dilation=2),
        nn.Conv2d(3, 4, 3, 2, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 4, 3, 2, padding=0, bias=False),
    ],
)
def test_only_plain_strided_convolutions_of_few_channels_are_replaced(layer: nn.Conv2d) -> None:
    images = torch.randn(1, layer.in_channels, 16, 16)
    network = nn.Sequential(layer)
    assert few_channel_convolutions(network, trace(network, images)) == (["0"] if layer.bias is None else [])
