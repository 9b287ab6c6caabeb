"""One operation on the way back of expected energy, and what a rule for it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from featvis.tracing.trace import Operation, Value


@dataclass(frozen=True)
class Step:
    """One operation on the way back.

    energies: of each of its outputs, None where nothing arrived. shapes, makers: of every value, and the operation it came from.
    learned: each weight counts with its own square, otherwise all alike. notes: takes a line for each simplification. apart, kept: the
    values that are made by, and those that go into, anything but a function of single values.
    """

    operation: Operation
    energies: Sequence[Tensor | None]
    shapes: Mapping[int, tuple[int, ...]]
    makers: Mapping[int, Operation]
    learned: bool
    notes: set[str]
    apart: Set[int] = frozenset()
    kept: Set[int] = frozenset()

    @property
    def energy(self) -> Tensor:
        """The energy of the first output, the only one but for splits."""
        energy = self.energies[0]
        if energy is None:
            raise ValueError("only a secondary output is used")
        return energy

    def argument(self, position: int, default: Any = None) -> Any:
        arguments = self.operation.arguments
        return arguments[position] if len(arguments) > position else default

    def shape(self, value: Value) -> tuple[int, ...]:
        return self.shapes[value.number]

    def squares(self, weight: Tensor, read: int) -> Tensor:
        """The squares of the weights or, where only the architecture counts, 1 / (number of values that an output reads) for each."""
        weight = (weight.abs() if weight.is_complex() else weight).to(self.energy.dtype)
        return weight.square() if self.learned else weight.new_full((), 1 / read).expand_as(weight)


Flow: TypeAlias = Iterator[tuple[Value, Tensor]]
Rule: TypeAlias = Callable[[Step], Flow]
