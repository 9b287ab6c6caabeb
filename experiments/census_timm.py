"""Traced, found, predicted and measured checkerboard of timm's architectures, with random weights.

    python experiments/census_timm.py       # resumes where it stopped; an hour on one core

The smallest architecture of each of timm's families, by its parameters, and of large families the smallest of another kind too. Each runs
in a process of its own, built with seed 0: traced and predicted, then measured at 8 pictures of white noise with random signs on the
outputs, and measured again by a few lines of plain autograd on the network as it is. Writes experiments/results/census_timm.csv and the
tables of docs/census_timm.md. Needs `pip install featvis[timm]`; downloads nothing.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from shared.averages import rank_correlation
from shared.command_line import parser_of
from shared.processes import examine_each
from shared.tables import DOCS, RESULTS, estimate_in, markdown_table, put_table, read_rows, row_of, write_rows
from torch import Tensor, nn

from featvis.audit.batches import Stack, measured
from featvis.audit.record import Audit
from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import words
from featvis.measure.finding import period_words, simple
from featvis.measure.periods import measurable
from featvis.measure.phases import fold, laid_out
from featvis.measure.sums import EnergySums
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.predict.prediction import predict

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.bestiary import plain_energy

TABLE, NETWORKS, PAGE = RESULTS / "census_timm.csv", RESULTS / "census_timm_networks.csv", DOCS / "census_timm.md"
PICTURES, AT_ONCE = 8, 2
LARGE = 12
"""Architectures from which on a family gives two."""

MOST_PARAMETERS = 150_000_000

SIDE = 256
"""Pictures are no larger than this where a network takes other sizes than its own."""

SURE, BESIDE, LEAST, FAINT = 6.0, 3.0, 0.005, 0.05
"""By plain autograd a period is there where what it holds alone stands so many errors above 0, so many times above the periods beside it,
above this, and above this share of the strongest."""

EDGE = 8
"""At least this part of each side is left out, where padding acts."""

EMPTY = 1e-3
"""A phase that holds less than this, of the mean of all, holds nothing."""

LIMIT = 1200.0
"""Seconds that one network may take."""

COLUMNS = (
    "model", "family", "parameters", "side", "traced", "found", "left", "period", "predicted", "measured", "error", "plain",
    "difference", "seconds", "peak_mib", "headline", "outcome", "reason",
)  # fmt: skip


def networks() -> list[dict[str, str]]:
    """The architectures, the smallest first: chosen once, in some minutes, as each is built to be counted."""
    if not NETWORKS.exists():
        import_torchvision()
        import timm

        chosen = []
        for family in timm.list_modules():
            known = []
            # What timm tests itself with is no architecture of anyone's.
            for name in timm.list_models(module=family, exclude_filters="test_*"):
                with torch.device("meta"):
                    known.append((sum(one.numel() for one in timm.create_model(name).parameters()), name))
            smallest, *rest = sorted(known)
            others = [one for one in rest if kind(one[1]) != kind(smallest[1])]
            second = (others or rest)[:1] if len(known) >= LARGE else []
            chosen += [(count, name, family) for count, name in (smallest, *second) if count <= MOST_PARAMETERS]
        columns = ("model", "family", "parameters")
        rows = [row_of(columns, name, family, count) for count, name, family in sorted(chosen)]
        write_rows(NETWORKS, columns, rows)
    return read_rows(NETWORKS)


def kind(name: str) -> str:
    """An architecture's name as far as it holds no size."""
    return name.split("_")[0].rstrip("0123456789")


def examine(name: str) -> dict[str, object]:
    """The row of one network."""
    torch.set_num_threads(1)
    row: dict[str, object] = next(dict(row) for row in networks() if row["model"] == name)
    started = time.perf_counter()
    try:
        model = at_most(SIDE, with_scores(load_model(f"timm:{name}", "none")))
        row["side"] = model.input_size[1]
        images = torch.randn(PICTURES, *model.input_size, generator=torch.Generator().manual_seed(0))
        engine = GradientEngine(model, "seeds")
        started = time.perf_counter()
        audit = measured_with(engine, images)
        row["seconds"] = round(time.perf_counter() - started, 1)
        row |= compared(audit, plain_maps(model, images))
        prediction = expectation(model, engine, audit)
        reasons = [row["reason"], prediction.pop("reason", "")]
        row |= {**prediction, "reason": "; ".join(str(one) for one in reasons if one)}
    except FeatvisError as error:
        row |= {"outcome": "refused", "reason": str(error)}
    except Exception as error:
        row |= {"outcome": "traceback", "reason": f"{type(error).__name__}: {error}"}
    row["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return row


def with_scores(model: Model) -> Model:
    """The model with a random head where timm starts it at zero, which leaves no gradient."""
    torch.manual_seed(1)
    for part in model.module.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.normal_(part.weight)
    return model


def at_most(side: int, model: Model) -> Model:
    """The model at smaller pictures, where it takes them."""
    channels, *own = model.input_size
    if max(own) <= side or model.module.pretrained_cfg.get("fixed_input_size"):
        return model
    try:
        with torch.no_grad():
            model.module(torch.zeros(1, channels, side, side))
    except Exception:
        return model  # It is made for its own size.
    return replace(model, input_size=(channels, side, side))


def measured_with(engine: GradientEngine, images: Tensor) -> Audit:
    """What an audit of these pictures says."""
    sums = None
    for batch in measured(engine, Stack(images, AT_ONCE)):
        if sums is None:
            size = images.shape[2:]
            sums = EnergySums(measurable(engine.total_stride, min(size)), size=size)
        sums.update(batch.gradients, batch.numbers)
    assert sums is not None
    return Audit.traced_by(engine, sums.compute(find=True), engine.notes)


def plain_maps(model: Model, images: Tensor) -> Tensor:
    """Squared gradients, summed over channels, (N, H, W): of the network as it is, two pictures at a time."""
    maps = []
    for number, pixels in enumerate(images.split(AT_ONCE)):
        pixels = pixels.clone().requires_grad_()
        output = model.module(pixels)
        signs = Draws(0, range(number * AT_ONCE, (number + 1) * AT_ONCE)).signs(output)
        (gradient,) = torch.autograd.grad((output * signs).sum(), pixels)
        maps.append(gradient.double().square().sum(1))
    return torch.cat(maps)


def without(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Energies divided by what each phase of a period holds on average; phases that hold next to nothing become even."""
    phases = fold(maps.mean(0), rows, columns)
    profile = laid_out(phases / phases.mean(), *maps.shape[1:])
    return torch.where(profile > EMPTY, maps / profile, maps.mean())


def left_in(maps: Tensor, known: Sequence[tuple[int, int]]) -> list[int]:
    """The periods, the same along both axes, that plain energies show beside those that are known, the shortest first.

    The harmonics of exactly this period must stand out of those of the periods around, and be the same in both halves of the pictures.
    """
    side = min(maps.shape[1:])
    strongest = max(plain_energy(maps, (p, p)) for p in range(2, side // 4 + 1))
    for rows, columns in known:
        maps = without(maps, rows, columns)
    found = []
    for period in range(2, side // 4 + 1):
        border = max(period, side // EDGE)
        inner = maps[:, border:-border, border:-border]
        middle = inner.shape[1] // 2 // period * period
        own, upper, lower = (harmonics(part, period) for part in (inner, inner[:, :middle], inner[:, middle:]))
        shared = float((upper.mean(0) * lower.mean(0).conj()).real.sum())
        parts = torch.tensor([unbiased(own[torch.arange(PICTURES) != left]) for left in range(PICTURES)])
        error = math.sqrt((PICTURES - 1) * float(parts.var(correction=0)))
        beside = max(unbiased(harmonics(inner, p)) for p in (period - 1, period + 1) if p > 1)
        if min(unbiased(own), shared) > max(LEAST, FAINT * strongest, SURE * error, BESIDE * beside):
            found.append(period)
            maps = without(maps, period, period)
    return found


def harmonics(maps: Tensor, period: int) -> Tensor:
    """Fourier coefficients (N, K) of each picture's phase profile at the harmonics of exactly this period."""
    profiles = fold(maps, period, period)
    spectra = torch.fft.fft2(profiles / profiles.mean((1, 2), keepdim=True)) / period**2
    whole = [period // math.gcd(number, period) for number in range(period)]
    exact = torch.tensor([[math.lcm(row, column) == period for column in whole] for row in whole])
    return spectra[:, exact]


def unbiased(coefficients: Tensor) -> float:
    """Their squared mean, summed over harmonics, without what chance adds."""
    count = len(coefficients)
    total = coefficients.sum(0).abs().square().sum() - coefficients.abs().square().sum()
    return float(total / (count * (count - 1)))


def compared(audit: Audit, maps: Tensor) -> dict[str, object]:
    """What the audit says, beside what plain autograd does."""
    period, traced = audit.total_stride, audit.traced
    found = [one.period for one in audit.found]
    side = min(maps.shape[1:])
    known = [one for one in (traced, *found) if one is not None and 2 * max(one) <= side]
    left = left_in(maps, known)
    row: dict[str, object] = {
        "traced": "unknown" if traced is None else period_words(simple(traced)),
        "found": "; ".join("drifts" if one is None else period_words(simple(one)) for one in found),
        "left": "; ".join(map(str, left)),
        "headline": replace(audit.finding, step="").sentence(),
    }
    if period > 1:
        measure, plain = audit.energy[period], plain_energy(maps, (period, period))
        row |= {"period": period, "measured": f"{measure.value:.6f}", "error": f"{measure.error or 0:.6f}"}
        row |= {"plain": f"{plain:.6f}", "difference": f"{measure.value - plain:.1e}"}
    if traced is None:
        outcome, reason = "unknown", "; ".join(audit.notes)
    elif left:
        outcome, reason = "silent miss", f"period {left} is there by plain autograd"
    elif any(one is None or math.lcm(*traced) % math.lcm(*one) for one in found):
        outcome, reason = "found, not traced", ""
    else:
        outcome, reason = ("traced and found" if found else "traced"), ""
    return {**row, "outcome": outcome, "reason": reason}


def expectation(model: Model, engine: GradientEngine, audit: Audit) -> dict[str, object]:
    """The energy that is predicted for what was measured; the reason where none can be."""
    try:
        prediction = predict(model.module, model.input_size, record=engine.record)
    except FeatvisError as error:
        return {"reason": f"not predicted: {error}"}
    energy = prediction.energy.get(audit.total_stride)
    return {} if energy is None else {"predicted": f"{energy:.6f}"}


def outcomes(rows: list[dict[str, str]]) -> str:
    """How many networks came out how, as Markdown."""
    return markdown_table(("outcome", "networks"), Counter(row["outcome"] for row in rows).most_common())


def table(rows: list[dict[str, str]]) -> str:
    """The networks as Markdown, those with the strongest checkerboard first."""
    ordered = sorted(rows, key=lambda row: -float(row["measured"] or "-inf"))
    lines = [
        (
            row["model"],
            row["family"],
            row["traced"],
            row["found"],
            row["period"],
            f"{float(row['predicted']):.4f}" if row["predicted"] else "",
            words(estimate_in(row, "measured", "error")) if row["measured"] else "",
            row["difference"],
            row["outcome"],
        )
        for row in ordered
    ]
    header = (
        "model",
        "family",
        "traced",
        "found",
        "P",
        "predicted E(P)",
        "measured E(P)",
        "less plain autograd's",
        "outcome",
    )
    return markdown_table(header, lines)


def reasons(rows: list[dict[str, str]]) -> str:
    """Which networks could not be followed, predicted or measured in full, and why, as Markdown."""
    return markdown_table(("model", "reason"), [(row["model"], row["reason"]) for row in rows if row["reason"]])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("model", nargs="?", help="Examine this one alone, in this process, and print its row.")
    if alone := parser.parse_args().model:
        print(json.dumps([examine(alone)]))
        return
    examine_each(__file__, [row["model"] for row in networks()], TABLE, COLUMNS, "reason", LIMIT)
    summarise(read_rows(TABLE))


def summarise(rows: list[dict[str, str]]) -> None:
    """Prints the agreement and fills the tables of the page."""
    print(f"{len(rows)} networks of {len({row['family'] for row in rows})} families")
    known = [row for row in rows if row["predicted"]]
    both = [[float(row[column]) for row in known] for column in ("predicted", "measured")]
    print(f"{len(known)} predicted; rank correlation of E {rank_correlation(*both):.3f}")
    far = max((row for row in rows if row["difference"]), key=lambda row: abs(float(row["difference"])))
    print(f"farthest from plain autograd: {far['model']}, {far['difference']}")
    for name, written in (("outcomes", outcomes(rows)), ("reasons", reasons(rows)), ("networks", table(rows))):
        put_table(PAGE, name, written)


if __name__ == "__main__":
    main()
