"""The zoo's classifiers as they are trained, kept and judged, and torchvision's with random weights."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.models.zoo.cards import MEAN, STD
from featvis.models.zoo.classifiers import DOWNSAMPLING
from shared.tables import read_rows

WEIGHTS, LOG = "weights.safetensors", "log.csv"
"""What a training leaves in its folder."""


def normalise(pictures: Tensor) -> Tensor:
    """Pictures as bytes to what the networks read."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((pictures.float() / 255 - mean) / std).to(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(model: nn.Module, pictures: Tensor, classes: Tensor) -> float:
    """The share of pictures, as bytes, whose class has the highest logit."""
    model.eval()
    correct = sum(
        (model(normalise(batch)).argmax(1) == truth).sum().item()
        for batch, truth in zip(pictures.split(500), classes.split(500), strict=True)
    )
    return correct / len(classes)


def epochs_in(folder: Path) -> int:
    """How long the training in a folder was, by its log."""
    return len(read_rows(folder / LOG))


def seed_of(folder: Path) -> int:
    """Of the training in a folder that is called TWIN-SEED."""
    return int(re.sub(r".*-", "", folder.name))


def trained_twins() -> dict[str, Model]:
    """The zoo's classifiers that differ in how they downsample, by that."""
    return {name: load_model(f"zoo:twin-{name}") for name in DOWNSAMPLING}


def random_torchvision(name: str) -> Model:
    """A torchvision classifier with the random weights of seed 0."""
    model = load_model(name, "none", seed=0)
    if name.startswith("vit"):
        # torchvision starts the head at zero, which leaves no gradient.
        torch.manual_seed(1)
        nn.init.normal_(model.module.heads.head.weight)
    return model
