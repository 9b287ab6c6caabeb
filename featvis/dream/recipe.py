"""How a dream is made: everything that can be chosen beside the network, the objective and the photograph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from featvis.dream.activations import PRECISIONS
from featvis.dream.ascent import ASCENTS, SCHEDULES
from featvis.dream.parameterisations import PARAMETERISATIONS
from featvis.dream.transforms import Transform, standard
from featvis.errors import FeatvisError
from featvis.gradients.attributions import Attribution, named
from featvis.gradients.compensations import COMPENSATIONS

STEPS_OF_AN_OCTAVE, STEPS_FROM_NOISE = 20, 512
"""Twice those of Google's DeepDream notebook, and Lucent's threshold, which is shared among the octaves where there are several."""


@dataclass(frozen=True)
class Recipe:
    """The choices of a dream; None stands for what is usual, which depends on whether it starts from a photograph.

    param: a key of PARAMETERISATIONS, or a function that returns what Lucent's return; usually "plain" from a photograph, "fourier" from
    noise. size: (H, W), usually the photograph's or the model's. steps: for each octave, usually 20 from a photograph, from noise 512
    in all. octaves: pictures of growing size, octave_scale (or its inverse) apart; the detail of each is carried to the next. jitter:
    pixels of the random circular shift of each step, along each axis and to both sides, undone after it. transforms: Lucent's or
    featvis's, in order, usually none for a photograph and Lucent's standard ones in one resampling for noise. ascent: a key of
    ASCENTS, or a function from values to an optimiser, usually "mean-absolute" or "adam"; rate: its rate, and strength:
    what that is multiplied by; schedule: a key of SCHEDULES, over each octave. compensation: an attribution, such as Jitter(), or the
    name of one of COMPENSATIONS, of each step's gradient. precision, prepare: see `Activations`. seed: of every random
    draw. frames_every: steps between frames, 0 for none.
    """

    param: str | Callable[[], tuple[Any, Callable[[], Tensor]]] | None = None
    size: tuple[int, int] | None = None
    steps: int | None = None
    octaves: int = 1
    octave_scale: float = 1.4
    jitter: int = 0
    transforms: Sequence[Transform] | None = None
    ascent: str | Callable[[list[Tensor]], torch.optim.Optimizer] | None = None
    rate: float | None = None
    strength: float = 1.0
    schedule: str = "constant"
    compensation: Attribution | str = "none"
    precision: str | None = None
    prepare: bool = True
    seed: int = 0
    frames_every: int = 0

    def resolved(self, from_photograph: bool, size: tuple[int, int]) -> Recipe:
        """The same without a None that stands for something usual. Raises FeatvisError for what does not exist or is out of range."""
        ascent = self.ascent or ("mean-absolute" if from_photograph else "adam")
        usual = ASCENTS[ascent].rate if isinstance(ascent, str) and ascent in ASCENTS else None
        recipe = replace(
            self,
            param=self.param or ("plain" if from_photograph else "fourier"),
            size=size,
            steps=self.steps if self.steps is not None else usual_steps(from_photograph, self.octaves),
            transforms=self.transforms if self.transforms is not None else [] if from_photograph else [standard()],
            ascent=ascent,
            rate=self.rate if self.rate is not None else usual,
            compensation=self.treatment,
        )
        recipe._check()
        if recipe.param == "maco" and recipe.octaves > 1 and not from_photograph:
            raise FeatvisError(
                "maco keeps the strength of every frequency, of which a smaller octave lacks the highest; give one octave, a photograph, "
                "or plain, pixel or fourier"
            )
        return recipe

    @property
    def treatment(self) -> Attribution:
        """What is made of each step's gradient. Raises FeatvisError for an unknown name."""
        given = self.compensation
        return named(COMPENSATIONS, "compensation", given) if isinstance(given, str) else given

    def _check(self) -> None:
        for name, known in (
            ("param", PARAMETERISATIONS),
            ("ascent", ASCENTS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            value = getattr(self, name)
            if isinstance(value, str) and value not in known:
                raise FeatvisError(f"no {name} {value!r}; known: {', '.join(known)}")
        for name, least in (("steps", 1), ("octaves", 1), ("jitter", 0), ("seed", 0), ("frames_every", 0)):
            if getattr(self, name) < least:
                raise FeatvisError(f"{name} {getattr(self, name)}; give at least {least}")
        if min(self.size or (1,)) < 1:
            raise FeatvisError(f"a size of {self.size}; give at least 1 x 1 pixel")
        if not self.octave_scale > 0 or self.octave_scale == 1:
            raise FeatvisError(f"an octave scale of {self.octave_scale}; give a factor such as 1.4, or its inverse")
        if self.param == "cppn" and self.octaves > 1:
            raise FeatvisError(
                "a pattern-producing network cannot start from a picture, nor from the octave before; give no photograph and one octave, "
                "or plain, pixel or fourier"
            )
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise FeatvisError(f"a rate of {self.rate}; give a finite one above 0")
        if not 0 < self.strength < math.inf:
            raise FeatvisError(f"a strength of {self.strength}; give a finite one above 0, 1 is usual")

    def optimiser(self, values: list[Tensor]) -> torch.optim.Optimizer:
        """The optimiser of these values. Raises FeatvisError for a rate beside a function that makes its own."""
        if isinstance(self.ascent, str):
            assert self.rate is not None
            return ASCENTS[self.ascent].optimiser(values, self.strength * self.rate)
        if self.rate is not None or self.strength != 1:
            raise FeatvisError("a rate or a strength beside a function that makes the optimiser; give the rate there")
        assert self.ascent is not None
        return self.ascent(values)

    def octave_sizes(self) -> list[tuple[int, int]]:
        """(H, W) of each octave, the smallest first; none after the first that is too small to be a picture."""
        assert self.size is not None
        factor = max(self.octave_scale, 1 / self.octave_scale)
        height, width = self.size
        sizes: list[tuple[int, int]] = []
        while len(sizes) < self.octaves and (not sizes or 0 not in sizes[0]):
            shrunk = factor ** -len(sizes)
            sizes.insert(0, (round(height * shrunk), round(width * shrunk)))
        return sizes

    def settings(self) -> dict[str, Any]:
        """Plain values, for JSON; functions by their names."""
        plain: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            value = value.settings()["compensation"] if isinstance(value, Attribution) else value
            plain[entry.name] = value if isinstance(value, int | float | str | None) else _described(value)
        return plain


def usual_steps(from_photograph: bool, octaves: int) -> int:
    """The steps of each octave where none are given."""
    return STEPS_OF_AN_OCTAVE if from_photograph else max(1, STEPS_FROM_NOISE // max(1, octaves))


def _described(value: object) -> Any:
    if isinstance(value, tuple | list):
        return [item if isinstance(item, int | float | str) else _described(item) for item in value]
    return getattr(value, "__qualname__", None) or repr(value)
