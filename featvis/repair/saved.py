"""Weights of repaired copies: the file names the fixes that its network needs, and whoever loads it gets them applied again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.files import read_metadata, write_tensors
from featvis.repair.backward import FEWEST
from featvis.repair.surgery import FIXES, MARK, operate

LARGEST = 2**24
"""Values of the noise that fixes are applied with, 8 images of 836 x 836; a file that asks for more is damaged."""


def save_fixed(path: str | Path, module: nn.Module, spec: str, weights: str, shape: Sequence[int]) -> Path:
    """Write a repaired copy's weights as safetensors, whole or not at all.

    spec, weights: the model that it is a copy of, and where its weights came from. shape: (B, C, H, W) of the images that the fixes saw.
    The metadata hold these, and the fixes in the order in which they were applied.
    """
    metadata = {
        "format": "pt",
        "spec": spec,
        "weights": weights,
        "fixes": ",".join(getattr(module, MARK, ())),
        "images": "x".join(map(str, shape)),
    }
    # Layers that share a weight have it twice in the file.
    state = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
    return write_tensors(path, state, metadata)


def fixed_as_saved(module: nn.Module, spec: str, path: str | Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The network with the fixes that a weights file names, and their names; the network itself and () where it names none.

    Fixes that read images get noise of the shape that the file names: what they calibrate are buffers, which are loaded afterwards.
    Raises FeatvisError for a file of another spec, an unknown fix, and wherever `operate` does.
    """
    metadata = read_metadata(path)
    names = tuple(name for name in metadata.get("fixes", "").split(",") if name)
    if not names:
        return module, ()
    if _last_part(metadata.get("spec", spec)) != _last_part(spec):
        raise FeatvisError(
            f"{str(path)!r} holds weights of {metadata['spec']} with fixes, not of {spec}; give that model"
        )
    unknown = [name for name in names if name not in FIXES]
    if unknown:
        raise FeatvisError(
            f"{str(path)!r} needs the fix {unknown[0]!r}, which this version of featvis does not have; "
            f"it has {', '.join(FIXES)}"
        )
    for name in names:
        images = _noise(metadata, path) if FIXES[name].reads_images else None
        try:
            module, _ = operate(module, name, images)
        except FeatvisError as error:
            raise FeatvisError(f"{str(path)!r} needs the fix {name!r} before loading: {error}") from None
    return module, names


def _last_part(spec: str) -> str:
    """A spec without the folder of a factory's file, which may have moved."""
    return spec.replace("\\", "/").rpartition("/")[2]


def _noise(metadata: Mapping[str, str], path: str | Path) -> Tensor:
    """As many images as the fixes saw, but no more than calibrating takes."""
    sizes = metadata.get("images", "").split("x")
    if len(sizes) < 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise FeatvisError(f"{str(path)!r} does not name the shape of the images that its fixes saw; save it again")
    count, *shape = map(int, sizes)
    if math.prod(shape) > LARGEST // FEWEST:
        raise FeatvisError(f"{str(path)!r} names images of {'x'.join(sizes[1:])} values, more than fits; save it again")
    return torch.randn(min(count, FEWEST), *shape, generator=torch.Generator().manual_seed(0))
