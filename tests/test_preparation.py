from __future__ import annotations

import pytest
import torch
from networks import plain_gradient, strided
from torch import Tensor, nn

from featvis.compat import import_torchvision
from featvis.gradients import GradientEngine
from featvis.modules import copy_module
from featvis.preparation import foldable, prepare_network
from featvis.tracing import trace


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

    monkeypatch.setattr("featvis.gradients.prepare_network", spoil)
    network, images = strided(), torch.randn(2, 3, 24, 24, dtype=torch.float64)
    engine = GradientEngine(network)
    assert torch.allclose(engine(images), plain_gradient(network, images))
    assert not engine.prepared
    assert "could not be prepared" in engine.notes[0]
