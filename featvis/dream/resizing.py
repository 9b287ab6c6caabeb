"""Pictures in other sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, H, W) in another size (H, W), bilinear, without aliasing."""
    if pictures.shape[2:] == tuple(size):
        return pictures
    return F.interpolate(pictures, list(size), mode="bilinear", antialias=True)


def enlarged(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, H, W) in a larger size (H, W), all frequencies as they were: the cosines through the pixels, read between them.

    Bilinear enlarging smooths what falls between two pixels more than what falls on one, which repeats: by 7/5 every seven pixels. Detail
    that is drawn must not get a checkerboard of that. As zeros appended to the discrete cosine transform (DCT-II).
    """
    rows, columns = (_reading(old, new).to(pictures) for old, new in zip(pictures.shape[2:], size, strict=True))
    return rows @ pictures @ columns.T


def _reading(old: int, new: int) -> Tensor:
    """(new, old), float64: values at `new` places from those at `old`, through the cosines that these make."""
    frequencies = torch.arange(old, dtype=torch.float64)
    pixels, places = (
        (torch.arange(count, dtype=torch.float64).unsqueeze(1) + 0.5) * math.pi / count for count in (old, new)
    )
    coefficients = torch.cos(pixels * frequencies) * 2 / old
    coefficients[:, 0] /= 2
    return torch.cos(places * frequencies) @ coefficients.T
