"""Lucent's random transforms, with all movements of a step folded into one resampling.

A transform takes pictures (B, C, H, W) to pictures; Lucent's own and these mix freely, here and there. What is random is drawn from
torch's global generator, which `featvis.dream.dreaming` seeds and gives back as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.errors import FeatvisError

Transform = Callable[[Tensor], Tensor]

Affine = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Two rows of a matrix that takes (x, y, 1) to a place, in pixels from the centre of the first one."""

_IDENTITY: Affine = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class Shift:
    """A shift to the right and down by 0 to `distance` - 1 pixels each: Lucent's jitter."""

    distance: int

    @property
    def choices(self) -> int:
        return self.distance

    def draw(self, size: tuple[int, int]) -> tuple[Affine, tuple[int, int]]:
        right, down = torch.randint(self.distance, (2,)).tolist()
        return ((1.0, 0.0, -right), (0.0, 1.0, -down)), size


@dataclass(frozen=True)
class Scale:
    """One of the factors, about the centre; the map grows with it, and stays where the picture shrinks: Lucent's random_scale."""

    factors: Sequence[float]

    @property
    def choices(self) -> int:
        return len(self.factors)

    def draw(self, size: tuple[int, int]) -> tuple[Affine, tuple[int, int]]:
        factor = _one_of(self.factors)
        scaled = [math.ceil(factor * side) for side in size]
        margins = [max(0, math.ceil((side - length) / 2)) for side, length in zip(size, scaled, strict=True)]
        height, width = (length + 2 * margin for length, margin in zip(scaled, margins, strict=True))
        # The corners' centres stay corners.
        down, across = ((side - 1) / max(length - 1, 1) for side, length in zip(size, scaled, strict=True))
        return ((across, 0.0, -across * margins[1]), (0.0, down, -down * margins[0])), (height, width)


@dataclass(frozen=True)
class Rotate:
    """A rotation by one of the angles, in degrees, counterclockwise about the centre: Lucent's random_rotate."""

    degrees: Sequence[float]

    @property
    def choices(self) -> int:
        return len(self.degrees)

    def draw(self, size: tuple[int, int]) -> tuple[Affine, tuple[int, int]]:
        angle = math.radians(_one_of(self.degrees))
        cosine, sine = math.cos(angle), math.sin(angle)
        y, x = ((side - 1) / 2 for side in size)
        return ((cosine, -sine, x - cosine * x + sine * y), (sine, cosine, y - sine * x - cosine * y)), size


def _one_of(values: Sequence[float]) -> float:
    return values[int(torch.randint(len(values), ()))]


class Resampling:
    """Movements of a step, drawn anew at each call and folded into one bilinear resampling.

    moves: in the order in which they happen. padding: pixels of `fill` that are put around the picture first. Where a move reaches
    outside of that, the result is 0, as in Lucent. Raises FeatvisError for a move without choices.
    """

    def __init__(self, moves: Sequence[Shift | Scale | Rotate], padding: int = 0, fill: float = 0.5) -> None:
        for move in moves:
            if move.choices < 1:
                raise FeatvisError(f"{move} has nothing to choose from; give a distance of at least 1, or some values")
        self.moves, self.padding, self.fill = tuple(moves), padding, fill

    def __call__(self, pictures: Tensor) -> Tensor:
        if self.padding:
            pictures = F.pad(pictures, [self.padding] * 4, value=self.fill)
        size = (pictures.shape[2], pictures.shape[3])
        matrix, moved = self.draw(size)
        if matrix == _IDENTITY and moved == size:
            return pictures
        return resample(pictures, matrix, moved)

    def draw(self, size: tuple[int, int]) -> tuple[Affine, tuple[int, int]]:
        """The matrix from the places of the result to those of the (padded) picture, and the size of the result."""
        matrix = _IDENTITY
        for move in self.moves:
            step, size = move.draw(size)
            matrix = _product(matrix, step)
        return matrix, size

    def __repr__(self) -> str:
        moves = ", ".join(map(repr, self.moves))
        return f"Resampling({moves}, padding={self.padding}, fill={self.fill})"


def _product(first: Affine, second: Affine) -> Affine:
    rows = []
    for a, b, c in first:
        (d, e, f), (g, h, i) = second
        rows.append((a * d + b * g, a * e + b * h, a * f + b * i + c))
    return rows[0], rows[1]


def resample(pictures: Tensor, matrix: Affine, size: tuple[int, int]) -> Tensor:
    """Pictures seen through an affine map, bilinear, 0 outside: (B, C, H, W) to (B, C, *size).

    matrix: takes places (x, y) of the result to places of the pictures, in pixels from the centre of the first pixel.
    """
    height, width = pictures.shape[2:]
    rows, columns = size
    # To coordinates in which the outermost pixels' centres are at -1 and 1.
    from_x, from_y = max(columns - 1, 1) / 2, max(rows - 1, 1) / 2
    to_x, to_y = 2 / max(width - 1, 1), 2 / max(height - 1, 1)
    (a, b, c), (d, e, f) = matrix
    middle_x, middle_y = (columns - 1) / 2, (rows - 1) / 2
    normalised = [
        [a * from_x * to_x, b * from_y * to_x, (a * middle_x + b * middle_y + c) * to_x - 1],
        [d * from_x * to_y, e * from_y * to_y, (d * middle_x + e * middle_y + f) * to_y - 1],
    ]
    grid = F.affine_grid(pictures.new_tensor([normalised]), [1, 1, rows, columns], align_corners=True)
    grid = grid.expand(len(pictures), -1, -1, -1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def standard() -> Resampling:
    """The equivalent of Lucent's standard transforms: pad 12, jitter 8, scale .9 to 1.1, rotate up to 10 degrees, jitter 4."""
    scales = [1 + (step - 5) / 50 for step in range(11)]
    angles = [*range(-10, 11), *[0] * 5]
    return Resampling([Shift(8), Scale(scales), Rotate(angles), Shift(4)], padding=12, fill=0.5)


def roll(pictures: Tensor, distance: int) -> Tensor:
    """DeepDream's jitter: pictures shifted around their borders by -distance to distance pixels along each axis.

    The gradient comes back unshifted by itself.
    """
    if distance == 0:
        return pictures
    down, right = (torch.randint(2 * distance + 1, (2,)) - distance).tolist()
    return pictures.roll((down, right), (2, 3))
