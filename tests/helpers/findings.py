"""Findings that pages are made of: small, quick, of every kind, and with names that would take a page over if they could."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from featvis.audit.comparison import Comparison, Row
from featvis.audit.drift import Drift
from featvis.audit.record import Audit, Culprit
from featvis.dream.comparison import Measured, measure
from featvis.dream.dreaming import Dream
from featvis.gan import DiscriminatorAudit, GeneratorAudit, audit_discriminator, audit_generator
from featvis.gan.discriminator import LOGIT
from featvis.measure.estimates import Estimate
from featvis.predict.prediction import Prediction, predict
from featvis.report import (
    PictureView,
    discriminator_html,
    dreams_html,
    generator_html,
    prediction_html,
    report_html,
)
from helpers.networks import strided
from helpers.running import ZOO

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def culprit(layer: str, share: float, period: int = 2) -> Culprit:
    left = {2: Estimate(0.1, 0.01), 4: Estimate(0.19 * (1 - share), 0.01)}
    sizes = ((3, 3), (2, 2), (1, 1))
    return Culprit(layer, "Conv2d", *sizes, period, 0.2346, Estimate(0.29, 0.01), left, {2: share - 0.01, 4: 0.01})


def audit(**changes: Any) -> Audit:
    values: dict[str, Any] = {
        "total_stride": 4,
        "energy": {2: Estimate(0.05, 0.004), 4: Estimate(0.19, 0.006)},
        "controls": {3: Estimate(0.0001, 0.0003), 5: Estimate(-0.0002, 0.0004)},
        "exact_periods": {2: Estimate(0.05, 0.004), 4: Estimate(0.14, 0.005)},
        "signed_comb": {2: Estimate(0.01, None)},
        "high_frequency_share": Estimate(0.7, 0.01),
        "mean_gradient_flatness": 0.5,
        "profile": tuple(tuple(1 + 0.1 * (row - column) for column in range(4)) for row in range(4)),
        "pictures": 12,
        "replicates": "pictures",
        "traced": (4, 4),
        "settings": {"model": ZOO, "weights": "zoo", "seed": 3, "score": "seeds", "versions": {"torch": "2.13"}},
        "culprits": (culprit("conv1", 0.6), culprit("conv2", 0.35, 4), culprit("conv3", 0.02, 8)),
    }
    return Audit(**{**values, **changes})


def comparison(*names: str, **settings: Any) -> Comparison:
    """Variants with 50 times less energy from one to the next."""
    rows = tuple(
        Row(
            name,
            "forward" if number else "",
            (),
            replace(
                audit(culprits=()),
                energy={2: Estimate(0.01, 0.001), 4: Estimate(0.19 / 50**number, 0.0002)},
            ),
            {2: Estimate(0.0, 0.001), 4: Estimate(-0.1 * number, 0.01)},
            Drift(Estimate(0.98, 0.01), None, 0.2, None),
            None,
            None,
            12.5,
            3_000_000,
            12345,
        )
        for number, name in enumerate(names)
    )
    given = {"model": ZOO, "weights": "zoo", "score": "top", "seed": 3, **settings}
    return Comparison(rows, 4, 12, ("lost.png: not a picture",), ("quiet machine",), given)


def view(
    name: str = "photo.png", size: int = 64, seed: int = 0, labels: tuple[str, ...] = ("gradient", "equalised")
) -> PictureView:
    """Noise, the first map with a comb in it."""
    draw = np.random.default_rng(seed)
    maps = {label: draw.standard_normal((3, size, size)) for label in labels}
    maps[labels[0]][:, ::2, ::2] *= 3
    return PictureView.of(name, draw.random((size, size, 3)), maps)


def dreams(*titles: str, size: int = 32) -> list[Measured]:
    """Dreams of noise; in the first one a comb was drawn."""
    found = []
    for number, title in enumerate(titles):
        draw = torch.Generator().manual_seed(number)
        drawn, gradient = torch.rand((2, 3, size, size), generator=draw)
        if number == 0:
            drawn = 0.5 + 0.1 * (drawn - 0.5)
            drawn[:, ::2, ::2] = 0.5 + 10 * (drawn[:, ::2, ::2] - 0.5)
        settings = {"model": ZOO, "weights": "zoo", "objective": "stage2", "octaves": 1 + number, "octave_scale": 1.4}
        settings |= {"steps": 2, "jitter": 0, "compensation": "none", "seed": 7}
        dreamt = Dream(drawn, gradient - 0.5, (0.5, 1.5 + number), 4, settings, (f"note of {title}",))
        found.append(measure(title, dreamt, None, 1.5))
    return found


def start(size: int = 32) -> torch.Tensor:
    return torch.rand((3, size, size), generator=torch.Generator().manual_seed(99))


class _Generator(nn.Sequential):
    def __init__(self) -> None:
        torch.manual_seed(1)
        super().__init__(
            nn.ConvTranspose2d(5, 6, 8), nn.ReLU(), nn.ConvTranspose2d(6, 3, 3, 4, output_padding=1), nn.Tanh()
        )


@cache
def discriminator() -> DiscriminatorAudit:
    """A k3 s2, k3 s2 discriminator at noise called generated, and at noise, with free pixels and culprits."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 6, 3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(384, 1),
    )
    made, drawn = 2 * torch.rand((2, 8, 3, 32, 32)) - 1
    return audit_discriminator(
        network, {"generated": made, "noise": drawn}, replace(LOGIT, culprits=True), neutral=(-1, 1)
    )


@cache
def generator() -> GeneratorAudit:
    return audit_generator(_Generator(), 8, real=2 * torch.rand((8, 3, 32, 32)) - 1, name="net.py:made")


@cache
def predictions() -> tuple[Prediction, Prediction]:
    uniform, learned = (predict(strided(), (3, 32, 32), weights) for weights in ("uniform", "learned"))
    return uniform, learned


SETTINGS = {"model": ZOO, "weights": "zoo", "input_size": [3, 32, 32]}


@cache
def pages() -> dict[str, str]:
    """A page of every kind."""
    variants = ("plain", "blurpool", "low-pass")
    pictures = [view("first.png"), view("second.png", 100, 1, ("gradient",))]
    in_variants = [view(f"{number}.png", 48, number, variants) for number in range(2)]
    uniform, learned = predictions()
    return {
        "audit": report_html(audit(), comparison(*variants), pictures),
        "compare": report_html(comparison=comparison(*variants), pictures=in_variants),
        "dream": dreams_html(
            dreams("fixed position", "jitter 32", "4 octaves"), start(), SETTINGS, ("a note",), "featvis dream"
        ),
        "discriminator": discriminator_html(discriminator(), ("a note",), "featvis discriminator"),
        "generator": generator_html(generator(), ("a note",), "featvis generator"),
        "predict": prediction_html(uniform, learned, SETTINGS, "featvis predict"),
    }


@cache
def hostile_pages() -> dict[str, str]:
    """The same kinds with a script in every name that somebody else may choose."""
    settings = {"model": HOSTILE, "weights": HOSTILE, "score": HOSTILE, HOSTILE: [HOSTILE], "objective": HOSTILE}
    taken = audit(culprits=(culprit(HOSTILE, 0.9),), notes=(HOSTILE,), skipped=(HOSTILE,), settings=settings)
    uniform, learned = (
        replace(
            found, layers=tuple(replace(layer, name=HOSTILE, type=HOSTILE) for layer in found.layers), notes=(HOSTILE,)
        )
        for found in predictions()
    )
    pair, made = discriminator(), generator()
    source = pair.sources["generated"]
    resolutions = tuple(replace(layer, layer=HOSTILE) for layer in source.resolutions)
    blamed = replace(source.audit, culprits=(culprit(HOSTILE, 0.9),))
    sources = {HOSTILE: replace(source, audit=blamed, resolutions=resolutions)}
    examples = {HOSTILE: next(iter(pair.examples.values()))}
    pair = replace(
        pair, sources=sources, examples=examples, agreements={HOSTILE: pair.agreements["energy"]}, notes=(HOSTILE,),
        settings={**pair.settings, **settings},
    )  # fmt: skip
    made = replace(
        made, pictures={HOSTILE: made.pictures["trained"]}, examples={HOSTILE: made.examples["trained"]}, notes=(HOSTILE,),
        settings={**made.settings, "generator": HOSTILE},
    )  # fmt: skip
    dreamt = [
        replace(
            one, title=HOSTILE, dream=replace(one.dream, settings={**one.dream.settings, **settings}), notes=(HOSTILE,)
        )
        for one in dreams("first")
    ]
    variants = ("plain", HOSTILE, "third")
    views = [view(HOSTILE, labels=variants)]
    return {
        "audit": report_html(taken, comparison(*variants), views, HOSTILE),
        "compare": report_html(comparison=comparison(*variants, **settings), pictures=views, command=HOSTILE),
        "dream": dreams_html(dreamt, start(), {"start": HOSTILE}, (HOSTILE,), HOSTILE),
        "discriminator": discriminator_html(pair, (HOSTILE,), HOSTILE),
        "generator": generator_html(made, (HOSTILE,), HOSTILE),
        "predict": prediction_html(uniform, learned, settings, HOSTILE),
    }


def headline(page: str) -> str:
    """The verdict of a page."""
    found = re.search("<h1>(.*)</h1>", page)
    assert found is not None
    return re.sub("</?small>", "", found[1]).replace("\N{NO-BREAK SPACE}", " ")


def command_of(page: str) -> str:
    """The command line that a page gives."""
    found = re.search("<code>(.*)</code>", page)
    assert found is not None
    return html.unescape(re.sub("<[^>]*>", "", found[1]))
