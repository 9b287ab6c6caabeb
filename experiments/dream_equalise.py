"""At which noise should `dream --compensate equalise` take its profile, and how much of the checkerboard does that remove?

    python experiments/dream_equalise.py PICTURES --weights mobilenet_v2.pth      # two minutes

MobileNetV2, trained on ImageNet and with random weights, three objectives. A profile is taken from 16 noise pictures of each kind, as
`dream` takes it, and the gradients at photographs are divided by it. The noise that leaves least of E(8) on one half of the photographs
is chosen; what counts is what it leaves on the other half. A profile from the first half itself shows what is possible. Writes
experiments/results/dream_equalise.csv and prints the table of docs/dream.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from shared.command_line import mobilenet_arguments
from shared.tables import RESULTS, markdown_table, write_rows
from torch import Tensor

from featvis.data.pictures import find_pictures
from featvis.dream.activations import Activations
from featvis.dream.objectives import parse_objective
from featvis.dream.parameterisations import natural_noise
from featvis.dream.render import CALIBRATION, noise_profile
from featvis.gradients.attributions import Gradients
from featvis.gradients.compensations import Equalise
from featvis.gradients.draws import Draws
from featvis.measure.estimates import Estimate, words
from featvis.measure.metric import CheckerboardEnergy
from featvis.models.model import Model
from featvis.models.specs import load_model

TABLE = RESULTS / "dream_equalise.csv"
SIZE = 160
BATCH = 10
PERIOD = 8
OBJECTIVES = ("features.10", "features.17", "281")
HALVES = ("choosing", "reported")


def white_noise(shape: tuple[int, ...], generator: torch.Generator, contrast: float) -> Tensor:
    """Independent pixels about half grey, (B, C, H, W) in [0, 1]."""
    return (0.5 + contrast * torch.randn(shape, generator=generator)).clamp(0, 1)


NOISES: dict[str, tuple[Callable[[tuple[int, ...], torch.Generator, float], Tensor], float]] = {
    "1/f, contrast .05": (natural_noise, 0.05),
    "1/f, contrast .2": (natural_noise, 0.2),
    "white, contrast .05": (white_noise, 0.05),
    "white, contrast .2": (white_noise, 0.2),
}
PHOTOGRAPHS = "the choosing photographs"


def gradient_of(model: Model, objective: str, example: Tensor) -> tuple[Callable[[Tensor], Tensor], int]:
    """The gradient of an objective at the network's input for pictures in [0, 1], and its total stride."""
    activations = Activations(model.module, parse_objective(objective, model), model.normalise(example), example)

    def gradient(pictures: Tensor) -> Tensor:
        pixels = model.normalise(pictures).requires_grad_()
        return torch.autograd.grad(activations(pixels, pictures), pixels)[0]

    assert activations.total_stride is not None
    return gradient, activations.total_stride


def measured(gradients: list[Tensor], total_stride: int, profile: Tensor | None) -> CheckerboardEnergy:
    """Energies of gradients, divided by the root of a profile where there is one."""
    metric = CheckerboardEnergy(total_stride)
    as_given = Gradients(lambda images: images, total_stride, Draws(0, [0]))
    for some in gradients:
        metric.update(some if profile is None else Equalise(profile=profile).of(as_given, some))
    return metric


def rows_of(model: Model, objective: str, photographs: Tensor) -> Iterator[dict[str, Any]]:
    """What each profile leaves on each half, and how that differs from no profile, paired."""
    gradient, total_stride = gradient_of(model, objective, photographs[:1])
    # Every other photograph: they are sorted by class.
    halves = {
        half: [gradient(some) for some in photographs[number::2].split(BATCH)] for number, half in enumerate(HALVES)
    }
    profiles: dict[str, Tensor | None] = {"none": None}
    shape = (1, *photographs.shape[1:])
    for name, (make, contrast) in NOISES.items():
        noises = (make(shape, torch.Generator().manual_seed(seed), contrast) for seed in range(CALIBRATION))
        profiles[name] = noise_profile(gradient, noises, total_stride)
        assert profiles[name] is not None, f"{objective} has no gradient at {name}"
    profiles[PHOTOGRAPHS] = noise_profile(lambda pictures: pictures, halves[HALVES[0]], total_stride)
    for half, gradients in halves.items():
        raw = measured(gradients, total_stride, None)
        for name, profile in profiles.items():
            metric = measured(gradients, total_stride, profile)
            difference = metric.difference(raw)
            for period, energy in metric.compute().energy.items():
                change = difference[period]
                yield {
                    "objective": objective,
                    "half": half,
                    "profile": name,
                    "period": period,
                    "energy": energy.value,
                    "error": energy.error,
                    "difference": change.value,
                    "difference_error": change.error,
                }


def summarise(rows: list[dict[str, Any]]) -> None:
    """Prints what each profile leaves of E at one period, the noise that the first half chooses, and what it leaves on the second."""
    found = {
        (row["network"], row["objective"], row["half"], row["profile"]): Estimate(row["energy"], row["error"])
        for row in rows
        if row["period"] == PERIOD
    }
    subjects = sorted({key[:2] for key in found}, key=lambda subject: (subject[0] != "trained", str(subject[1])))
    names = ["none", *NOISES, PHOTOGRAPHS]

    def share(subject: tuple[object, object], half: str, name: str) -> float:
        return found[(*subject, half, name)].value / found[(*subject, half, "none")].value

    for half in HALVES:
        lines = [(*subject, *(words(found[(*subject, half, name)]) for name in names)) for subject in subjects]
        print(f"\nE({PERIOD}), {half} half\n\n{markdown_table(('network', 'objective', *names), lines)}")
    for half in HALVES:
        left = {name: sum(share(subject, half, name) for subject in subjects) / len(subjects) for name in names[1:]}
        print(f"mean share left, {half}:", ", ".join(f"{name} {value:.0%}" for name, value in left.items()))
        if half == HALVES[0]:
            print("chosen:", min(NOISES, key=left.__getitem__))


def main() -> None:
    arguments = mobilenet_arguments(__doc__)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # random weights make gradients so small that they are slow
    rows: list[dict[str, Any]] = []
    for network, weights in (("trained", arguments.weights), ("random", "none")):
        model = load_model("mobilenet_v2", weights, mean=[0.5], std=[0.5], size=(SIZE, SIZE), device="cpu")
        photographs = torch.stack([model.load(path)[1] for path in find_pictures([arguments.pictures])])
        for objective in OBJECTIVES:
            rows += [{"network": network, **row} for row in rows_of(model, objective, photographs)]
    write_rows(TABLE, list(rows[0]), rows)
    summarise(rows)


if __name__ == "__main__":
    main()
