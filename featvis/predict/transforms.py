"""How expected energy passes backwards through Fourier transforms and between real and complex values.

The energy of a complex gradient is that of both parts together, which carry half of it each.
"""

from __future__ import annotations

import math

import torch

from featvis.predict.steps import Flow, Step
from featvis.tracing.trace import Value


def fourier(step: Step) -> Flow:
    """An even mix: every coefficient is as large as any other.

    A real input takes the real part of what arrives, half of it. Of a half spectrum, all but the first and the middle frequency stand
    for two, so that the energy that they take is four times as much.
    """
    value, dimensions, scaling = step.argument(0), step.argument(1), step.argument(2)
    operator, shape = step.operation.operator, step.shape(value)
    full = step.energy.shape if operator == "_fft_c2r" else shape
    count = math.prod(full[dimension] for dimension in dimensions)
    energy = (step.energy.sum(dimensions, keepdim=True) * count ** -float(scaling)).expand(shape)
    if operator == "_fft_r2c":
        energy = energy / 2
    if operator == "_fft_c2r":
        last, length = dimensions[-1] % len(shape), full[dimensions[-1]]
        frequency = torch.arange(shape[last])
        twice = torch.where((frequency > 0) & (2 * frequency != length), 4.0, 1.0).to(energy)
        energy = energy * twice.view(-1, *(1,) * (len(shape) - 1 - last))
    yield value, energy


def two_of_complex(step: Step) -> Flow:
    """Real and imaginary part, side by side in a last dimension."""
    yield step.argument(0), step.energy.sum(-1)


def complex_of_two(step: Step) -> Flow:
    """The same the other way, from a last dimension or from two tensors."""
    if step.operation.operator == "view_as_complex":
        yield step.argument(0), (step.energy / 2).unsqueeze(-1).expand(step.shape(step.argument(0)))
        return
    for part in step.operation.arguments[:2]:
        if isinstance(part, Value):
            yield part, (step.energy / 2).sum_to_size(step.shape(part))
