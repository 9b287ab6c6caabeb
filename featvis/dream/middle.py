"""Which layer to dream of where none is named: one in the middle of the network, as its trace tells."""

from __future__ import annotations

import math

import torch

from featvis.errors import FeatvisError
from featvis.models.model import Model
from featvis.tracing.networks import as_input
from featvis.tracing.trace import WEIGHTED, Trace, trace

MIDDLE = 4 / 7
"""How much of the depth is behind it: where inception4c ends in GoogLeNet, of which the first DeepDreams were made."""

LARGEST = 1 / 4
"""A block holds at most so much of the network; what holds more is not in its middle."""


NEAR = 1 / 20
"""Layers that end within so much of the depth of each other are as good; the outermost of them is taken."""


def middle_layer(model: Model) -> str:
    """The layer, by its dotted name, at whose end MIDDLE of the operations with weights have run; a block rather than a part of one.

    A layer with weights of its own or a block of such, whose output has more than one place. Raises FeatvisError where the network
    cannot be traced at its input size, or has no such layer.

    >>> middle_layer(featvis.load_model("zoo:cifar-k3s2"))
    'stage2'
    """
    try:
        distances = _distances(trace(model.module, as_input(model.module, torch.zeros(1, *model.input_size))))
    except FeatvisError as error:
        raise FeatvisError(f"no layer in the middle to dream of: {error}; give --objective LAYER") from error
    if not distances:
        raise FeatvisError("no layer to dream of by itself: none with weights returns a map; give --objective CLASS")
    nearest = min(distances.values())
    near = [layer for layer, distance in distances.items() if distance <= nearest + NEAR]
    return min(near, key=lambda layer: (layer.count("."), distances[layer]))


def _distances(record: Trace) -> dict[str, float]:
    """How far from MIDDLE each layer ends that may be taken, the last to end first."""
    before = record.leading_to(record.output)
    weighted = [operation for operation in before if operation.operator in WEIGHTED]
    reached = {number for operation in before for number in operation.outputs}
    distances = {}
    for layer, number in sorted(record.layer_outputs.items(), key=lambda one: -one[1]):
        inside = [operation for operation in weighted if f"{operation.layer}.".startswith(f"{layer}.")]
        own = any(operation.layer == layer for operation in inside)
        held = own or 0 < len(inside) <= LARGEST * len(weighted)
        if layer and held and number in reached and math.prod(record.shapes[number][2:]) > 1:
            done = sum(operation.outputs[0] <= number for operation in weighted)
            distances[layer] = abs(done / len(weighted) - MIDDLE)
    return distances
