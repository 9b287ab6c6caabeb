"""Is there a checkerboard, how strong, what makes it: one finding, from which every sentence and every figure takes its words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from featvis.measure.estimates import Estimate, words

CLEAR = 3.0
"""Standard errors by which an energy must be above 0 before a sentence calls it a checkerboard."""

TOLD = 2.0
"""Standard errors by which an energy must be above 0 before a figure speaks of its period."""

MOST_NAMED, ENOUGH, FAINTEST = 3, 0.9, 0.05
"""A sentence names at most so many layers, no further one once their shares reach this part, and none with less than this."""

NO_STRIDE = "No layer has a stride, so there is no period in which a checkerboard could repeat"


class Measured(Protocol):
    """Energies of a measure, such as an Audit or the Energies of a metric."""

    @property
    def total_stride(self) -> int: ...
    @property
    def energy(self) -> Mapping[int, Estimate]: ...
    @property
    def exact_periods(self) -> Mapping[int, Estimate]: ...


class Judged(Protocol):
    """Which periods stand out beside the frequencies around their own, such as a Verdict."""

    @property
    def longest(self) -> int: ...
    @property
    def chances(self) -> Mapping[int, float]: ...
    @property
    def standing_out(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class Finding:
    """What was found, and what it is called.

    parts: the energy of each exact period that a checkerboard has, the strongest first; empty where there is none. spoken: the period
    whose energy stands for all, in pixels; energy: E of it, None where nothing has a stride. chances: by exact period, how often the
    frequencies beside it hold as much, None where errors alone were asked; judged: the longest period that was held against them.
    layers: those that make it, with their shares of E, the strongest first.
    """

    total_stride: int
    spoken: int
    energy: Estimate | None
    parts: Mapping[int, Estimate] = field(default_factory=dict)
    chances: Mapping[int, float] | None = None
    layers: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, measured: Measured, shares: Iterable[tuple[str, float]] = (), judged: Judged | None = None) -> Finding:
        """The finding of what was measured; shares: of E(total stride), by layer; judged: beside the frequencies around, where it was."""
        total, exact = measured.total_stride, measured.exact_periods
        spoken = total if judged is None or judged.longest == 1 else judged.longest
        clear = [p for p, e in exact.items() if e.value > CLEAR * (e.error or 0)]
        periods = clear if judged is None else judged.standing_out
        parts = {period: exact[period] for period in sorted(periods, key=lambda period: -exact[period].value)}
        # Shares are parts of E(total stride), which holds content too where the pictures are too small to tell.
        layers = _makers(shares) if parts and spoken == total else ()
        chances = None if judged is None else judged.chances
        return cls(total, spoken, measured.energy.get(spoken), parts, chances, layers)

    @property
    def period(self) -> int | None:
        """The exact period of the strongest checkerboard; None where there is none."""
        return next(iter(self.parts), None)

    def headline(self) -> str:
        """The one number, such as "E(8) = 0.2900 ± 0.0040"."""
        return named(self.spoken, self.energy)

    def sentence(self, addition: str = "") -> str:
        """What was found in a sentence, with what makes it, an addition, and what could not be told."""
        return f"{self.clause()}{self.blame()}{addition}.{self._untold()}"

    def clause(self) -> str:
        """What was found, as the beginning of a sentence."""
        if self.chances is not None:
            return self._clause_of_chances(self.chances)
        if self.energy is None:
            return NO_STRIDE
        said = "No checkerboard above the noise:" if self.period is None else f"Period-{self.period} checkerboard,"
        return f"{said} {self.headline()}"

    def _clause_of_chances(self, chances: Mapping[int, float]) -> str:
        if self.parts:
            parts = [f"{part} of exactly period {p} (chance {chances[p]:.4f})" for p, part in self.parts.items()]
            return f"Period-{self.period} checkerboard: {', '.join(parts)}"
        if not chances:
            return f"Nothing can be told: {self.headline()}"
        least = min(chances.values())
        return f"No checkerboard stands out: {self.headline()}, as frequencies beside it hold (chance {least:.4f})"

    def blame(self) -> str:
        """The layers that make most of it, as the end of a sentence; empty where there is none or they were not asked for."""
        if not self.layers:
            return ""
        names = [name for name, _ in self.layers]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f", {percent(sum(share for _, share in self.layers))} from {listed}"

    def _untold(self) -> str:
        """Which periods the pictures are too small for, as a further sentence."""
        longest = self.total_stride if self.chances is None else max(self.chances, default=1)
        if longest == self.total_stride:
            return ""
        above = f" above {longest}" if longest > 1 else ""
        held = "these" if longest > 1 else "they"
        return (
            f" No period{above} fits four times into the pictures: what {held} hold may be content in the same place."
        )


def _makers(shares: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """The fewest layers that make most of it, the strongest first."""
    makers: list[tuple[str, float]] = []
    for layer, share in sorted(shares, key=lambda one: -one[1]):
        if share < FAINTEST or len(makers) == MOST_NAMED or sum(its for _, its in makers) >= ENOUGH:
            break
        makers.append((layer, share))
    return tuple(makers)


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{share:.0%}".replace("%", " %")


def named(period: int, energy: Estimate | None) -> str:
    """An energy with its period, "E(8) = 0.2900 ± 0.0040"."""
    return f"E({period}) = {words(energy)}"


def telling_period(energies: Mapping[int, tuple[float, float | None]]) -> int | None:
    """The longest period whose energy is above two errors, which holds the shorter ones; else the longest; None without strides."""
    clear = [period for period, (value, error) in energies.items() if error is None or value > TOLD * error]
    return max(clear or energies, default=None)


def energy_at(energies: Mapping[int, tuple[float, float | None]], period: int | None) -> str:
    """The energy of a period, or that there is none, as the head of a figure."""
    if period is None or period not in energies:
        return "no stride, no checkerboard to measure"
    return named(period, Estimate(*energies[period]))
