"""Random numbers that belong to each picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Random numbers that belong to each picture, so that results do not depend on how pictures are put into batches.

    indices: the pictures' numbers in the whole set.
    """

    def __init__(self, seed: int, indices: Sequence[int]) -> None:
        self.seed, self.indices = seed, list(indices)
        self.generators = self._fresh("samples")

    def _fresh(self, stream: str) -> list[torch.Generator]:
        # numpy's SeedSequence would mix seed and number as well, but give every kept result other noise.
        salt = int.from_bytes(stream.encode()[:4], "big")
        return [
            torch.Generator().manual_seed((self.seed * 1_000_003 + index) * 4_294_967_291 % 2**61 + salt)
            for index in self.indices
        ]

    def one(self, picture: int) -> Draws:
        """The numbers of one picture of the batch, from their start."""
        return Draws(self.seed, self.indices[picture : picture + 1])

    def signs(self, like: Tensor) -> Tensor:
        """-1 or 1 in the shape of a batch; the same at every call."""
        drawn = [torch.randint(0, 2, like.shape[1:], generator=generator) for generator in self._fresh("signs")]
        return (2 * torch.stack(drawn) - 1).to(like)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise in the shape of a batch."""
        return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in self.generators]).to(like)

    def shifts(self, count: int, period: int) -> list[list[int]]:
        """A shift of 0 to period - 1 pixels along each of `count` axes, for each picture."""
        return [torch.randint(0, period, (count,), generator=generator).tolist() for generator in self.generators]
