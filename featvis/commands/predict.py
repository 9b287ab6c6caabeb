"""`featvis predict`: the checkerboard of an architecture, without a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featvis.commands.help import command
from featvis.commands.options import check_writable, model_options
from featvis.commands.tables import print_notes, print_table, say

EQUAL, OWN = "equal weights", "own weights"
"""What is expected where all weights of a layer count alike, and where each counts with its own square."""

if TYPE_CHECKING:
    from featvis.commands.asked import NetworkAsked
    from featvis.predict.prediction import Prediction


@command(
    short_help="What to expect of an architecture, without a picture.",
    examples=(
        "featvis predict resnet50 --weights none",
        "featvis predict nets.py:Net --size 64 --layer layer3 --html page.html",
    ),
)
@model_options
@click.option("--html", "html_path", type=click.Path(), help="Write a page with verdict, profiles and layers here.")
@click.option("--layer", help="Predict for this layer's output instead of the network's.")
@click.option(
    "--assume-identity",
    multiple=True,
    metavar="NAME",
    help="An operator or layer without a rule that is taken to pass the gradient on as it is.",
)
@click.option("--json", "json_path", type=click.Path(), help="Write the predictions here.")
def predict(
    network: NetworkAsked,
    html_path: str | None,
    layer: str | None,
    assume_identity: tuple[str, ...],
    json_path: str | None,
) -> None:
    """Predict the checkerboard in MODEL's input gradient: of the architecture alone, and with its own weights.

    It holds where weights are independent, as random ones are; what training leaves is for `featvis audit`.
    """
    from featvis.files import write_document
    from featvis.predict.prediction import HOLDS, SCHEMA, statement
    from featvis.predict.prediction import predict as predict_energies

    check_writable(html_path, json_path)
    model = network.model()
    uniform, learned = (
        predict_energies(model.module, model.input_size, kind, layer, assume_identity)
        for kind in ("uniform", "learned")
    )
    settings = {**model.settings(), "layer": layer, "assumed identity": list(assume_identity)}
    if json_path:
        both = {"uniform": uniform, "learned": learned}
        write_document(json_path, {"schema": SCHEMA, "holds": HOLDS, **settings, **both})
    if html_path:
        from featvis.commands.report import command_line
        from featvis.report import write_prediction

        write_prediction(html_path, uniform, learned, settings, command_line(click.get_current_context()))
    said = statement({"for the architecture alone": uniform, f"with its {model.weights} weights": learned})
    say(f"{model.spec}: {said}")
    rows = [
        (
            str(period),
            f"{uniform.energy[period]:.4f}",
            f"{uniform.exact_periods[period]:.4f}",
            f"{learned.energy[period]:.4f}",
            f"{learned.exact_periods[period]:.4f}",
        )
        for period in uniform.energy
    ]
    columns = (
        "period",
        *(f"{what}, {whose}" for whose in (EQUAL, OWN) for what in ("E", "this period alone")),
    )
    print_table(f"expected energy by period, {HOLDS}", columns, rows)
    _print_layers(uniform, learned)
    print_notes((*uniform.notes, *learned.notes))


def _print_layers(uniform: Prediction, learned: Prediction) -> None:
    rows = []
    for even, own in zip(uniform.layers, learned.layers, strict=True):
        if max(even.stride) == 1:
            continue
        rows.append(
            (
                even.name or "(network)",
                even.type,
                "x".join(map(str, dict.fromkeys(even.kernel))),
                "x".join(map(str, dict.fromkeys(even.stride))),
                "x".join(map(str, dict.fromkeys(even.remainder))),
                str(even.period),
                f"{even.injected:.4f}",
                f"{own.injected:.4f}",
                _number(even.cumulative),
                _number(own.cumulative),
            )
        )
    columns = (
        *("layer", "type", "kernel", "stride", "k mod s", "period"),
        *(f"{what}, {whose}" for what in ("E made", "E at input") for whose in (EQUAL, OWN)),
    )
    title = "layers that change the resolution, from the pixels to the score"
    print_table(title, columns, rows, least=("type", "kernel", "stride", "period"))
    say(
        f"{EQUAL}: all of a layer count alike, so that the architecture alone speaks. {OWN}: each counts with its square."
    )
    say(
        "E made: by the layer, at its own stride, where an even gradient comes to it. E at input: of what it passes on."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
