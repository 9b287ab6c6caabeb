"""`featvis zoo`: the networks that ship with featvis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featvis.commands.help import command
from featvis.commands.options import check_writable
from featvis.commands.tables import print_table, say, say_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featvis.models.zoo import Card

QUALITIES = {"classifier": "accuracy", "discriminator": "separation", "generator": "distance"}
"""The figure that says how good a network of each kind is."""

WORDS = {
    "accuracy": "accuracy",
    "separation": "real pictures above generated ones",
    "distance": "Frechet distance from real pictures",
    "steps": "training steps",
    "parameters": "parameters",
    "period": "longest period measured, P",
    "predicted": "predicted E(P)",
    "measured": "measured E(P)",
    "controls": "its control periods",
    "closed_form": "E(P) of the overlap alone",
    "predicted_random": "predicted E(P), random weights",
    "measured_random": "measured E(P), random weights",
    "signed_comb": "S(P)",
    "high_frequency_share": "high-frequency share",
}
"""What each figure is called."""


@command(
    short_help="The networks that ship with featvis.",
    examples=(
        "featvis zoo",
        "featvis zoo twin-k3s2",
    ),
)
@click.argument("name", required=False)
@click.option("--json", "json_path", type=click.Path(), help="Write what is known of them here.")
def zoo(name: str | None, json_path: str | None) -> None:
    """List the networks that ship with featvis, or all that is known of NAME. Each is a MODEL by its name after `zoo:`."""
    from featvis.files import write_document
    from featvis.models.zoo import ZOO, card_named

    check_writable(json_path)
    if name is None:
        cards = list(ZOO.values())
        _print_all(cards)
    else:
        cards = [card_named(name.removeprefix("zoo:"))]
        _print_one(cards[0])
    if json_path is not None:
        networks = {card.name: card for card in cards}
        write_document(json_path, {"schema": "featvis.zoo/1", "networks": networks})


def _print_all(cards: Sequence[Card]) -> None:
    for kind, quality in QUALITIES.items():
        rows = []
        for card in cards:
            if card.kind == kind:
                figures = card.figures
                expected = figures.get("predicted", figures.get("closed_form"))
                cells = (figures.get(quality), expected, figures.get("measured"), figures.get("signed_comb"))
                parameters, size = f"{figures['parameters'] / 1e6:.2f} M", f"{card.weights.stat().st_size / 1000:.0f}"
                rows.append((card.name, card.layer, parameters, *map(_said, cells), size))
        columns = ("network", "its layers", "parameters", quality, "predicted E(P)", "measured E(P)", "S(P)", "kB")
        if rows:
            print_table(f"{kind}s", columns, rows, least=("its layers", "kB", "parameters"))
    say("accuracy: at test pictures. separation: how often a real picture gets a higher logit than a generated one.")
    say("distance: the Frechet distance of generated pictures from real ones, in features of cifar-k3s2.")
    say("predicted: from the network's own weights; of a generator, from the overlap of its layers alone.")
    say("measured, S: in the gradient at test pictures; of a generator, in the pictures that it makes.")
    say("P, the longest period measured: 8 pixels in classifiers, 4 in the others.")


def _print_one(card: Card) -> None:
    lines = {
        "architecture": card.summary,
        "kind": card.kind,
        "data": card.data,
        "recipe": card.recipe,
        "pictures": f"{' x '.join(map(str, card.input_size))}, mean {_listed(card.mean)}, deviation {_listed(card.std)}",
        **({"labels": ", ".join(card.labels)} if card.labels else {}),
        "licence": card.licence,
        "weights": f"{card.weights.stat().st_size / 1000:.0f} kB, float16",
        **{said: _said(card.figures[key]) for key, said in WORDS.items() if key in card.figures},
    }
    say(f"zoo:{card.name}")
    say_pairs(lines, "  ")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _said(figure: object) -> str:
    """A whole number, a value, an estimate (a pair of value and standard error), or estimates by period."""
    if figure is None:
        return "-"
    if isinstance(figure, dict):
        return ", ".join(f"{_said(estimate)} ({period})" for period, estimate in figure.items())
    if isinstance(figure, list):
        from featvis.measure.estimates import Estimate

        return str(Estimate(*figure))
    if isinstance(figure, int):
        return f"{figure:,}"
    return f"{figure:.4f}" if isinstance(figure, float) and figure < 1 else f"{figure:.4g}"
