"""Lines of a page's charts, as points of a drawing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 240
"""Of a chart, in its own units."""


@dataclass(frozen=True)
class Chart:
    """Lines over an axis of frequencies, with their values on a logarithmic one.

    lines: name and points, "x,y x,y ...". across, up: labels and places of the ticks. marks: label and place of the frequencies 1 / period.
    """

    lines: list[tuple[str, str]]
    across: list[tuple[str, float]]
    up: list[tuple[str, float]]
    marks: list[tuple[str, float]]


def spectrum_chart(spectra: Mapping[str, Sequence[tuple[float, float]]], period: int) -> Chart:
    """Radial spectra, pairs of cycles per pixel and power, with a mark at each harmonic of a period along an axis."""
    powers = [power for pairs in spectra.values() for _, power in pairs if power > 0]
    low, high = math.floor(math.log10(min(powers, default=0.1))), math.ceil(math.log10(max(powers, default=1.0)))
    high = max(high, low + 1)
    furthest = max((frequency for pairs in spectra.values() for frequency, _ in pairs), default=0.75)

    def x(frequency: float) -> float:
        return round(frequency / furthest * WIDTH, 1)

    def y(power: float) -> float:
        return round(HEIGHT * (high - math.log10(power)) / (high - low), 1)

    return Chart(
        [
            (name, " ".join(f"{x(frequency)},{y(power)}" for frequency, power in pairs if power > 0))
            for name, pairs in spectra.items()
        ],
        [(f"{frequency:g}", x(frequency)) for frequency in (0.0, 0.125, 0.25, 0.5) if frequency <= furthest],
        [(f"{10.0**power:g}", y(10.0**power)) for power in range(low, high + 1)],
        [(f"{m}/{period}", x(m / period)) for m in range(1, period // 2 + 1) if m / period <= furthest],
    )
