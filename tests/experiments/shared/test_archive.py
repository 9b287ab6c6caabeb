"""Random crops move and mirror pictures, and nothing else."""

import torch
from helpers.training import data
from shared.archive import augment


def test_pictures_are_only_mirrored_and_moved():
    pictures = torch.arange(32 * 32, dtype=torch.float32).view(1, 1, 32, 32).expand(64, 3, -1, -1) / 4
    found = augment(pictures.byte(), torch.Generator().manual_seed(0))
    assert found.shape == pictures.shape
    padded = torch.nn.functional.pad(pictures[:1], (4,) * 4, mode="reflect").byte()[0]
    crops = [padded[:, row : row + 32, column : column + 32] for row in range(9) for column in range(9)]
    candidates = {one.numpy().tobytes() for crop in crops for one in (crop, crop.flip(2))}
    assert all(picture.numpy().tobytes() in candidates for picture in found)
    assert len({picture.numpy().tobytes() for picture in found}) > 32


def test_without_padding_pictures_are_mirrored_alone():
    pictures = data()[0]
    found = augment(pictures, torch.Generator().manual_seed(0), padding=0)
    mirrored = (found != pictures).flatten(1).any(1)
    assert 0 < mirrored.sum() < len(pictures)
    assert torch.equal(torch.where(mirrored.view(-1, 1, 1, 1), found.flip(3), found), pictures)
