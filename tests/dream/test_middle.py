"""The layer in the middle of a network, where no objective is given."""

import pytest
from torch import nn

from featvis.compat import import_torchvision
from featvis.dream.middle import middle_layer
from featvis.errors import FeatvisError
from featvis.models.model import Model

torchvision = import_torchvision()


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.body, self.head = nn.Sequential(*layers), nn.Linear(4, 2)

    def forward(self, pictures):
        return self.head(self.body(pictures).mean((2, 3)))


def block():
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("googlenet", "inception4c"),  # of which the first DeepDreams were made
        ("resnet50", "layer3.1"),
        ("mobilenet_v2", "features.10"),
        ("alexnet", "features.10"),  # a convolution by itself, not the pooling behind it
    ],
)
def test_torchvisions_classifiers(name, layer):
    choices = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    network = getattr(torchvision.models, name)(weights=None, **choices)
    assert middle_layer(Model(network, name, (3, 128, 128))) == layer


def test_a_block_rather_than_its_parts_and_never_most_of_the_network():
    # Ten weighted operations with the head: the sixth ends nearest to 4/7.
    assert middle_layer(Model(Net(nn.Conv2d(3, 4, 1), *(block() for _ in range(8))), "net", (3, 16, 16))) == "body.5"


def test_a_single_layer_is_taken_and_a_vector_is_not():
    assert middle_layer(Model(nn.Sequential(nn.Conv2d(3, 4, 3)), "net", (3, 16, 16))) == "0"
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Linear(8, 2))
    with pytest.raises(FeatvisError, match="none with weights returns a map; give --objective CLASS"):
        middle_layer(Model(network, "net", (3, 4, 4)))


def test_what_cannot_be_traced_is_said():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(FeatvisError, match=r"no layer in the middle to dream of: .*; give --objective LAYER"):
        middle_layer(Model(network, "net", (3, 16, 16)))
