"""What stands beside the slider of each version that a page shows: E of the period that the verdict names, and the mean tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from featvis.measure.estimates import Estimate
from featvis.measure.finding import TOLD, Finding, Period, counted, indistinct, named, size_of
from featvis.measure.maps import energy_of
from featvis.measure.phases import fold, interior
from featvis.report.tables import profile_images
from featvis.report.views import PictureView, axes_of


class Profiled(Protocol):
    """Energies by period and the phase profile of the longest, such as an Audit."""

    @property
    def energy(self) -> Mapping[int, Estimate]: ...
    @property
    def profile(self) -> Sequence[Sequence[float]]: ...


class Side(NamedTuple):
    """Of one version: its energy, empty where it is not known; its phase profile at that period, where there is one; what it is called."""

    said: str
    tile: Tensor | None
    size: str = ""


def sides_of(measured: Mapping[str, Profiled], finding: Finding) -> dict[str, Side]:
    """Of versions that were measured, by their names; the first is what the finding speaks of."""
    spoken = finding.spoken
    sides = {}
    for number, (name, one) in enumerate(measured.items()):
        energy = one.energy.get(spoken) if isinstance(spoken, int) else None
        if number == 0 and finding.energy is not None:
            energy = finding.energy
        said = "" if energy is None else named(spoken, energy)
        tile = at_period(one.profile, spoken)
        # What was judged beside the frequencies around is not told by its error alone.
        size = "" if energy is None or finding.chances is not None else _size(energy)
        sides[name] = Side(said, tile if tile.shape[1] == axes_of(spoken)[1] else None, size)
    return sides


def _size(energy: Estimate) -> str:
    """What an energy is called, in a word or few."""
    return size_of(energy)[0] if energy.value > TOLD * (energy.error or 0) else indistinct(energy)


def sides_at(views: Sequence[PictureView], period: Period, pictures: int) -> dict[str, Side]:
    """Of the maps that are shown, by their labels, over all pictures of one size; pictures: how many were measured."""
    maps: dict[str, list[np.ndarray]] = {}
    for view in views:
        for version in view.versions:
            maps.setdefault(version.label, []).append(np.square(version.map, dtype=np.float64).sum(0))
    few = f" at {counted(len(views))}" if len(views) < pictures else ""
    sides = {}
    for label, energies in maps.items():
        if len({energy.shape for energy in energies}) == 1 and max(axes_of(period)) > 1:
            scaled = torch.from_numpy(np.stack([energy / energy.mean() for energy in energies]))
            energy = energy_of(scaled, axes_of(period))
            said, size = ("", "") if energy is None else (named(period, energy) + few, _size(energy))
            sides[label] = Side(said, _tile(scaled, *axes_of(period)), size)
    return sides


def _tile(energies: Tensor, rows: int, columns: int) -> Tensor | None:
    """The phase profile of energies (N, H, W) of mean 1, measured where an energy is; None where no period fits."""
    height, width = energies.shape[1:]
    inside = energies[:, interior(height, rows), interior(width, columns)]
    if not inside.numel():
        return None
    tile = fold(inside, rows, columns).mean(0)
    return tile / tile.mean()


def at_period(profile: Sequence[Sequence[float]], period: Period) -> Tensor:
    """A profile at a shorter period, as it is where that does not divide its own."""
    table, (rows, columns) = torch.tensor(profile, dtype=torch.float64), axes_of(period)
    rows = min(rows, len(table))
    return table if len(table) % rows or table.shape[1] % columns else fold(table, rows, columns)


def sides_shown(sides: Mapping[str, Side]) -> dict[str, Any]:
    """What a page's script reads of them: words and tiles by label, the tiles as images on one scale, with its limits."""
    tiles = {
        label: side.tile.numpy() for label, side in sides.items() if side.tile is not None and side.tile.numel() > 1
    }
    images = profile_images(tiles)
    drawn = {one["name"]: one["image"] for one in images}
    return {
        "said": {label: side.said for label, side in sides.items()},
        "sizes": {label: side.size for label, side in sides.items() if side.size},
        "tiles": drawn,
        "limits": [round(images[0][end], 2) for end in ("low", "high")] if images else [],
    }
