"""CIFAR-10's pictures: how the archive is read, and what moves them against their own 8x8 JPEG grid."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from featvis.models.zoo.cards import CIFAR10

PADDING = 4
"""Pixels that random crops move a picture at most."""

STUDIED = 500
"""Test pictures at which the twins' training and the culprits of one of them are measured."""


def read_split(archive: Path, split: str) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 32, 32) as bytes and class indices (N,) of one split of the archive."""
    pictures, classes = [], []
    with zipfile.ZipFile(archive) as files:
        for name in sorted(n for n in files.namelist() if n.startswith(f"{split}/") and n.endswith(".jpg")):
            pictures.append(np.asarray(Image.open(io.BytesIO(files.read(name))).convert("RGB")))
            classes.append(CIFAR10.index(name.split("/")[1]))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), torch.tensor(classes)


def some(pictures: Tensor, count: int) -> Tensor:
    """So many pictures, evenly from all, in [0, 1]."""
    return pictures[:: len(pictures) // count][:count].float() / 255


def rolled(pictures: Tensor) -> Tensor:
    """Each picture rolled by random numbers of rows and columns."""
    shifts = torch.randint(0, 32, (len(pictures), 2), generator=torch.Generator().manual_seed(0)).tolist()
    return torch.stack([picture.roll(shift, (1, 2)) for picture, shift in zip(pictures, shifts, strict=True)])


def augment(pictures: Tensor, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """Each picture reflected at random and cropped at a random position of its padded self."""
    count, _, height, width = pictures.shape
    padded = nn.functional.pad(pictures.float(), (padding,) * 4, mode="reflect").byte()
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = offsets[1] + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return windows(padded, torch.arange(count), rows, columns)


def windows(pictures: Tensor, chosen: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of chosen pictures (N,) that stand in these rows (N, H) and columns (N, W), in their order; (N, C, H, W)."""
    return pictures.permute(0, 2, 3, 1)[chosen.view(-1, 1, 1), rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def crops(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """The pictures mirrored and shifted at random, in [-1, 1]."""
    return (augment(pictures, generator).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def cropped_test_pictures(archive: Path, count: int) -> tuple[Tensor, Tensor]:
    """So many random test pictures (N, 3, 32, 32) in [0, 1], cropped at random as in training, and their classes (N,)."""
    pictures, classes = read_split(archive, "test")
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(pictures), generator=random)[:count]
    return augment(pictures[order], random).float() / 255, classes[order]
