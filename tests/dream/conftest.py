"""A small network and a photograph, for every test of dreams."""

import pytest
import torch
from helpers.networks import strided

from featvis.models.model import Model


@pytest.fixture
def model():
    return Model(strided(), "test", (3, 32, 32), (0.4,), (0.3,))


@pytest.fixture
def photograph():
    return torch.rand(3, 40, 52, generator=torch.Generator().manual_seed(3))
