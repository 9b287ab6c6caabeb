"""A network with its preprocessing, and what it says of itself."""

import pytest
import torch
from PIL import Image
from torch import nn

from featvis.models.model import Model
from featvis.models.specs import load_model


def test_a_model_knows_its_device_and_settings():
    model = Model(nn.Identity(), "mine")
    assert model.device == torch.device("cpu")
    assert model.settings()["mean"] == [0.0]


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (64, 64)])
def test_a_crop_of_another_shape_is_filled_with_picture(size, tmp_path):
    Image.new("RGB", (64, 48), "white").save(tmp_path / "white.png")
    model = load_model("zoo:cifar-k3s2", size=size, device="cpu")
    assert bool((model.load(tmp_path / "white.png")[1] == 1).all())
