"""Is there a checkerboard, how strong, what makes it: one finding, from which every sentence and every figure takes its words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from featvis.measure.estimates import Estimate, words

CLEAR = 3.0
"""Standard errors by which an energy must be above 0 before a sentence calls it a checkerboard."""

TOLD = 2.0
"""Standard errors by which an energy must be above 0 before a figure speaks of its period."""

MOST_NAMED, ENOUGH, FAINTEST = 3, 0.9, 0.05
"""A sentence names at most so many layers, no further one once their shares reach this part, and none with less than this."""

NO_STRIDE = "No layer has a stride, so there is no period in which a checkerboard could repeat"

DRIFTS = "A grid drifts over the picture: it repeats after no whole number of pixels"

LIMITS = (0.01, 0.23, 1.0, 3.0)
"""Energies from which on another word is used: ticks of every axis of energies. One 3 x 3 stride-2 convolution has .2346."""

SIZES = (
    (0.01, "invisible", "invisible"),
    (0.1, "weak", "weak, not visible in a single map"),
    (0.23, "weak", "weak, hard to see in a single map"),
    (1.0, "visible", "visible up close"),
    (3.0, "strong", "strong, plain to see"),
    (math.inf, "one pixel carries it", "one pixel of four or more carries it"),
)
"""What an energy of a gradient below these is called, in a word and in a sentence. See docs/reading.md."""

CONTROL = 5.0
"""Standard errors by which a control must differ from 0 before a sentence doubts the rest."""

LEAST_HEIGHT = 0.5
"""Grey levels of 255 that a comb in pictures must be high; half of one is rounding."""

Period = int | tuple[int, int]
"""Pixels along both axes, or (rows, columns) where they differ; 1 along an axis on which nothing repeats."""


class Repeating(Protocol):
    """A period that the gradients show, such as a Found."""

    @property
    def period(self) -> tuple[int, int] | None: ...
    @property
    def energy(self) -> Estimate | None: ...
    @property
    def layers(self) -> Sequence[str]: ...


class Measured(Protocol):
    """Energies of a measure, such as an Audit or the Energies of a metric."""

    @property
    def total_stride(self) -> int: ...
    @property
    def energy(self) -> Mapping[int, Estimate]: ...
    @property
    def exact_periods(self) -> Mapping[int, Estimate]: ...
    @property
    def controls(self) -> Mapping[int, Estimate]: ...
    @property
    def pictures(self) -> int: ...
    @property
    def found(self) -> Sequence[Repeating] | None: ...


@dataclass(frozen=True)
class Told:
    """What a trace tells beside the gradients.

    traced: the period that strides lead to, None where that is not known. hidden: traced periods that do not fit into the pictures often
    enough. network: whether there is one, whose layers could explain what is found.
    """

    traced: tuple[int, int] | None = (1, 1)
    hidden: tuple[tuple[int, int], ...] = ()
    network: bool = True


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
    """What was found, and what it is called: every output shows this one sentence, or the beginning of it.

    parts: the energy of each exact period that a checkerboard has, the strongest first; empty where there is none. spoken: the period
    that is named, in pixels; energy: E of it, None where there is none to name. chances: by exact period, how often the frequencies
    beside it hold as much, None where errors alone were asked. layers: those that make it, with their shares of E, the strongest
    first. repeats: whether the gradients themselves showed it; needs: the layers that explain it then. drifts: the gradients show a
    grid of no whole period; mostly: and nothing stronger. pictures, control: how many, and the control that stands out, if one does.
    height: of a comb in pictures, in grey levels. told: what a trace says. subject: what was measured, where a sentence has to say it.
    remedy: what others leave of it, as the end of a sentence. step: a command that leads on from there.
    """

    total_stride: int
    spoken: Period
    energy: Estimate | None
    parts: Mapping[int, Estimate] = field(default_factory=dict)
    chances: Mapping[int, float] | None = None
    layers: tuple[tuple[str, float], ...] = ()
    repeats: bool = False
    needs: tuple[str, ...] = ()
    drifts: bool = False
    mostly: bool = False
    pictures: int = 0
    control: tuple[int, Estimate] | None = None
    height: float | None = None
    told: Told = field(default_factory=Told)
    subject: str = ""
    remedy: str = ""
    step: str = ""

    @classmethod
    def in_gradients(cls, measured: Measured, told: Told | None = None) -> Finding:
        """The finding of what was measured in gradients: the period that they show, else the one that stands above its error."""
        exact, shown = measured.exact_periods, measured.found or ()
        clear = sorted((p for p, e in exact.items() if e.value > CLEAR * (e.error or 0)), key=lambda p: -exact[p].value)
        spoken: Period = clear[0] if clear else measured.total_stride
        energy, needs = measured.energy.get(clear[0] if clear else measured.total_stride), tuple[str, ...]()
        sure = [one for one in shown if one.period is not None and one.energy is not None and _stands(one.energy)]
        if sure:
            strongest = max(sure, key=lambda one: one.energy.value if one.energy is not None else 0.0)
            spoken, energy = _whole(simple(strongest.period or (1, 1)), strongest.energy, clear, measured.energy)
            needs = tuple(strongest.layers)
        controls = [(p, e) for p, e in true_controls(measured).items() if e.error and abs(e.value) > CONTROL * e.error]
        if any(one.period is None or any(measured.total_stride % length for length in one.period) for one in shown):
            controls = []  # Only what repeats with the strides is taken off before controls are measured; the rest leaks into them.
        return cls(
            measured.total_stride,
            spoken,
            energy,
            {p: exact[p] for p in clear},
            repeats=bool(sure),
            needs=needs,
            drifts=any(one.period is None for one in shown),
            mostly=bool(shown) and shown[0].period is None and not clear,
            pictures=measured.pictures,
            control=max(controls, key=lambda one: abs(one[1].value) / (one[1].error or 1), default=None),
            told=told or Told(),
        )

    @classmethod
    def judged_beside(cls, measured: Measured, judged: Judged, height: float | None = None) -> Finding:
        """The finding of what was judged beside the frequencies around: the period that stands out most, else the longest judged.

        height: of the comb in pictures, in grey levels; one that no picture can hold is none.
        """
        total, exact = measured.total_stride, measured.exact_periods
        parts = {p: exact[p] for p in sorted(judged.standing_out, key=lambda p: -exact[p].value) if _stands(exact[p])}
        if height is not None and height < LEAST_HEIGHT:
            parts = {}
        spoken = next(iter(parts), total if judged.longest == 1 else judged.longest)
        energy = measured.energy.get(spoken)
        return cls(total, spoken, energy, parts, judged.chances, pictures=measured.pictures, height=height)

    def blaming(self, shares: Iterable[tuple[str, float]]) -> Finding:
        """The same with the layers that make it. shares: of the energy of the period that is named, by layer."""
        return replace(self, layers=makers_of(shares) if self.period is not None else ())

    @property
    def period(self) -> Period | None:
        """The period of the strongest checkerboard; None where there is none."""
        return self.spoken if self.repeats or self.parts else None

    @property
    def size(self) -> str:
        """How strong that is, in a word; empty where there is no checkerboard, and for pictures, whose height is told instead."""
        if self.period is None or self.energy is None or self.height is not None:
            return ""
        return size_of(self.energy)[0]

    def content(self) -> dict[str, Any]:
        """Everything that is said, as JSON takes it; period: that which is spoken of, in pixels or as [rows, columns]."""
        return {
            "checkerboard": self.period is not None,
            "period": self.spoken if isinstance(self.spoken, int) else list(self.spoken),
            "energy": None if self.energy is None else self.energy._asdict(),
            "size": self.size,
            "layers": [{"layer": layer, "share": share} for layer, share in self.layers],
            "sentence": self.sentence(),
        }

    def headline(self) -> str:
        """The one number, such as "E(8) = 0.2900 ± 0.0040"."""
        return named(self.spoken, self.energy)

    def sentence(self) -> str:
        """What was found in a sentence, with what makes it, what others leave of it, what could not be told, and the next step."""
        step = f" Try: {self.step}." if self.step else ""
        return f"{self.short()}{self._untold()}{step}"

    def short(self) -> str:
        """The sentence alone, as a figure has room for it."""
        subject = f"{self.subject}: " if self.subject else ""
        return f"{subject}{self.clause()}{self.blame()}{self.remedy}."

    def clause(self) -> str:
        """What was found, as the beginning of a sentence."""
        if self.energy is None:
            return self._nothing()
        if self.period is not None:
            high = size_of(self.energy)[1] if self.height is None else f"{grey_levels(self.height)} high"
            said = f"{self.headline()}: {high}"
            return f"{DRIFTS}; beside that {said}" if self.mostly else f"Period {period_words(self.period)}, {said}"
        if self.chances is not None:
            return self._not_beside(self.chances)
        what = "picture" if self.told.network else "map"
        return f"No checkerboard found: {self.headline()}, {indistinct(self.energy, self.pictures, what)}"

    def _nothing(self) -> str:
        if self.drifts:
            return DRIFTS
        if self.told.hidden:
            return f"Nothing can be told at this size: {self._hidden()}"
        if self.told.traced is None:
            return "No period stands out in the gradients, and the network's own cannot be traced"
        return NO_STRIDE

    def _hidden(self) -> str:
        """Which traced periods the pictures are too small for."""
        periods = [period_words(simple(period)) for period in self.told.hidden]
        many = len(periods) > 1
        return f"period{'s' if many else ''} {listed(periods)} {'do' if many else 'does'} not fit four times into the pictures"

    def _not_beside(self, chances: Mapping[int, float]) -> str:
        """That nothing stands out beside the frequencies around."""
        if self.height is not None and self.height < LEAST_HEIGHT:
            return f"No checkerboard found: {self.headline()}, and no more than {grey_levels(self.height)} high"
        if not chances:
            return f"Nothing can be told at this size: {self.headline()}"
        return f"No checkerboard found: {self.headline()}, no more than the frequencies beside it hold"

    def blame(self) -> str:
        """The layers that make most of it, as the end of a sentence; empty where there is none or they were not asked for."""
        if self.layers:
            return f"; {makers_words(self.layers)}"
        if not self.repeats or not self.told.network:
            return ""
        if not self.needs:
            return "; no layer that was traced explains it"
        many = "" if len(self.needs) <= MOST_NAMED else f" and {len(self.needs) - MOST_NAMED} more"
        names = listed(self.needs) if not many else ", ".join(self.needs[:MOST_NAMED])
        return f"; the strides up to {names}{many} explain it"

    def _untold(self) -> str:
        """What the sentence does not speak of, as further ones."""
        if self.chances is None:
            return self._beside()
        longest = max(self.chances, default=1)
        if longest == self.total_stride:
            return ""
        above = f" above {longest}" if longest > 1 else ""
        held = "these" if longest > 1 else "they"
        return (
            f" No period{above} fits four times into the pictures: what {held} hold may be content in the same place."
        )

    def _beside(self) -> str:
        said = ""
        if self.control is not None:
            said += f" Control {named(*self.control)} stands out too: content in the same place of all pictures, not strides alone."
        elif self.drifts and not self.mostly and self.energy is not None:
            said += " A grid drifts over the picture beside it."
        if self.told.hidden and self.energy is not None:
            hidden = self._hidden()
            said += f" {hidden[0].upper()}{hidden[1:]}: that cannot be told at this size."
        return said


def true_controls(measured: Measured) -> dict[int, Estimate]:
    """The controls on which no period falls that the gradients show: what is found at 1 x 5 stands at control 5 too."""
    lengths = {length for one in measured.found or () for length in one.period or ()}
    return {
        period: energy
        for period, energy in measured.controls.items()
        if all(math.gcd(period, length) == 1 for length in lengths)
    }


def _whole(
    period: Period, energy: Estimate | None, clear: Sequence[int], energies: Mapping[int, Estimate]
) -> tuple[Period, Estimate | None]:
    """A found period and its energy; of one that was found along one axis alone, that of both axes where they clearly hold more."""
    if isinstance(period, int) or energy is None or max(period) not in clear:
        return period, energy
    both = energies[max(period)]
    more = both.value - energy.value > TOLD * math.hypot(both.error or 0, energy.error or 0)
    return (max(period), both) if more else (period, energy)


def _stands(energy: Estimate) -> bool:
    return energy.value > TOLD * (energy.error or 0)


def simple(period: tuple[int, int]) -> Period:
    """A period as one number where it is the same along both axes."""
    rows, columns = period
    return rows if rows == columns else period


def period_words(period: Period) -> str:
    """A period in words: "4", or "4 x 8" for rows x columns."""
    return str(period) if isinstance(period, int) else f"{period[0]} x {period[1]}"


def counted(number: int, what: str = "picture") -> str:
    """So many pictures, or others, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def makers_of(shares: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """The fewest layers that make most of it, the strongest first."""
    makers: list[tuple[str, float]] = []
    for layer, share in sorted(shares, key=lambda one: -one[1]):
        if share < FAINTEST or len(makers) == MOST_NAMED or sum(its for _, its in makers) >= ENOUGH:
            break
        makers.append((layer, share))
    return tuple(makers)


def grey_levels(height: float) -> str:
    """A comb's height, "3.1 of 255 grey levels"."""
    return f"{height:.2g} of 255 grey levels"


def makers_words(makers: Sequence[tuple[str, float]]) -> str:
    """How much of an energy layers make together: "pool makes 97% of it"."""
    share = sum(its for _, its in makers)
    verb = "makes" if len(makers) == 1 else "make"
    # Each is evened alone: what two of them make together counts for both.
    return f"{listed([name for name, _ in makers])} {verb} {'all' if share > 1 else percent(share)} of it"


def size_of(energy: Estimate) -> tuple[str, str]:
    """What an energy is called, in a word and in a sentence.

    >>> size_of(Estimate(0.0198, 0.0013))
    ('weak', 'weak, not visible in a single map')
    """
    return next((word, said) for limit, word, said in SIZES if energy.value < limit)


def indistinct(energy: Estimate, pictures: int = 0, what: str = "picture") -> str:
    """That an energy is not told from 0, and how large it may be at most.

    >>> indistinct(Estimate(0.001, 0.001), 8)
    'not distinguishable from 0 with 8 pictures (below 0.003)'
    """
    among = f" with {counted(pictures, what)}" if pictures else ""
    limit = "" if energy.error is None else f" (below {max(energy.value, 0.0) + TOLD * energy.error:.2g})"
    return f"not distinguishable from 0{among}{limit}"


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{share:.0%}"


def named(period: Period, energy: Estimate | None) -> str:
    """An energy with its period, "E(8) = 0.2900 ± 0.0040"."""
    return f"E({period_words(period)}) = {words(energy)}"


def telling_period(energies: Mapping[int, tuple[float, float | None]]) -> int | None:
    """The longest period whose energy is above two errors, which holds the shorter ones; else the longest; None without strides."""
    clear = [period for period, (value, error) in energies.items() if error is None or value > TOLD * error]
    return max(clear or energies, default=None)


def energy_at(energies: Mapping[int, tuple[float, float | None]], period: int | None) -> str:
    """The energy of a period, or that there is none, as the head of a figure."""
    if period is None or period not in energies:
        return "no stride, no checkerboard to measure"
    return named(period, Estimate(*energies[period]))
