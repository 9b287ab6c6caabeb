"""What SmoothGrad does to the checkerboard of a real network and what compensates it, on the same pictures.

    python benchmarks/compensations.py PICTURES --model mobilenet_v2 --weights FILE --mean .5 --std .5

Every second picture calibrates the profile that `equalise` divides by, the others are measured. Writes
benchmarks/results/compensations.csv and prints the rows of the table in docs/backward_fixes.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
from pathlib import Path

import torch

from featvis.audit.request import Request
from featvis.audit.run import audit_pictures
from featvis.data.pictures import find_pictures
from featvis.files import write_text
from featvis.gradients.compensations import attribution_named
from featvis.measure.estimates import Estimate
from featvis.measure.phases import expected_profile
from featvis.models.specs import load_model

RESULTS = Path(__file__).parent / "results" / "compensations.csv"
ROWS = (
    ("vanilla", "none"),
    ("smoothgrad", "none"),
    ("integrated-gradients", "none"),
    ("vanilla", "low-pass"),
    ("vanilla", "jitter"),
    ("vanilla", "equalise"),
    ("smoothgrad", "equalise"),
)
PERIODS = (2, 4, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--weights")
    parser.add_argument("--mean", type=float)
    parser.add_argument("--std", type=float)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    mean, std = ([value] if value is not None else None for value in (arguments.mean, arguments.std))
    model = load_model(arguments.model, arguments.weights, mean=mean, std=std)
    pictures = find_pictures([arguments.pictures])
    calibration, measured = pictures[::2], pictures[1::2]
    table = io.StringIO()
    writer = csv.writer(table)
    columns = [f"{kind}{period}" for period in PERIODS for kind in ("E", "error")]
    writer.writerow(["method", "compensation", "pictures", "seconds", *columns, "control3", "control3_error"])
    for method, compensation in ROWS:
        attribution = attribution_named(method, compensation)
        if attribution.lacks_profile:
            raw = audit_pictures(model, calibration, Request(attribution=attribution_named(method)))
            attribution = attribution.with_profile(expected_profile(raw.profile, raw.exact_periods))
        started = time.perf_counter()
        result = audit_pictures(model, measured, Request(attribution=attribution))
        seconds = time.perf_counter() - started
        estimates = [result.energy[period] for period in PERIODS]
        numbers = [f"{value:.6f}" for estimate in (*estimates, result.controls[3]) for value in known(estimate)]
        writer.writerow([method, compensation, result.pictures, f"{seconds:.1f}", *numbers])
        cells = " | ".join(f"{value:.4f} ± {error:.4f}" for value, error in map(known, estimates))
        print(f"| {method} | {compensation} | {cells} | {seconds:.0f} s |", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, table.getvalue())


def known(estimate: Estimate) -> tuple[float, float]:
    """Value and error of an estimate that has one."""
    assert estimate.error is not None
    return estimate.value, estimate.error


if __name__ == "__main__":
    main()
