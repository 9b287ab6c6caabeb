"""`featvis layers`: what a network does to the resolution, layer by layer."""

from __future__ import annotations

from typing import Any

import click

from featvis.commands.options import model_from, model_options
from featvis.commands.tables import print_table


@click.command()
@model_options
@click.option("--marked", is_flag=True, help="Only layers that change the resolution, and pooling.")
def layers(marked: bool, **options: Any) -> None:
    """List a network's layers: kernel, stride, total stride so far, output shape; strided and pooling layers marked."""
    import torch

    from featvis.tracing.layer_table import layer_rows
    from featvis.tracing.trace import trace

    # The shape of things does not depend on trained weights, so nothing is downloaded unless asked for.
    if options["weights"] is None and ":" not in options["spec"] and not options["spec"].endswith(".pt2"):
        options["weights"] = "none"
    model = model_from(options)
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
