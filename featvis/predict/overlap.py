"""How often a stack of strided convolutions reads each pixel, and the checkerboard that follows, exactly.

A stack is a sequence of stages, listed from the pixels to the score: the first stage is the one that reads the
pixels. Its backward pass carries the gradient from the score to the pixels, which is the forward pass of the
transposed convolutions with the same numbers, last stage first. So a generator of transposed convolutions is listed
from its picture back to its noise.

The count of a pixel is the number of paths that lead to it from the positions at the coarsest end. With independent
weights of equal variance the expected energy of the gradient is proportional to it, for weights of one it is the
gradient itself. Everything is a whole number or a Fraction. Axes are independent: the count in 2-D is the product of
the counts in 1-D.

Source: Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, section "Deconvolution &
Overlap".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from numbers import Rational
from typing import Any, TypeAlias

import numpy as np

from featvis.errors import FeatvisError
from featvis.measure.periods import periods_of

LARGEST = 2**22
"""Pixels, per axis or per picture, that are still counted: a picture of 2048 by 2048."""

GRAMMAR = "kernel,stride[,padding[,dilation[,output_padding]]], each a number, or rows x columns such as 3x5"
"""What `parse_stage` reads."""


@dataclass(frozen=True)
class Stage:
    """One convolution along one axis, in the words of torch.nn.Conv1d and ConvTranspose1d.

    output_padding: pixels after the last window, which no window reads; less than the stride or the dilation.
    Raises FeatvisError where a value is not a whole number in its range.
    """

    kernel: int
    stride: int
    padding: int = 0
    dilation: int = 1
    output_padding: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name.endswith("padding") else 1
            if type(value) is not int or value < least:
                raise FeatvisError(f"the {field.name} of a stage is {value!r}; give a whole number of at least {least}")
        if self.output_padding >= max(self.stride, self.dilation):
            raise FeatvisError(
                f"output_padding {self.output_padding} is not less than the stride {self.stride} or the dilation "
                f"{self.dilation}; give a smaller output_padding"
            )

    def __str__(self) -> str:
        extras = (("p", self.padding, 0), ("d", self.dilation, 1), ("op", self.output_padding, 0))
        given = "".join(f" {letter}{value}" for letter, value, default in extras if value != default)
        return f"k{self.kernel} s{self.stride}{given}"


Stack: TypeAlias = Sequence[Stage]
"""Stages of one axis, from the pixels to the score."""


def parse_pair(text: str, name: str) -> tuple[int, int]:
    """A number for both axes, "8", or one for the rows and one for the columns, "6x4"; FeatvisError calls it `name`."""
    match = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", text.strip())
    if match is None:
        raise FeatvisError(f"{name} is {text!r}; give a whole number, 3, or one for rows and one for columns, 3x5")
    return int(match[1]), int(match[2] or match[1])


def parse_stage(text: str) -> tuple[Stage, Stage]:
    """The stage of the rows and the stage of the columns, from a text such as "3,2,1" or "3x5,2x1,1x2".

    The grammar: `kernel,stride[,padding[,dilation[,output_padding]]]`, each a number or, where the axes
    differ, one for the rows and one for the columns, `3x5`. Raises FeatvisError where the text is not of this form or a
    value is out of range.
    """
    parts, names = text.split(","), [field.name for field in fields(Stage)]
    if not 2 <= len(parts) <= len(names):
        raise FeatvisError(f"the stage {text!r} has {len(parts)} of 2 to {len(names)} parts; give {GRAMMAR}")
    pairs = [parse_pair(part, f"the {name} in {text!r}") for part, name in zip(parts, names, strict=False)]
    rows, columns = zip(*pairs, strict=True)
    return Stage(*rows), Stage(*columns)


def parse_stack(texts: Sequence[str]) -> tuple[list[Stage], list[Stage]]:
    """The stack of the rows and the stack of the columns, one text a stage, from the pixels to the score."""
    stages = [parse_stage(text) for text in texts]
    return [rows for rows, _ in stages], [columns for _, columns in stages]


def total_stride(stack: Stack) -> int:
    """The product of the strides: the period of the interior, in pixels."""
    return math.prod(stage.stride for stage in stack)


def counts(stack: Stack, positions: int) -> np.ndarray:
    """How many paths lead to each pixel from `positions` windows of the last stage, borders and padding included.

    Returns (pixels,), whole numbers that cannot overflow: no count exceeds the product of the kernels, and where that
    does not fit 64 bits the array holds Python integers. Raises FeatvisError where padding leaves no pixel, or for
    too many pixels.
    """
    if type(positions) is not int or not 0 < positions <= LARGEST:
        raise FeatvisError(f"{positions!r} positions; give a whole number from 1 to {LARGEST}")
    row = np.ones(positions, dtype=_dtype(math.prod(stage.kernel for stage in stack)))
    for stage in reversed(stack):
        row = _transposed(row, stage)
    return row


def counts_2d(rows: Stack, columns: Stack, positions: int | tuple[int, int]) -> np.ndarray:
    """The counts of a picture, (H, W): the outer product of the counts of its two axes; see `counts`.

    positions: at the coarsest end, of both axes or of (rows, columns).
    """
    down, across = positions if isinstance(positions, tuple) else (positions, positions)
    column, row = counts(rows, down), counts(columns, across)
    _check_length(len(column) * len(row), "the picture")
    dtype = _dtype(int(column.max()) * int(row.max()))
    return np.multiply.outer(column.astype(dtype), row.astype(dtype))


def profile(stack: Stack) -> np.ndarray:
    """One period of the counts far from every border, from a pixel whose index is a multiple of the total stride.

    Pixel 0 is the picture's own first pixel, so that padding shifts the profile. Returns (total stride,), whole
    numbers as in `counts`, whose sum is the product of the kernels. With independent weights of equal variance it is
    the expected energy.
    """
    _check_length(total_stride(stack), "the total stride")
    row = np.ones(1, dtype=_dtype(math.prod(stage.kernel for stage in stack)))
    for stage in reversed(stack):
        fine = np.zeros(len(row) * stage.stride, dtype=row.dtype)
        first = np.arange(len(row)) * stage.stride - stage.padding
        for tap in range(stage.kernel):
            fine[(first + tap * stage.dilation) % len(fine)] += row
        row = fine
    return row


def energy(profile: Sequence[int] | np.ndarray, period: int) -> Fraction:
    """Checkerboard energy E(period) of a profile: mean over phases of (q - 1) squared, q each phase's mean over all.

    profile: whole numbers or Fractions, one period of a row that goes on for ever. A period that does not divide its
    length folds to what both share, so that a period with nothing in common has energy 0. Raises FeatvisError for a
    profile that sums to 0.
    """
    if period < 1:
        raise FeatvisError(f"the period is {period}; give a whole number of pixels, at least 1")
    values = np.asarray(profile)
    if values.ndim != 1 or not values.size:
        raise FeatvisError(f"a profile of shape {values.shape}; give one row of whole numbers")
    phases = math.gcd(len(values), period)
    folded: Any = values.astype(object).reshape(-1, phases).sum(axis=0)
    total = folded.sum()
    if not isinstance(total, Rational) or total == 0:
        raise FeatvisError(f"a profile that sums to {total!r}; give whole numbers or Fractions, not all 0")
    return Fraction(phases * (folded * folded).sum()) / Fraction(total) ** 2 - 1


def energy_2d(rows: Sequence[int] | np.ndarray, columns: Sequence[int] | np.ndarray, period: int) -> Fraction:
    """E(period) in 2-D from the profiles of its axes: (1 + E of the rows) (1 + E of the columns) - 1."""
    return (1 + energy(rows, period)) * (1 + energy(columns, period)) - 1


def energies_by_period(rows: Stack, columns: Stack | None = None) -> dict[int, Fraction]:
    """E(p) for each divisor p > 1 of the total stride, ascending; each includes the energy of the divisors of p.

    In 1-D without `columns`; a stack on itself, `energies_by_period(stack, stack)`, is the usual 2-D. Where the axes
    have different total strides, p divides their least common multiple and each axis folds to what its own stride
    shares with p.
    """
    profiles = [profile(stack) for stack in (rows, columns) if stack is not None]
    total = math.lcm(*(len(axis) for axis in profiles))
    _check_length(total, "the total stride of both axes")
    return {
        period: math.prod((1 + energy(axis, period) for axis in profiles), start=Fraction(1)) - 1
        for period in periods_of(total)
    }


def total_energy(rows: Stack, columns: Stack | None = None) -> Fraction:
    """E at the total stride, in 1-D or, with `columns`, in 2-D: the largest of all periods, 0 without a stride."""
    return max(energies_by_period(rows, columns).values(), default=Fraction(0))


def balanced_kernels(kernel: int, stride: int, dilation: int = 1) -> tuple[int, ...]:
    """The nearest kernel sizes, below and above, that read every pixel equally often (E = 0), ascending.

    These are the multiples of the stride; the kernel alone where it is one. The taps fall on the phases 0, d, 2d, ...
    modulo the stride. Where dilation and stride have no common factor, `stride` taps in a row visit each phase once;
    where they have one, some phases are never read: the answer is empty, and only another dilation helps.
    """
    Stage(kernel, stride, dilation=dilation)
    if math.gcd(stride, dilation) > 1:
        return ()
    below = kernel - kernel % stride
    return tuple(size for size in sorted({below, -(-kernel // stride) * stride}) if size > 0)


def _transposed(row: np.ndarray, stage: Stage) -> np.ndarray:
    """The transposed convolution of a row with a kernel of ones."""
    reach = (len(row) - 1) * stage.stride + 1
    span = reach + (stage.kernel - 1) * stage.dilation + stage.output_padding
    _check_length(span, "the picture")
    if span <= 2 * stage.padding:
        raise FeatvisError(
            f"{len(row)} positions of the stage {stage} cover {span} pixels and its padding crops {2 * stage.padding}; "
            "give more positions or less padding"
        )
    fine = np.zeros(span, dtype=row.dtype)
    for tap in range(stage.kernel):
        start = tap * stage.dilation
        fine[start : start + reach : stage.stride] += row
    return fine[stage.padding : span - stage.padding]


def _dtype(largest: int) -> type[Any]:
    """Whole numbers up to `largest`: machine integers where they fit, Python's own otherwise."""
    return np.int64 if largest < 2**63 else object


def _check_length(length: int, what: str) -> None:
    if length > LARGEST:
        raise FeatvisError(f"{what} has {length} pixels, more than {LARGEST}; give fewer positions or smaller stages")
