"""`featvis layers`: what a network does to the resolution, layer by layer."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from featvis.commands.help import command
from featvis.commands.options import check_writable, model_options
from featvis.commands.tables import print_table, say, say_command

if TYPE_CHECKING:
    from featvis.commands.asked import NetworkAsked
    from featvis.tracing.layer_table import LayerRow

SCHEMA = "featvis.layers/1"


@command(
    short_help="What each layer does to the resolution.",
    examples=(
        "featvis layers resnet18",
        "featvis layers nets.py:Net --size 64x96 --marked",
    ),
)
@model_options
@click.option("--marked", is_flag=True, help="Only layers that change the resolution, and pooling.")
@click.option("--json", "json_path", type=click.Path(), help="Write the layers and the stack here.")
def layers(network: NetworkAsked, marked: bool, json_path: str | None) -> None:
    """List a network's layers, what each does to the resolution, and which of them read pixels unevenly.

    A layer is uneven where its kernel is no multiple of its stride (k mod s is not 0). At the end stands the stack of windows
    on the longest way from the pixels to the score, as `featvis overlap` takes it.
    """
    import torch

    from featvis.files import write_document
    from featvis.tracing.layer_table import layer_rows
    from featvis.tracing.stacks import longest_stack, stage_text
    from featvis.tracing.trace import trace

    check_writable(json_path)
    # The shape of things does not depend on trained weights, so nothing is downloaded unless asked for.
    if network.weights is None and ":" not in network.spec and not network.spec.endswith(".pt2"):
        network = replace(network, weights="none")
    model = network.model()
    example = torch.zeros(1, *model.input_size, device=model.device)
    record = trace(model.module, example)
    found = [row for row in layer_rows(record) if row.mark or not marked]
    windows = longest_stack(record)
    stack = None if windows is None else list(map(stage_text, windows))
    if json_path:
        content = {"schema": SCHEMA, **model.settings(), "total stride": record.total_stride(), "stack": stack}
        write_document(json_path, {**content, "layers": list(map(_entry, found))})
    rows = [
        (
            row.name or "(network)",
            row.type,
            _by(row.kernel),
            _by(row.stride),
            _by(row.padding),
            _by(row.remainder),
            "" if row.total_stride is None else _by(row.total_stride),
            _by(row.shape[1:]),
            _mark(row),
        )
        for row in found
    ]
    size = _by(model.input_size[1:])
    print_table(
        f"{model.spec} at {size}: total stride {record.total_stride()}",
        ("layer", "type", "kernel", "stride", "padding", "k mod s", "total stride", "output", "mark"),
        rows,
        least=("type", "output", "padding", "total stride"),
    )
    uneven = sum(any(row.remainder) for row in layer_rows(record))
    say(f"{uneven or 'no'} layer{' reads' if uneven < 2 else 's read'} pixels unevenly")
    if stack:
        say("the windows on the longest way through it, from the pixels to the score:")
        axes = {len(window.kernel) for window in windows or ()}
        say_command(["featvis", "overlap", *stack, *(["--dims", "1"] if axes == {1} else [])])


def _mark(row: LayerRow) -> str:
    """What the layer does to the resolution, and whether it does so unevenly."""
    return f"{row.mark}, uneven" if any(row.remainder) else row.mark


def _entry(row: LayerRow) -> dict[str, Any]:
    """A row as it is written to JSON."""
    total = row.total_stride and [str(stride) for stride in row.total_stride]
    return {**asdict(row), "total_stride": total, "remainder": row.remainder}


def _by(numbers: tuple[Any, ...]) -> str:
    """ "3" for (3, 3), "3x5" for (3, 5)."""
    if len(numbers) == 2 and numbers[0] == numbers[1]:
        return str(numbers[0])
    return "x".join(map(str, numbers))
