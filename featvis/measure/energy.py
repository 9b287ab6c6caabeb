"""The measure: how unevenly a gradient's energy falls on the pixel phases of a period.

Everything here is a sum over pictures, so that results merge by addition, in any order and across processes, and memory does not
grow with the number of pictures. Words and formulas: see docs/reading.md.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.phases import control_periods, fold, interior, periods_of
from featvis.measure.replicates import FEWEST_REPLICATES, mean_of, squared_mean, squared_mean_difference
from featvis.measure.spectra import high_frequency_share, signed_combs, spectral_flatness

import_torchvision()
from torchmetrics import Metric  # noqa: E402, torchmetrics imports torchvision by itself

GROUPS = 32
"""Groups of the delete-a-group jackknife."""

TILES = 5
"""A single picture is split into at most this many replicates along each axis."""

FEWEST_PICTURES = 8
"""Fewer pictures than this say little about their spread; tiles are the replicates then, where there are enough."""


class Energies(NamedTuple):
    """What `CheckerboardEnergy` measures.

    Mappings go from the period in pixels to an Estimate. `energy` is E(p), of all harmonics whose period divides p;
    `exact_periods` splits E(total stride) by exact period, so that its values add up; `controls` are periods that share no
    harmonic with the total stride and must sit at 0; `signed_comb` is the share of the gradient's variance that its phase means
    explain. `profile` (P, P) has mean 1, (1, P) for signals. `replicates` is "pictures" or "tiles".
    """

    total_stride: int
    energy: dict[int, Estimate]
    controls: dict[int, Estimate]
    exact_periods: dict[int, Estimate]
    signed_comb: dict[int, Estimate]
    high_frequency_share: Estimate
    mean_gradient_flatness: float
    profile: Tensor
    pictures: int
    replicates: str


class CheckerboardEnergy(Metric):
    """Checkerboard energy of gradients, by period, without bias and with standard errors; sums only.

    total_stride: the product of the strides between the pixels and the score, in pixels. dims: 2 for pictures, 1 for signals.

    `update(gradients)` takes (B, C, H, W), or (B, C, L) for signals, each axis at least one total stride; `compute()` returns
    Energies. The measure is defined in Odena, Dumoulin and Olah's terms (Distill 2016): the squared coefficient of variation of
    the phases' mean energy. Raises FeatvisError for gradients with NaN, infinity or nothing but zeros.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    comb: Tensor
    high_frequency: Tensor
    mean_gradient: Tensor

    def __init__(self, total_stride: int, dims: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if total_stride < 1 or dims not in (1, 2):
            raise FeatvisError(f"total_stride {total_stride}, dims {dims}: expected at least 1, and 1 or 2")
        self.total_stride, self.dims = total_stride, dims
        self.periods = periods_of(total_stride)
        self.controls = control_periods(total_stride)
        for base in (total_stride, *self.controls):
            rows, columns = self._phases(base)
            self._add_sum(f"sums_{base}", GROUPS, rows, columns)
            self._add_sum(f"squares_{base}", GROUPS, max(len(self._periods_within(base)), 1))
            self._add_sum(f"counts_{base}", GROUPS)
            self._add_sum(f"tiles_{base}", TILES**2, rows, columns)
            self._add_sum(f"tile_counts_{base}", TILES**2)
        self._add_sum("comb", 3, len(self.periods))
        self._add_sum("high_frequency", 3)
        self._add_sum("mean_gradient", *self._phases(total_stride))

    def _wrap_compute(self, compute: Callable[..., Energies]) -> Callable[..., Energies]:
        """As torchmetrics does, but a profile of one phase stays a table: every single value would become a number."""
        wrapped = super()._wrap_compute(compute)

        def computed(*arguments: Any, **keywords: Any) -> Energies:
            with warnings.catch_warnings():
                # Sums that were loaded or merged need no update; where there are none, compute says so itself.
                warnings.filterwarnings("ignore", message="The ``compute`` method")
                energies = wrapped(*arguments, **keywords)
            return energies._replace(profile=energies.profile.view(self._phases(self.total_stride)))

        return computed

    def _add_sum(self, name: str, *shape: int) -> None:
        self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum", persistent=True)

    def _phases(self, period: int) -> tuple[int, int]:
        return (period, period) if self.dims == 2 else (1, period)

    def _periods_within(self, base: int) -> list[int]:
        return self.periods if base == self.total_stride else [base]

    def update(self, gradients: Tensor, indices: Sequence[int] | None = None) -> None:
        """Add the pictures of a batch.

        gradients: (B, C, H, W), or (B, C, L) where dims is 1. indices: (B,), the pictures' numbers in the whole set: they choose the
        jackknife's groups, so that standard errors too are the same in any order and over any processes; counted on by default.
        """
        gradients = self._checked(gradients)
        if indices is None:
            seen = int(getattr(self, f"counts_{self.total_stride}").sum())
            indices = range(seen, seen + len(gradients))
        groups = torch.tensor([int(index) % GROUPS for index in indices], device=gradients.device)
        if len(groups) != len(gradients):
            raise FeatvisError(f"{len(groups)} indices for {len(gradients)} gradients; give one for each")

        rows, columns = self._phases(self.total_stride)
        root_mean_square = gradients.square().mean((1, 2, 3), keepdim=True).sqrt()
        if not bool((root_mean_square > 0).all()):
            raise FeatvisError("a gradient is zero all over the measured interior; choose another picture or score")
        gradients = gradients / root_mean_square

        energy = gradients.square().sum(1)
        self._add_profiles(self.total_stride, energy, groups)
        # What the total stride explains is taken off first: it would leak into windows that are no multiple of it. Between
        # pictures this has no bias; between the tiles of a single small picture it is under a tenth of the error.
        explained = fold(energy, rows, columns)
        repeats = energy.shape[-2] // rows, energy.shape[-1] // columns
        level = energy.mean((-2, -1), keepdim=True)
        rest = energy - explained.repeat(1, *repeats) + level if max(repeats) > 1 else energy
        for control in self.controls:
            if all(size >= phases for size, phases in zip(rest.shape[-2:], self._phases(control), strict=True)):
                self._add_profiles(control, rest, groups)

        for column, comb in enumerate(signed_combs(gradients, [self._phases(period) for period in self.periods])):
            self._add_moments(self.comb[:, column], comb)
        self._add_moments(self.high_frequency, high_frequency_share(gradients))
        self.mean_gradient += fold(gradients.sum(1), rows, columns).sum(0)

    def _checked(self, gradients: Tensor) -> Tensor:
        """The interior of the gradients, (B, C, H, W) in float64 on the metric's device, each scaled by its largest value."""
        if gradients.ndim != self.dims + 2:
            expected = "(B, C, H, W)" if self.dims == 2 else "(B, C, L)"
            raise FeatvisError(f"gradients of shape {tuple(gradients.shape)}; expected {expected}")
        gradients = gradients.detach().to(self.device)
        if self.dims == 1:
            gradients = gradients.unsqueeze(2)
        height, width = gradients.shape[-2:]
        rows, columns = self._phases(self.total_stride)
        if height < rows or width < columns:
            size = f"{height} x {width} pixels" if self.dims == 2 else f"{width} samples"
            raise FeatvisError(
                f"a gradient of {size} is smaller than the total stride of {self.total_stride}; give larger pictures"
            )
        largest = gradients.abs().amax((1, 2, 3), keepdim=True)
        for picture, value in enumerate(largest.flatten().tolist()):
            if not math.isfinite(value) or value == 0:
                what = "nothing but zeros" if value == 0 else "NaN or infinity"
                raise FeatvisError(
                    f"the gradient of picture {picture} of the batch holds {what}; nothing can be measured"
                )
        inner = gradients[..., interior(height, rows), interior(width, columns)]
        return inner.double() / largest

    def _add_profiles(self, base: int, energy: Tensor, groups: Tensor) -> None:
        rows, columns = self._phases(base)
        profiles = fold(energy, rows, columns)
        level = profiles.mean((-2, -1), keepdim=True)
        deviations = profiles / level - 1
        getattr(self, f"sums_{base}").index_add_(0, groups, deviations)
        getattr(self, f"counts_{base}").index_add_(0, groups, torch.ones_like(groups, dtype=torch.float64))
        for column, period in enumerate(self._periods_within(base)):
            squares = fold(deviations, *self._phases(period)).square().mean((-2, -1))
            getattr(self, f"squares_{base}")[:, column].index_add_(0, groups, squares)

        down, across = energy.shape[-2] // rows, energy.shape[-1] // columns
        tiles_down, tiles_across = min(down, TILES), min(across, TILES)
        tile_height, tile_width = down // tiles_down * rows, across // tiles_across * columns
        area = energy[:, : tiles_down * tile_height, : tiles_across * tile_width]
        tiles = (
            area.unflatten(-1, (tiles_across, tile_width)).unflatten(-3, (tiles_down, tile_height)).transpose(-3, -2)
        )
        profiles = fold(tiles, rows, columns) / level[..., None, None]
        sums = getattr(self, f"tiles_{base}").view(TILES, TILES, rows, columns)
        sums[:tiles_down, :tiles_across] += (profiles - profiles.mean((-2, -1), keepdim=True)).sum(0)
        getattr(self, f"tile_counts_{base}").view(TILES, TILES)[:tiles_down, :tiles_across] += len(energy)

    def _add_moments(self, state: Tensor, values: Tensor) -> None:
        values = values[~values.isnan()]
        state += torch.stack((values.new_tensor(len(values)), values.sum(), values.square().sum()))

    def compute(self) -> Energies:
        """Energies of all pictures so far; raises FeatvisError where there were none, or too little of one to estimate a spread."""
        pictures = int(getattr(self, f"counts_{self.total_stride}").sum())
        if pictures == 0:
            raise FeatvisError("no gradient was given; update with at least one before computing")
        tiled = self._tiled(self.total_stride)
        energy, exact = self._energies(self.total_stride, tiled)
        if not energy and self.periods:
            raise FeatvisError(
                f"{pictures} picture(s) of fewer than {FEWEST_REPLICATES} periods of {self.total_stride} pixels leave no spread to "
                f"estimate; give larger pictures or at least {FEWEST_REPLICATES}"
            )
        controls: dict[int, Estimate] = {}
        for control in self.controls:
            controls |= self._energies(control, self._tiled(control))[0]
        sums = getattr(self, f"sums_{self.total_stride}").sum(0)
        return Energies(
            total_stride=self.total_stride,
            energy=energy,
            controls=controls,
            exact_periods=exact,
            signed_comb={
                period: mean_of(self.comb[:, column])
                for column, period in enumerate(self.periods)
                if self.comb[0, column] > 0
            },
            high_frequency_share=mean_of(self.high_frequency),
            mean_gradient_flatness=spectral_flatness(self.mean_gradient.cpu()),
            profile=(1 + sums / pictures).cpu(),
            pictures=pictures,
            replicates="tiles" if tiled else "pictures",
        )

    def _tiled(self, base: int) -> bool:
        """Whether tiles are the replicates: few pictures, and tiles enough."""
        few = getattr(self, f"counts_{base}").sum() < FEWEST_PICTURES
        return bool(few and (getattr(self, f"tile_counts_{base}") > 0).sum() >= FEWEST_REPLICATES)

    def _energies(self, base: int, tiled: bool) -> tuple[dict[int, Estimate], dict[int, Estimate]]:
        """E of each period within the base, cumulative and exact; empty where replicates are too few."""
        energy: dict[int, Estimate] = {}
        exact: dict[int, Estimate] = {}
        parts: dict[int, tuple[Tensor, Tensor]] = {}
        for period, (gram, squares, counts) in self._grams(base, tiled).items():
            energy[period] = squared_mean(gram, squares, counts)
            for smaller, (its_gram, its_squares) in parts.items():
                if period % smaller == 0:
                    gram, squares = gram - its_gram, squares - its_squares
            parts[period] = gram, squares
            exact[period] = squared_mean(gram, squares, counts)
        return energy, exact

    def _grams(self, base: int, tiled: bool) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        """What `squared_mean` takes, by period within the base; empty where replicates are too few."""
        counts = getattr(self, f"tile_counts_{base}" if tiled else f"counts_{base}")
        used = counts > 0
        sums = getattr(self, f"tiles_{base}" if tiled else f"sums_{base}")[used]
        counts = counts[used]
        if tiled:
            sums, counts = sums / counts.view(-1, 1, 1), torch.ones_like(counts)
        if counts.sum() < FEWEST_REPLICATES:
            return {}
        grams = {}
        for column, period in enumerate(self._periods_within(base)):
            folded = fold(sums, *self._phases(period)).flatten(1)
            gram = folded @ folded.T / folded.shape[1]
            squares = gram.diagonal() if tiled else getattr(self, f"squares_{base}")[used, column]
            grams[period] = gram, squares, counts
        return grams

    def difference(self, first: CheckerboardEnergy) -> dict[int, Estimate]:
        """E of these gradients minus E of the first ones, by period, with its paired error: both were taken at the same pictures.

        Raises FeatvisError where total stride, or number or grouping of the pictures, are others.
        """
        base = self.total_stride
        mine, its = getattr(self, f"counts_{base}"), getattr(first, f"counts_{first.total_stride}")
        if first.total_stride != base or not torch.equal(mine, its):
            raise FeatvisError(
                "these energies are of other pictures or of another total stride; measure both at the same pictures"
            )
        tiled = self._tiled(base)
        grams, its_grams = self._grams(base, tiled), first._grams(base, tiled)
        return {period: squared_mean_difference(its_grams[period], gram) for period, gram in grams.items()}


def checkerboard_energy(gradients: Tensor, total_stride: int) -> Energies:
    """Energies of one tensor of gradients, (B, C, H, W) or (B, C, L); the functional twin of `CheckerboardEnergy`."""
    metric = CheckerboardEnergy(total_stride, dims=gradients.ndim - 2)
    metric.update(gradients)
    return metric.compute()
