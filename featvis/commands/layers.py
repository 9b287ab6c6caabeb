"""`featvis layers`: what a network does to the resolution, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from featvis.commands.help import command
from featvis.commands.options import model_options
from featvis.commands.tables import print_table

if TYPE_CHECKING:
    from featvis.commands.asked import NetworkAsked


@command(
    short_help="What each layer does to the resolution.",
    examples=(
        "featvis layers resnet18",
        "featvis layers nets.py:Net --size 64x96 --marked",
    ),
)
@model_options
@click.option("--marked", is_flag=True, help="Only layers that change the resolution, and pooling.")
def layers(network: NetworkAsked, marked: bool) -> None:
    """List a network's layers: kernel, stride, total stride so far, output shape; strided and pooling layers marked."""
    import torch

    from featvis.tracing.layer_table import layer_rows
    from featvis.tracing.trace import trace

    # The shape of things does not depend on trained weights, so nothing is downloaded unless asked for.
    if network.weights is None and ":" not in network.spec and not network.spec.endswith(".pt2"):
        network = replace(network, weights="none")
    model = network.model()
    example = torch.zeros(1, *model.input_size, device=model.device)
    record = trace(model.module, example)
    rows = [
        (
            row.name or "(network)",
            row.type,
            _by(row.kernel),
            _by(row.stride),
            "" if row.total_stride is None else _by(row.total_stride),
            _by(row.shape[1:]),
            row.mark,
        )
        for row in layer_rows(record)
        if row.mark or not marked
    ]
    size = _by(model.input_size[1:])
    print_table(
        f"{model.spec} at {size}: total stride {record.total_stride()}",
        ("layer", "type", "kernel", "stride", "total stride", "output", "mark"),
        rows,
    )


def _by(numbers: tuple[Any, ...]) -> str:
    """ "3" for (3, 3), "3x5" for (3, 5)."""
    if len(numbers) == 2 and numbers[0] == numbers[1]:
        return str(numbers[0])
    return "x".join(map(str, numbers))
