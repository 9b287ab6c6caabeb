"""Mean energy maps of groups of pictures, and the periods that they show by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.lines import find_combs
from featvis.measure.phases import fold, interior
from featvis.measure.planes import FEWEST_MAPS
from featvis.measure.replicates import FEWEST_REPLICATES, squared_mean

GROUPS, FEWEST_GROUPS = 32, 8
"""Groups of pictures whose mean maps are kept, and the fewest for large ones."""

MOST_VALUES = 2**24
"""Values in all maps, 128 MiB, from which on there are fewer groups."""

FAINTEST = 1e-3
"""A period whose E is surely below this is real, such as those of max-pooling with random weights, and never seen: it is left out."""

TILES = 5
"""Few maps are split into at most this many replicates along each axis."""


@dataclass(frozen=True)
class Found:
    """A period that the gradients show, without knowing the network.

    period: (rows, columns) in pixels, 1 along an axis on which nothing repeats; None for a grid that drifts over the picture. frequency:
    of its strongest line, cycles per pixel along rows and columns. energy: E of the period, None where there is no whole one or too
    little to estimate a spread from. chance: the probability of finding any period where there is none. layers: those whose strides
    explain it, where a network was traced; empty where none does."""

    period: tuple[int, int] | None
    frequency: tuple[float, float]
    energy: Estimate | None
    chance: float
    layers: tuple[str, ...] = ()


def _of_different_groups(groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where parts of a batch begin and end in which no group stands twice."""
    start, seen = 0, set[int]()
    for place, group in enumerate(groups):
        if group in seen:
            yield start, place
            start, seen = place, set()
        seen.add(group)
    yield start, len(groups)


class MeanMaps:
    """Sums of pictures' energy maps, each of mean 1, by group of pictures; they merge by addition.

    size: (H, W) of every picture; H = 1 for signals. sums: (G, H, W); counts: (G,), pictures.

    >>> maps = MeanMaps((32, 32))
    >>> comb = torch.tensor([[1.0, 2.0], [2.0, 4.0]]).repeat(16, 16)
    >>> maps.update(comb * torch.rand(64, 32, 32), range(64))
    >>> [found.period for found in maps.found()]
    [(2, 2)]
    """

    def __init__(self, size: tuple[int, int]) -> None:
        groups = max(FEWEST_GROUPS, min(GROUPS, MOST_VALUES // max(1, size[0] * size[1])))
        self.size = size
        self.sums = torch.zeros(groups, *size, dtype=torch.float64)
        self.counts = torch.zeros(groups, dtype=torch.float64)

    def update(self, energy: Tensor, indices: Sequence[int]) -> None:
        """Add pictures. energy: (B, H, W), each of positive mean; indices: (B,), their numbers in the whole set."""
        if tuple(energy.shape[1:]) != self.size:
            raise FeatvisError(
                f"energy maps of {tuple(energy.shape[1:])} beside others of {self.size}; measure pictures of one size"
            )
        groups = torch.tensor([int(index) % len(self.counts) for index in indices], device=energy.device)
        # In the order of the pictures within each group: the sums are the same however pictures are put into batches.
        scaled = (energy / energy.mean((1, 2), keepdim=True)).double()
        for start, end in _of_different_groups(groups.tolist()):
            self.sums.index_add_(0, groups[start:end], scaled[start:end])
        self.counts.index_add_(0, groups, torch.ones_like(groups, dtype=torch.float64))

    def means(self) -> Tensor:
        """The mean map of each group that holds pictures, (G, H, W)."""
        used = self.counts > 0
        return self.sums[used] / self.counts[used].view(-1, 1, 1)

    def found(self) -> tuple[Found, ...]:
        """The periods that stand out, the strongest first, with their energies."""
        means = self.means().cpu()
        combs = find_combs(means) if len(means) else ()
        found = []
        for comb in combs:
            energy = None if comb.period is None else energy_of(means, comb.period)
            if energy is None or energy.value + 2 * (energy.error or 0) >= FAINTEST:
                found.append(Found(comb.period, comb.frequency, energy, comb.chance))
        return tuple(found)


def energy_of(maps: Tensor, period: tuple[int, int]) -> Estimate | None:
    """E of a period by axis, without bias and with its standard error; None where replicates are too few.

    maps: (G, H, W), mean energy maps of groups of pictures, which serve as replicates; few are split into tiles.
    """
    rows, columns = period
    inner = maps[:, interior(maps.shape[1], rows), interior(maps.shape[2], columns)]
    if not inner.numel():
        return None
    if len(maps) < FEWEST_MAPS:
        inner = _tiled(inner, rows, columns)
    profiles = fold(inner, rows, columns)
    deviations = (profiles / profiles.mean((1, 2), keepdim=True) - 1).flatten(1)
    if len(deviations) < FEWEST_REPLICATES:
        return None
    gram = deviations @ deviations.T / (rows * columns)
    return squared_mean(gram, gram.diagonal(), torch.ones(len(gram), dtype=gram.dtype))


def _tiled(maps: Tensor, rows: int, columns: int) -> Tensor:
    """The mean map in tiles of whole periods, (T, h, w)."""
    mean = maps.mean(0)
    down, across = (min(size // period, TILES) for size, period in zip(mean.shape, (rows, columns), strict=True))
    height, width = mean.shape[0] // rows // down * rows, mean.shape[1] // columns // across * columns
    area = mean[: down * height, : across * width]
    return area.unflatten(1, (across, width)).unflatten(0, (down, height)).transpose(1, 2).flatten(0, 1)
