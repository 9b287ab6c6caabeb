"""The measure: how unevenly a gradient's energy falls on the pixel phases of a period.

Everything here is a sum over pictures, so that results merge by addition, in any order and across processes, and memory does not
grow with the number of pictures. Words and formulas: see docs/reading.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.measure.finding import Finding
from featvis.measure.layouts import as_gradients
from featvis.measure.maps import Found, MeanMaps
from featvis.measure.parts import TILES, measured_part, phases_of, real_gradients, tiles_of, unexplained
from featvis.measure.periods import control_periods, exact_periods, periods_of
from featvis.measure.phases import fold
from featvis.measure.replicates import FEWEST_REPLICATES, mean_of, moments, squared_mean, squared_mean_difference
from featvis.measure.spectra import high_frequency_share, signed_combs, spectral_flatness

GROUPS = 32
"""Groups of the delete-a-group jackknife."""


FEWEST_PICTURES = 8
"""Fewer pictures than this say little about their spread; tiles are the replicates then, where there are enough."""


class _Energies(NamedTuple):
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
    found: tuple[Found, ...] | None = None


class Energies(_Energies):
    """What `EnergySums` and `CheckerboardEnergy` measure.

    Mappings go from the period in pixels to an Estimate. `energy` is E(p), of all harmonics whose period divides p;
    `exact_periods` splits E(total stride) by exact period, so that its values add up; `controls` are periods that share no
    harmonic with the total stride and must sit at 0; `signed_comb` is the share of the gradient's variance that its phase means
    explain. `profile` (P, P) has mean 1, (1, P) for signals. `replicates` is "pictures" or "tiles". `found` holds the periods
    that the gradients show by themselves, None where they were not looked for.

    >>> energies = checkerboard_energy(torch.ones(8, 3, 16, 16), total_stride=2)
    >>> energies.energy[2].value, energies.pictures, energies.profile.tolist()
    (0.0, 8, [[1.0, 1.0], [1.0, 1.0]])
    """

    __slots__ = ()

    def __new__(cls, *values: Any, **named: Any) -> Energies:
        """As for any tuple with names, and a profile of one phase stays a table: torchmetrics takes it for a number."""
        energies = super().__new__(cls, *values, **named)
        return energies if energies.profile.ndim else energies._replace(profile=energies.profile.view(1, 1))

    @property
    def finding(self) -> Finding:
        """Whether there is a checkerboard, and how strong."""
        return Finding.in_gradients(self)


class PhaseSums:
    """Sums over pictures of how their energy deviates by phase of one period, and what its spread follows from.

    base: the period, in pixels; periods: those within it that are measured. sums (GROUPS, rows, columns): of the deviations q - 1, by the
    jackknife's group; squares (GROUPS, periods): of their mean squares; counts (GROUPS,): pictures. tiles (TILES^2, rows, columns),
    tile_counts (TILES^2,): deviations by place in the picture, the replicates where pictures are few.
    """

    def __init__(self, base: int, periods: Sequence[int], dims: int = 2) -> None:
        self.base, self.periods, self.dims = base, list(periods), dims
        table = phases_of(base, dims)
        self.sums = torch.zeros(GROUPS, *table, dtype=torch.float64)
        self.squares = torch.zeros(GROUPS, max(len(self.periods), 1), dtype=torch.float64)
        self.counts = torch.zeros(GROUPS, dtype=torch.float64)
        self.tiles = torch.zeros(TILES**2, *table, dtype=torch.float64)
        self.tile_counts = torch.zeros(TILES**2, dtype=torch.float64)

    def update(self, energy: Tensor, groups: Tensor) -> None:
        """Add the pictures of a batch. energy: (B, H, W), at least one period; groups: (B,), which of the GROUPS each belongs to."""
        rows, columns = phases_of(self.base, self.dims)
        profiles = fold(energy, rows, columns)
        level = profiles.mean((-2, -1), keepdim=True)
        deviations = profiles / level - 1
        self.sums.index_add_(0, groups, deviations)
        self.counts.index_add_(0, groups, torch.ones_like(groups, dtype=torch.float64))
        for column, period in enumerate(self.periods):
            squares = fold(deviations, *phases_of(period, self.dims)).square().mean((-2, -1))
            self.squares[:, column].index_add_(0, groups, squares)

        tiles = tiles_of(energy, rows, columns)
        profiles = fold(tiles, rows, columns) / level[..., None, None]
        down, across = tiles.shape[1:3]
        sums = self.tiles.view(TILES, TILES, rows, columns)
        sums[:down, :across] += (profiles - profiles.mean((-2, -1), keepdim=True)).sum(0)
        self.tile_counts.view(TILES, TILES)[:down, :across] += len(energy)

    def tensors(self) -> dict[str, Tensor]:
        """The sums themselves by name."""
        return {
            f"sums_{self.base}": self.sums,
            f"squares_{self.base}": self.squares,
            f"counts_{self.base}": self.counts,
            f"tiles_{self.base}": self.tiles,
            f"tile_counts_{self.base}": self.tile_counts,
        }

    def hold(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the sums of these names, which are shared and not copied."""
        self.sums, self.squares = tensors[f"sums_{self.base}"], tensors[f"squares_{self.base}"]
        self.counts = tensors[f"counts_{self.base}"]
        self.tiles, self.tile_counts = tensors[f"tiles_{self.base}"], tensors[f"tile_counts_{self.base}"]

    @property
    def tiled(self) -> bool:
        """Whether tiles are the replicates: few pictures, and tiles enough."""
        few = self.counts.sum() < FEWEST_PICTURES
        return bool(few and (self.tile_counts > 0).sum() >= FEWEST_REPLICATES)

    def grams(self, tiled: bool) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
        """What `squared_mean` takes, by period; empty where replicates are too few."""
        counts = self.tile_counts if tiled else self.counts
        used = counts > 0
        sums, counts = (self.tiles if tiled else self.sums)[used], counts[used]
        if tiled:
            sums, counts = sums / counts.view(-1, 1, 1), torch.ones_like(counts)
        if counts.sum() < FEWEST_REPLICATES:
            return {}
        grams = {}
        for column, period in enumerate(self.periods):
            folded = fold(sums, *phases_of(period, self.dims)).flatten(1)
            gram = folded @ folded.T / folded.shape[1]
            squares = gram.diagonal() if tiled else self.squares[used, column]
            grams[period] = gram, squares, counts
        return grams

    def energies(self) -> tuple[dict[int, Estimate], dict[int, Estimate]]:
        """E of each period, cumulative and exact; empty where replicates are too few."""
        grams = self.grams(self.tiled)
        exact_grams = exact_periods({period: gram for period, (gram, _, _) in grams.items()})
        exact_squares = exact_periods({period: squares for period, (_, squares, _) in grams.items()})
        return (
            {period: squared_mean(*held) for period, held in grams.items()},
            {p: squared_mean(exact_grams[p], exact_squares[p], counts) for p, (_, _, counts) in grams.items()},
        )


class EnergySums:
    """Checkerboard energy of gradients, by period, without bias and with standard errors; sums only.

    total_stride: the product of the strides between the pixels and the score, in pixels. dims: 2 for pictures, 1 for signals. size: (H, W)
    or (L,) of every picture, where periods are to be found too. whole: the sums at the total stride; controls: at the periods that no
    layer can cause. comb (3, periods), high_frequency (3,): moments over pictures of the signed combs and of the share of high
    frequencies. mean_gradient: the gradient's own sum by phase. maps: mean energy maps, where there is a size.

    The measure is defined in Odena, Dumoulin and Olah's terms (Distill 2016): the squared coefficient of variation of the phases'
    mean energy.

    >>> first, second = EnergySums(4), EnergySums(4)
    >>> first.update(torch.randn(20, 3, 32, 32), range(20))
    >>> second.update(torch.randn(20, 3, 32, 32), range(20, 40))
    >>> first.add(second)
    >>> energies = first.compute()
    >>> energies.pictures, list(energies.energy), list(energies.controls)
    (40, [2, 4], [3, 5, 7])
    """

    def __init__(self, total_stride: int, dims: int = 2, size: Sequence[int] | None = None) -> None:
        if total_stride < 1 or dims not in (1, 2):
            raise FeatvisError(f"total_stride {total_stride}, dims {dims}: expected at least 1, and 1 or 2")
        self.total_stride, self.dims = total_stride, dims
        self.periods = periods_of(total_stride)
        self.whole = PhaseSums(total_stride, self.periods, dims)
        self.controls = [PhaseSums(control, [control], dims) for control in control_periods(total_stride)]
        self.comb = torch.zeros(3, len(self.periods), dtype=torch.float64)
        self.high_frequency = torch.zeros(3, dtype=torch.float64)
        self.mean_gradient = torch.zeros(phases_of(total_stride, dims), dtype=torch.float64)
        self.maps = None if size is None else MeanMaps((1, size[-1]) if dims == 1 else (size[0], size[1]))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], total_stride: int, dims: int = 2) -> EnergySums:
        """The sums that `tensors` gave, shared and not copied; raises FeatvisError for other names or shapes."""
        size = tensors["maps"].shape[1:] if "maps" in tensors and tensors["maps"].ndim == 3 else None
        # Before anything of this period's size is made: it may be absurd.
        profile = tuple(tensors["mean_gradient"].shape)
        if total_stride < 1 or profile != phases_of(total_stride, dims):
            raise FeatvisError(f"'mean_gradient' of shape {profile} among the sums of a total stride of {total_stride}")
        sums = cls(total_stride, dims, size)
        expected, given = (
            {name: tuple(value.shape) for name, value in held.items()} for held in (sums.tensors(), tensors)
        )
        for name in sorted(expected.keys() | given.keys()):
            if given.get(name) != expected.get(name):
                raise FeatvisError(
                    f"{name!r} of shape {given.get(name)} among the sums of a total stride of {total_stride}; "
                    f"expected {expected.get(name)}"
                )
        for part in (sums.whole, *sums.controls):
            part.hold(tensors)
        sums.comb, sums.high_frequency = tensors["comb"], tensors["high_frequency"]
        sums.mean_gradient = tensors["mean_gradient"]
        if sums.maps is not None:
            sums.maps.sums, sums.maps.counts = tensors["maps"], tensors["map_counts"]
        return sums

    def tensors(self) -> dict[str, Tensor]:
        """The sums themselves by name, all of them; float64."""
        parts = {name: value for part in (self.whole, *self.controls) for name, value in part.tensors().items()}
        if self.maps is not None:
            parts |= {"maps": self.maps.sums, "map_counts": self.maps.counts}
        return {
            **parts,
            "comb": self.comb,
            "high_frequency": self.high_frequency,
            "mean_gradient": self.mean_gradient,
        }

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of every picture, where mean maps are kept."""
        return None if self.maps is None else self.maps.size

    @property
    def pictures(self) -> int:
        """How many pictures are in the sums."""
        return int(self.whole.counts.sum())

    def update(self, gradients: Tensor, indices: Sequence[int] | None = None) -> None:
        """Add the pictures of a batch.

        gradients: (B, C, H, W), or (B, C, L) where dims is 1, each axis at least one total stride. indices: (B,), the pictures' numbers in
        the whole set: they choose the jackknife's groups, so that standard errors too are the same in any order and over any
        processes; counted on by default. Raises FeatvisError for gradients with NaN, infinity or nothing but zeros, and for what is no
        tensor of real numbers, and adds none then.
        """
        given = real_gradients(gradients).detach().to(self.mean_gradient.device)
        gradients, largest = measured_part(given, self.total_stride, self.dims)
        indices = range(self.pictures, self.pictures + len(gradients)) if indices is None else indices
        groups = torch.tensor([int(index) % GROUPS for index in indices], device=gradients.device)
        if len(groups) != len(gradients):
            raise FeatvisError(f"{len(groups)} indices for {len(gradients)} gradients; give one for each")
        root_mean_square = gradients.square().mean((1, 2, 3), keepdim=True).sqrt()
        if not bool((root_mean_square > 0).all()):
            raise FeatvisError("a gradient is zero all over the measured interior; choose another picture or score")
        gradients = gradients / root_mean_square

        if self.maps is not None:
            self.maps.update(_energy(given, largest, self.dims), list(indices))
        energy = gradients.square().sum(1)
        self.whole.update(energy, groups)
        rest = unexplained(energy, *phases_of(self.total_stride, self.dims))
        for control in self.controls:
            rows, columns = phases_of(control.base, self.dims)
            if rest.shape[-2] >= rows and rest.shape[-1] >= columns:
                control.update(rest, groups)

        sizes = [phases_of(period, self.dims) for period in self.periods]
        for column, comb in enumerate(signed_combs(gradients, sizes)):
            self.comb[:, column] += moments(comb[~comb.isnan()])
        self.high_frequency += moments(high_frequency_share(gradients))
        self.mean_gradient += fold(gradients.sum(1), *self.mean_gradient.shape).sum(0)

    def add(self, other: EnergySums) -> None:
        """Add the pictures of other sums, which stay as they are; raises FeatvisError for another total stride, dims or size."""
        if (other.total_stride, other.dims) != (self.total_stride, self.dims):
            raise FeatvisError(
                f"sums of a total stride of {other.total_stride} in {other.dims}-D beside {self.total_stride} in {self.dims}-D; "
                "measure both alike"
            )
        if other.size != self.size:
            raise FeatvisError(
                f"sums of pictures of the size {other.size} beside {self.size}, None where no periods are found; measure both alike"
            )
        theirs = other.tensors()
        for name, value in self.tensors().items():
            value += theirs[name].to(value)

    def compute(self, find: bool = False) -> Energies:
        """Energies of all pictures so far, with find also the periods that they show where there is a size.

        Raises FeatvisError where there were no pictures, or too little of one to estimate a spread.
        """
        pictures = self.pictures
        if pictures == 0:
            raise FeatvisError("no gradient was given; update with at least one before computing")
        energy, exact = self.whole.energies()
        if not energy and self.periods:
            raise FeatvisError(
                f"{pictures} picture(s) of fewer than {FEWEST_REPLICATES} periods of {self.total_stride} pixels leave no spread to "
                f"estimate; give larger pictures or at least {FEWEST_REPLICATES}"
            )
        controls: dict[int, Estimate] = {}
        for control in self.controls:
            controls |= control.energies()[0]
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
            profile=(1 + self.whole.sums.sum(0) / pictures).cpu(),
            pictures=pictures,
            replicates="tiles" if self.whole.tiled else "pictures",
            found=self._found(energy) if find else None,
        )

    def _found(self, known: Mapping[int, Estimate]) -> tuple[Found, ...] | None:
        """The periods that the gradients show by themselves; None without a size. E of one that is known is that."""
        if self.maps is None:
            return None
        return tuple(
            replace(found, energy=known[max(found.period)])
            if found.period is not None
            and max(found.period) in known
            and found.period == phases_of(max(found.period), self.dims)
            else found
            for found in self.maps.found()
        )

    def difference(self, first: EnergySums) -> dict[int, Estimate]:
        """E of these gradients minus E of the first ones, by period, with its paired error: both were taken at the same pictures.

        Raises FeatvisError where total stride, or number or grouping of the pictures, are others.
        """
        if first.total_stride != self.total_stride or not torch.equal(self.whole.counts, first.whole.counts):
            raise FeatvisError(
                "these energies are of other pictures or of another total stride; measure both at the same pictures"
            )
        tiled = self.whole.tiled
        grams, its_grams = self.whole.grams(tiled), first.whole.grams(tiled)
        return {period: squared_mean_difference(its_grams[period], gram) for period, gram in grams.items()}


def _energy(gradients: Tensor, largest: Tensor, dims: int) -> Tensor:
    """Energy maps of whole gradients, (B, H, W), up to a factor for each.

    Of scaled ones, as squares of small numbers vanish; channel by channel, which needs no copy of the gradients.
    """
    energy = torch.zeros((), device=gradients.device)
    for channel in (gradients.unflatten(-1, (1, -1)) if dims == 1 else gradients).unbind(1):
        scaled = channel / largest[:, 0]
        energy = torch.addcmul(energy, scaled, scaled)
    return energy


def checkerboard_energy(
    gradients: Tensor | np.ndarray[Any, Any], total_stride: int, layout: str | None = None
) -> Energies:
    """Energies of one tensor or NumPy array of gradients or maps; the functional twin of `CheckerboardEnergy`.

    gradients: (B, C, H, W) or (B, C, L), or of another layout: "hw", "chw", "hwc", "bhw", "bchw", "bhwc" or "bcl", which has to be said
    where the shape leaves several open. Raises FeatvisError there, and for what is no array of real numbers.

    >>> comb = torch.tensor([[1.0, 2.0], [2.0, 4.0]]).sqrt().repeat(8, 8)
    >>> round(checkerboard_energy(comb.expand(8, 1, 16, 16), 2).energy[2].value, 4)
    0.2346
    """
    given = as_gradients(gradients, layout)
    sums = EnergySums(total_stride, given.ndim - 2, given.shape[2:])
    sums.update(given)
    return sums.compute(find=True)
