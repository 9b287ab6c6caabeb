"""What each network of the zoo measures: accuracy, and the checkerboard that is predicted from its weights beside the measured one.

    python experiments/zoo_audit.py cifar10_jpeg.zip

Networks that read pictures: the gradient of the top logit at 1,000 test pictures of CIFAR-10's JPEG copy. Each picture is rolled by random
numbers of rows and columns, so that neither JPEG's 8x8 grid nor what stands in the middle of a picture favours a phase. Random
weights: eight seeds, 250 pictures each; errors over the seeds. Discriminators at period 4 at most: their linear layer has weights of
its own for each of 4 x 4 positions, which is no checkerboard, but shows at period 8. Generators: the fine detail of 1,000 pictures
that they make, at period 4 at most, what their last two layers can leave.

separation: how often a real test picture gets a higher logit than a picture that zoo:generator-nearest makes, with the error of
Hanley and McNeil 1982. distance: of the step in experiments/results/gan_training.csv that the weights are of.

Writes featvis/models/zoo/figures.json, which the cards read; what is there already of a network with the same weights is kept. Puts the
list of all networks and the table of predicted beside measured energies into docs/zoo.md.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from safetensors.torch import load_file
from shared.archive import read_split, rolled, some
from shared.averages import mean_of
from shared.classifiers import accuracy
from shared.command_line import archive_argument
from shared.gans import TRAINING
from shared.measuring import PERIODS, PICTURES, energies_of
from shared.tables import DOCS, markdown_table, put_table, read_rows
from shared.weights import steps_and_seed
from torch import Tensor

from featvis.files import write_text
from featvis.gan import measure_pictures, samples_of
from featvis.gan.networks import conditioned, sample, with_random_weights
from featvis.gan.upsampling import closed_form_energies
from featvis.measure.estimates import Estimate, clearest, words
from featvis.models.specs import load_model
from featvis.models.zoo import ZOO, Card
from featvis.models.zoo.cards import FIGURES
from featvis.predict.prediction import predict
from featvis.tracing.hashes import weights_hash

PAGE = DOCS / "zoo.md"
FEWER, SEEDS = 250, 8
"""Pictures at each network with random weights, and such networks."""

OPPONENT = "generator-nearest"
"""Whose pictures every discriminator is asked to tell from real ones."""

Data = tuple[Tensor, Tensor]
"""Test pictures (N, 3, 32, 32) as bytes, and their classes (N,)."""


def rounded(estimate: Estimate) -> list[float]:
    return [float(f"{number:.4g}") for number in estimate if number is not None]


def controls_of(controls: dict[int, Estimate], period: int) -> dict[str, list[float]]:
    """The controls beside the periods that are measured."""
    return {str(control): rounded(estimate) for control, estimate in controls.items() if control <= period + 1}


def separation(card: Card, pictures: Tensor) -> Estimate:
    """How often a real picture gets a higher logit than a generated one."""
    network, opponent = (
        load_model(f"zoo:{name}", device="cpu", kind=kind).module
        for name, kind in ((card.name, "discriminator"), (OPPONENT, "generator"))
    )
    with torch.no_grad():
        real = network(some(pictures, PICTURES) * 2 - 1)
        made = network(samples_of(opponent, PICTURES))
    share = float((real[:, None] > made).double().mean())
    one, two = share / (2 - share), 2 * share**2 / (1 + share)
    variance = share * (1 - share) + (PICTURES - 1) * (one + two - 2 * share**2)
    return Estimate(share, math.sqrt(variance) / PICTURES)


def generator_figures(card: Card) -> dict[str, Any]:
    """Of a network that makes pictures."""
    period = PERIODS[card.kind]
    network = conditioned(load_model(f"zoo:{card.name}", device="cpu", kind=card.kind).module, None)
    latents = torch.randn(64, network.network.latent, generator=torch.Generator().manual_seed(0))
    found = measure_pictures(samples_of(network.network, PICTURES), period).high_passed
    drawn = (with_random_weights(network, latents, seed) for seed in range(SEEDS))
    measured = [
        measure_pictures(sample(one, latents.shape[1:], "normal", FEWER, 0), period).high_passed for one in drawn
    ]
    pair = card.name.removeprefix("generator-")
    trained = tuple(map(str, steps_and_seed(card.weights)))
    log = read_rows(TRAINING)
    (last,) = [row for row in log if (row["pair"], row["step"], row["seed"]) == (pair, *trained)]
    return {
        "distance": float(last["distance"]),
        "steps": int(last["step"]),
        "period": period,
        "measured": rounded(found.energy[period]),
        "controls": controls_of(found.controls, period),
        "closed_form": float(f"{closed_form_energies(pair)[period]:.4g}"),
        "measured_random": rounded(mean_of([one.energy[period].value for one in measured])),
        "signed_comb": rounded(found.signed_comb[period]),
        "high_frequency_share": rounded(found.high_frequency_share),
    }


def gradient_figures(card: Card, data: Data) -> dict[str, Any]:
    """Of a network that reads pictures."""
    pictures, classes = data
    model = load_model(f"zoo:{card.name}", device="cpu")
    period = PERIODS[card.kind]
    found = energies_of(model, rolled(some(pictures, PICTURES)))
    drawn = [load_model(f"zoo:{card.name}", "none", seed=seed, device="cpu") for seed in range(SEEDS)]
    expected = [predict(network.module, card.input_size).energy[period] for network in drawn]
    fewer = rolled(some(pictures, FEWER))
    measured = [energies_of(network, fewer).energy[period].value for network in drawn]
    figures: dict[str, Any] = {
        "period": period,
        "predicted": float(f"{predict(model.module, card.input_size).energy[period]:.4g}"),
        "measured": rounded(found.energy[period]),
        "controls": controls_of(found.controls, period),
        "predicted_random": rounded(mean_of(expected)),
        "measured_random": rounded(mean_of(measured)),
        "signed_comb": rounded(found.signed_comb[period]),
        "high_frequency_share": rounded(found.high_frequency_share),
    }
    if card.kind == "classifier":
        share = accuracy(model.module, pictures, classes)
        error = math.sqrt(share * (1 - share) / len(classes))
        return {"accuracy": [share, round(error, 5)], **figures}
    return {"separation": rounded(separation(card, pictures)), **figures}


def audited(card: Card, data: Data, known: dict[str, Any]) -> dict[str, Any]:
    """The figures of a network; those that are known where its weights are the same."""
    network = load_model(f"zoo:{card.name}", device="cpu", kind=card.kind).module
    weights = weights_hash(network)
    if known.get("weights") == weights:
        return known
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert all(value.dtype == torch.float16 for value in load_file(card.weights).values() if value.is_floating_point())
    figures = generator_figures(card) if card.kind == "generator" else gradient_figures(card, data)
    return {"weights": weights, "parameters": parameters, **figures}


def shown(figure: list[float] | float) -> str:
    """An estimate as figures.json holds it, or a number without an error."""
    return words(Estimate(*figure) if isinstance(figure, list) else Estimate(figure, None))


def table(figures: dict[str, Any]) -> str:
    """Predicted beside measured, for every network whose gradient was measured."""
    rows = []
    for name in ZOO:
        if name not in figures or "predicted" not in figures[name]:
            continue
        known = figures[name]
        controls = {int(period): Estimate(*pair) for period, pair in known["controls"].items()}
        worst = clearest(controls)
        quality = f"{known['accuracy'][0]:.4f}" if "accuracy" in known else "-"
        keys = ("predicted_random", "measured_random", "predicted", "measured")
        cells = [f"`{name}`", quality, known["period"], *(shown(known[key]) for key in keys)]
        cells += [words(controls[worst]), shown(known["signed_comb"]), f"{known['high_frequency_share'][0]:.2f}"]
        rows.append(cells)
    header = (
        "network", "accuracy", "P", "random weights: predicted E(P)", "measured", "trained: predicted E(P)", "measured",
        "its worst control", "S(P)", "high-frequency share",
    )  # fmt: skip
    return markdown_table(header, rows)


def list_of_all(figures: dict[str, Any]) -> str:
    """Every network with its size and quality, and what it measured."""
    rows = []
    for name, card in ZOO.items():
        if name not in figures:
            continue
        known = figures[name]
        key = next(key for key in ("accuracy", "separation", "distance") if key in known)
        quality = f"{key} {known[key]:.3f}" if key == "distance" else f"{key} {shown(known[key])}"
        size = f"{card.weights.stat().st_size / 1000:.0f} kB"
        measured = f"E({known['period']}) = {shown(known['measured'])}"
        parameters = f"{known['parameters'] / 1e6:.2f} M"
        rows.append((f"`{name}`", card.layer, parameters, size, quality, measured))
    return markdown_table(("network", "its layers", "parameters", "file", "quality", "measured"), rows)


def main() -> None:
    archive = archive_argument(__doc__)
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    data = read_split(archive, "test")
    for name, card in ZOO.items():
        if card.weights.exists():
            figures[name] = audited(card, data, figures.get(name, {}))
            print(name, figures[name], flush=True)
            ordered = {known: figures[known] for known in ZOO if known in figures}
            write_text(FIGURES, json.dumps(ordered, indent=1) + "\n")
    put_table(PAGE, "zoo", table(figures))
    put_table(PAGE, "networks", list_of_all(figures))


if __name__ == "__main__":
    main()
