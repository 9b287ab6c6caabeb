"""Which operations are functions of single values, and draws of what such functions make of standard normal activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from featvis.predict.steps import Step
from featvis.tracing.trace import Operation, Value

QUANTILES = 1001
"""Values of the standard normal distribution over which a function of one activation is averaged; 16 times as many for several."""

DEEPEST = 3
"""So many states before are drawn; the first of them is a standard normal."""

CENTRED = 0.05
"""Draws with a smaller mean are no sizes."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _names(
    "relu hardtanh leaky_relu elu celu selu gelu silu mish softplus hardswish hardsigmoid sigmoid tanh log_sigmoid_forward "
    "softshrink hardshrink threshold clamp clamp_min clamp_max abs neg exp exp2 expm1 erf erfc sin cos tan sinh cosh asinh atan "
    "atan2 log log1p log2 log10 sqrt rsqrt reciprocal pow logit sinc nan_to_num hypot square mul div addcmul addcdiv lerp where "
    "maximum minimum fmax fmin masked_fill clone _to_copy"
)
"""Operators that make each value of one value of each argument, and pass a gradient."""

STEPS = _names(
    "sign sgn gt lt ge le eq ne floor ceil round trunc heaviside logical_and logical_or logical_not logical_xor "
    "bitwise_and bitwise_or bitwise_not isnan isfinite"
)
"""The same whose slope is 0 everywhere."""

SUMS = _names("add sub rsub")
"""A sum with a number is a function; one of two activations where both depend on the same."""

CHOICES = _names("where maximum minimum fmax fmin")
"""One of two, each half of the time where nothing else is known."""

PRODUCTS = _names("mul div addcmul addcdiv lerp where masked_fill")
"""Linear in each argument by itself, but for divisors."""

MOVES = _names(
    "view _unsafe_view reshape permute transpose t contiguous alias expand squeeze unsqueeze slice select split "
    "split_with_sizes unsafe_split unbind index index_select repeat gather roll flip pixel_shuffle pixel_unshuffle channel_shuffle"
)
"""Values elsewhere: what they make is distributed as before."""


def functions(operations: Iterable[Operation]) -> set[int]:
    """The values that are functions of single values: made by FUNCTIONS and STEPS, and by sums of what depends on a common value.

    operations: in order. Of other sums, such as those at a shortcut, each part goes its own way.
    """
    makers: dict[int, Operation] = {}
    starts: dict[int, frozenset[int]] = {}
    found: set[int] = set()
    for operation in operations:
        if not _can_join(operation):
            continue
        made = operation.outputs[0]
        parts = [starts.get(number, frozenset((number,))) for number in operation.inputs]
        makers[made], starts[made] = operation, frozenset().union(*parts)
        if not _adds(operation):
            found.add(made)
        elif len(starts[made]) < sum(map(len, parts)):
            found |= _between(made, makers)
    return found


def _can_join(operation: Operation) -> bool:
    """Whether it makes each value of single values alone: what takes part beside the traced ones is one number."""
    if to_complex(operation) or operation.operator not in FUNCTIONS | STEPS | SUMS:
        return False
    return all(_is_number(leaf) for leaf in leaves(operation) if isinstance(leaf, Tensor | complex))


def _is_number(leaf: Tensor | complex) -> bool:
    """Whether a tensor holds the same number everywhere, as a state that starts at 0 does."""
    return isinstance(leaf, Tensor) and bool(leaf.numel()) and bool((leaf == leaf.flatten()[0]).all())


def _adds(operation: Operation) -> bool:
    return operation.operator in SUMS and len(operation.inputs) == 2


def _between(made: int, makers: Mapping[int, Operation]) -> set[int]:
    """A value and the sums and products that it is made of; what goes into a nonlinearity is another activation."""
    waiting, found = [made], set[int]()
    while waiting:
        number = waiting.pop()
        if number in makers and number not in found and makers[number].operator in SUMS | PRODUCTS:
            found.add(number)
            waiting += makers[number].inputs
    return found


def to_complex(operation: Operation) -> bool:
    """Whether it makes complex values of real ones."""
    dtype = operation.keywords.get("dtype")
    return isinstance(dtype, torch.dtype) and dtype.is_complex


def leaves(operation: Operation) -> list[Any]:
    """All that an operation was given, out of lists and keywords."""
    whole = (operation.arguments, operation.keywords)
    return list(tree_leaves(whole, is_leaf=lambda item: isinstance(item, Value)))


def _run(operation: Operation, exchanged: Callable[[Value], Tensor], count: int) -> Tensor:
    """The first result with so many draws for each tensor."""

    def filled(leaf: Tensor) -> Tensor:
        return leaf.flatten()[0].expand(count).clone() if leaf.ndim else leaf

    given = tree_map_only(Tensor, filled, (operation.arguments, operation.keywords))
    arguments, keywords = tree_map_only(Value, exchanged, given)
    result = operation.overload(*arguments, **keywords)
    return result if isinstance(result, Tensor) else result[0]


@lru_cache(64)
def normal(count: int, device: torch.device, dimension: int = 0) -> Tensor:
    """Draws of a standard normal: its quantiles in dimension 0, in others in an order of their own."""
    if dimension == 0:
        places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    else:
        places = torch.quasirandom.SobolEngine(dimension).draw(count, dtype=torch.float64)[:, -1].clamp_min(0.5 / count)
    return torch.special.ndtri(places).to(device)


def shares(count: int) -> tuple[Tensor, Tensor]:
    """What a softmax over so many standard normals gives two of them; of more than 32 the rest counts with its mean."""
    cpu = torch.device("cpu")
    drawn = torch.stack([normal(16 * QUANTILES, cpu, dimension) for dimension in range(min(count, 32))]).exp()
    first, *_, last = drawn / (drawn.sum(0) + max(count - 32, 0) * math.exp(0.5))
    return first, last


@dataclass
class Draws:
    """Draws of the function that ends at an operation, and of all that it is made of.

    starts: the activations where it starts, with a graph. divisors: those of them that were only divided by.
    """

    step: Step
    count: int
    dimensions: list[int] = field(default_factory=lambda: [0])
    depth: int = 0
    known: dict[int, Tensor] = field(default_factory=dict)
    starts: dict[int, Tensor] = field(default_factory=dict)
    divisors: set[int] = field(default_factory=set)

    def slopes(self) -> dict[int, Tensor]:
        """Of the whole function by each of its starts."""
        with torch.enable_grad():
            whole = self._made(self.step.operation)
            if len(self.starts) == len(self.divisors):
                self.divisors.clear()
            starts = {number: draws for number, draws in self.starts.items() if number not in self.divisors}
            found = torch.autograd.grad(whole.sum(), list(starts.values()), allow_unused=True) if starts else ()
        return {number: slope for number, slope in zip(starts, found, strict=True) if slope is not None}

    def _made(self, operation: Operation) -> Tensor:
        """By a function. What roots, logarithms and divisions start from is a size, and counts with its mean."""
        for position, argument in enumerate(operation.arguments):
            if not isinstance(argument, Value) or argument.number in self.known or not self._starts(argument.number):
                continue
            if _is_size(operation, position):
                self._start(argument.number, torch.full_like(self._normal(0), self._size(argument.number)))
                if operation.operator in ("div", "addcdiv"):
                    self.divisors.add(argument.number)
        return _run(operation, lambda value: self.of(value.number).clone(), self.count)

    def of(self, number: int) -> Tensor:
        if number not in self.known:
            starts = self._starts(number)
            draws = self._distributed(number) if starts else self._again_or_made(number)
            if (starts or number in self.step.kept) and draws.is_floating_point():
                self._start(number, draws.detach())
            else:
                self.known[number] = draws
        return self.known[number]

    def _again_or_made(self, number: int) -> Tensor:
        """A function's draws; a sum that is read elsewhere, such as a recurrent state, is followed back only so far."""
        maker = self.step.makers[number]
        if number not in self.step.kept or not _adds(maker):
            return self._made(maker)
        if self.depth == DEEPEST:
            return self._normal(self._turn())
        return Draws(self.step, self.count, self.dimensions, self.depth + 1)._made(maker)

    def _start(self, number: int, draws: Tensor) -> None:
        self.known[number] = self.starts[number] = draws.requires_grad_()

    def _size(self, number: int) -> float:
        """The mean of draws that are positive by their kind; 1 where nothing is known."""
        mean = float(self.again(number).mean())
        return mean if mean > CENTRED else 1.0

    def _starts(self, number: int) -> bool:
        return number in self.step.apart or number not in self.step.makers

    def again(self, number: int) -> Tensor:
        """A value, independent of all draws before."""
        return Draws(self.step, self.count, self.dimensions).of(number).detach()

    def _distributed(self, number: int) -> Tensor:
        """As what it was moved from, independent of it, or as a mean or sum of that; otherwise a standard normal."""
        maker = self.step.makers.get(number)
        if maker is None or len(maker.inputs) != 1:
            return self._normal(self._turn())
        if maker.operator in MOVES:
            return self.again(maker.inputs[0])
        if maker.operator == "_softmax" and maker.shape[maker.arguments[1]] > 1:
            return shares(maker.shape[maker.arguments[1]])[0][:: 16 * QUANTILES // self.count].to(
                self.step.energy.device
            )
        if maker.operator == "linalg_vector_norm":
            return torch.full_like(self._normal(0), math.sqrt(self._gathered(maker)))
        drawn = self._normal(self._turn())
        if maker.operator not in ("mean", "sum", "avg_pool1d", "avg_pool2d", "_adaptive_avg_pool2d"):
            return drawn
        source, count = self.again(maker.inputs[0]), self._gathered(maker)
        averaged = source.mean() + drawn * source.std() / math.sqrt(count)
        return averaged * count if maker.operator == "sum" else averaged

    def _gathered(self, maker: Operation) -> float:
        """How many values go into each result."""
        if maker.window is not None:
            return math.prod(maker.window.on(int(maker.operator[-2])).kernel)
        return max(1.0, math.prod(self.step.shapes[maker.inputs[0]]) / max(1, math.prod(maker.shape)))

    def _turn(self) -> int:
        self.dimensions[0] += 1
        return self.dimensions[0] - 1

    def _normal(self, dimension: int) -> Tensor:
        return normal(self.count, self.step.energy.device, dimension)


def _is_size(operation: Operation, position: int) -> bool:
    """Whether an operator is made for positive values there."""
    if operation.operator == "pow":
        exponent = operation.arguments[1]
        return position == 0 and not (isinstance(exponent, int | float) and exponent > 0 and exponent == int(exponent))
    if operation.operator in ("sqrt", "rsqrt", "log", "log2", "log10", "reciprocal"):
        return True
    return (operation.operator, position) in (("div", 1), ("addcdiv", 2))
