"""Every fix of downsampling on every torchvision classification model, with random weights: what changed, and what is left.

    python experiments/fixes.py            # resumes where it stopped

Each model runs in a process of its own, built with seed 0. Forward fixes are judged by the energy that the weights lead one to expect of
the input gradient, before and after; fixes of the backward pass, which that does not see, by the energy measured at noise inputs with
random signs on the outputs; both stand in the table, but for forward fixes of networks above LARGE. Inputs are 160 pixels
wide, or what the network is built for. Writes experiments/results/fixes.csv and prints a summary for each fix.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from shared.classifiers import random_torchvision
from shared.command_line import parser_of
from shared.tables import RESULTS, add_rows, markdown_table, read_rows

from featvis.audit.repairs import NEGLIGIBLE, judge, measured_energy
from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.measure.estimates import Estimate
from featvis.predict.prediction import predict
from featvis.repair.forward import Site
from featvis.repair.surgery import FIXES, operate
from featvis.tracing.networks import copy_module
from featvis.tracing.outputs import output_tensor
from featvis.tracing.trace import trace
from featvis.tracing.windows import Window

TABLE = RESULTS / "fixes.csv"
SIZE = 160
"""Pixels: five total strides of 32, of which the measure takes three, without the border that padding reaches."""

PICTURES = 4
"""Noise inputs that measured energies are taken at; half as many for networks above LARGE."""

LARGE = 5
"""Billions of multiplications of a network at its usual size."""

COLUMNS = (
    "model", "size", "fix", "kind", "changed", "not_reached", "shape_kept",
    "expected_before", "expected_after", "measured_before", "error_before", "measured_after", "error_after", "verdict",
    "expected_periods_before", "expected_periods_after", "measured_periods_before", "measured_periods_after",
    "operate_seconds", "reason",
)  # fmt: skip


def operations(name: str) -> float:
    """Billions of multiplications, as torchvision counts them."""
    return float(import_torchvision().models.get_model_weights(name).DEFAULT.meta["_ops"])


def downsampling() -> list[str]:
    """The fixes that are for strided convolutions or pooling."""
    sites = [Site(kind, Window.of((3, 3), 2)) for kind in ("convolution", "maximum pooling")] + [
        Site("convolution", Window.of((1,), 2))
    ]
    return [name for name, fix in FIXES.items() if any(fix.applies(site) for site in sites)]


def examine(name: str) -> list[dict[str, Any]]:
    """A row for each fix of one model."""
    torch.set_num_threads(1)
    model = random_torchvision(name)
    module = model.module
    size = model.input_size[1] if name.startswith(("vit", "maxvit")) else SIZE
    count = PICTURES if operations(name) < LARGE else PICTURES // 2
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    shape = (3, size, size)
    expected, measured = predict(module, shape).energy, measured_energy(module, images)
    period = max(expected)
    record = trace(module, images[:1])
    rows = []
    for fix in downsampling():
        row: dict[str, Any] = {"model": name, "size": size, "fix": fix, "kind": FIXES[fix].kind}
        rows.append(row)
        try:
            started = time.perf_counter()
            fixed, changes = operate(module, fix, images[:1] if FIXES[fix].kind == "forward" else images)
            row["operate_seconds"] = round(time.perf_counter() - started, 2)
            expected_after = predict(fixed, shape).energy
            both = FIXES[fix].kind == "backward" or operations(name) < LARGE
            measured_after = measured_energy(fixed, images) if both else {}
        except FeatvisError as error:
            row.update(verdict="does not apply" if "finds nothing" in str(error) else "refused", reason=str(error))
            continue
        with torch.no_grad():
            output = output_tensor(copy_module(fixed)(images[:1]))
        left = [f"{change.layer or '(network)'}: {change.before}" for change in changes if not change.reached]
        row.update(
            changed=sum(change.reached for change in changes),
            not_reached="; ".join(left),
            shape_kept=tuple(output.shape) == record.shapes[record.output or 0],
            expected_before=round(expected[period], 5),
            expected_after=round(expected_after[period], 5),
            measured_before=round(measured[period].value, 5),
            error_before=round(measured[period].error or 0.0, 5),
            measured_after=round(measured_after[period].value, 5) if both else "",
            error_after=round(measured_after[period].error or 0.0, 5) if both else "",
            expected_periods_before=as_text(expected),
            expected_periods_after=as_text(expected_after),
            measured_periods_before=as_text({p: estimate.value for p, estimate in measured.items()}),
            measured_periods_after=as_text({p: estimate.value for p, estimate in measured_after.items()}),
        )
        what = judged(row)
        before, after = row[f"{what}_before"], row[f"{what}_after"]
        row["verdict"], row["reason"] = judge(fixed, before, Estimate(after - before, None))
    return rows


def judged(row: dict[str, Any]) -> str:
    """The energy that a fix is judged by: what is expected, but for the backward pass, which that does not see."""
    return "expected" if row["kind"] == "forward" else "measured"


def as_text(energies: dict[int, float]) -> str:
    return " ".join(f"{period}:{value:.5f}" for period, value in energies.items())


def summarise(rows: list[dict[str, str]]) -> None:
    """Prints how often each fix applies and lowers the energy, and by how much in the middle."""
    verdicts = ("lowered", "nothing to lower", "not lowered", "raised")
    lines, refused = [], []
    for fix in downsampling():
        mine = [row for row in rows if row["fix"] == fix]
        counts = {
            verdict: sum(row["verdict"] == verdict for row in mine) for verdict in {row["verdict"] for row in mine}
        }
        applied = [row for row in mine if row["verdict"] not in ("does not apply", "refused")]
        pairs = [(row[f"{judged(row)}_before"], row[f"{judged(row)}_after"]) for row in applied]
        ratios = sorted(float(after) / float(before) for before, after in pairs if abs(float(before)) >= NEGLIGIBLE)
        middle = f"{ratios[len(ratios) // 2]:.3f}" if ratios else "-"
        kept = sum(row["shape_kept"] == "True" for row in applied)
        lines.append((fix, len(applied), *(counts.get(verdict, 0) for verdict in verdicts), kept, middle))
        refused += [f"{fix} refused: {row['model']}: {row['reason']}" for row in mine if row["verdict"] == "refused"]
    print(markdown_table(("fix", "applies to", *verdicts, "shape kept", "median E after / before"), lines))
    print(*refused, sep="\n")


def main() -> None:
    parser_of(__doc__).parse_args()
    models = import_torchvision().models
    done = {row["model"] for row in read_rows(TABLE)}
    for name in sorted(models.list_models(module=models), key=operations):
        if name in done:
            continue
        with ProcessPoolExecutor(1, get_context("fork")) as alone:
            rows = alone.submit(examine, name).result()
        add_rows(TABLE, COLUMNS, rows)
        print(name, *(f"{row.get('fix')}:{row.get('verdict')}" for row in rows), flush=True)
    summarise(read_rows(TABLE))


if __name__ == "__main__":
    main()
