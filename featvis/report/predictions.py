"""The page of a prediction: the architecture alone, and with its own weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from featvis.files import document_text, write_text
from featvis.measure.estimates import Estimate
from featvis.predict.prediction import HOLDS, SCHEMA, Prediction, statement
from featvis.report.explorer import stack_of
from featvis.report.page import Parts, page_html
from featvis.report.tables import Grid, Number, csv_of, profile_images, profile_numbers


def write_prediction(
    path: str | Path, uniform: Prediction, learned: Prediction, settings: Mapping[str, Any], command: str = ""
) -> Path:
    """Write `prediction_html` to a file."""
    return write_text(path, prediction_html(uniform, learned, settings, command))


def prediction_html(uniform: Prediction, learned: Prediction, settings: Mapping[str, Any], command: str = "") -> str:
    """A page that needs no network: verdict, expected energies and profiles, the layers that change the resolution, an explorer.

    uniform, learned: of the same network. settings: of the network, as a Model gives them. command: what repeats the prediction.
    """
    both = {"architecture alone": uniform, "its own weights": learned}
    named = {"for the architecture alone": uniform, f"with its {settings.get('weights', 'own')} weights": learned}
    content = {"schema": SCHEMA, "holds": HOLDS, **settings, **{found.weights: found for found in both.values()}}
    layers = [(even, own) for even, own in zip(uniform.layers, learned.layers, strict=True) if max(even.stride) > 1]
    return page_html(
        "predict.html",
        Parts(
            title=f"Expected checkerboard of {settings.get('model', 'a network')}",
            verdict=statement(named),
            numbers={
                "prediction.json": document_text(content),
                "numbers.csv": csv_of((name, _numbers(found)) for name, found in both.items()),
            },
            command=command,
            settings=settings,
            stack=stack_of((even.period, even.kernel, even.stride) for even, _ in layers),
            dims=1 if len(uniform.profile) < uniform.total_stride else 2,
            remarks=(*uniform.notes, *learned.notes),
        ),
        grid_of=Grid([(name, "", _exact(found.energy), {}) for name, found in both.items()]),
        exact=Grid([(name, "", _exact(found.exact_periods), {}) for name, found in both.items()]),
        profiles=profile_images({name: found.profile.tolist() for name, found in both.items()}),
        layers=layers,
        total=uniform.total_stride,
        holds=HOLDS,
    )


def _exact(energies: Mapping[int, float]) -> dict[int, Estimate]:
    """Expected energies as estimates without an error; what rounding leaves of 0 is 0."""
    return {period: Estimate(0.0 if abs(value) < 1e-12 else value, None) for period, value in energies.items()}


def _numbers(found: Prediction) -> Iterator[Number]:
    for measure, by_period in (("energy", found.energy), ("energy of exactly this period", found.exact_periods)):
        for period, expected in by_period.items():
            yield Number(measure, expected, period=period)
    yield from profile_numbers(found.profile.tolist(), found.total_stride)
    for layer in found.layers:
        for measure, value in (
            ("injected", layer.injected),
            ("at its input, own stride", layer.arriving),
            ("at its input, all strides", layer.cumulative),
        ):
            if value is not None:
                yield Number(measure, value, layer=layer.name, period=layer.period)
