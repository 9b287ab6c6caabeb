"""How an audit scales: with picture size, batch, number of pictures and processes; its start-up time and peak memory.

    python benchmarks/scaling.py ../shared/data/cifar10_jpeg.zip

The pictures are the archive's test split, 10,000 of 32 x 32, and networks of the zoo. The bound is two inference passes of the prepared
network over pictures that are in memory already. Whole runs are children, so that their start-up and memory count. Writes
benchmarks/results/scaling.json and docs/scaling.png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from timing import median_seconds, peak_mib, surroundings, write_result
from torch import nn

from featvis.audit.record import Audit
from featvis.audit.request import Request, Running
from featvis.audit.run import audit_pictures
from featvis.data.pictures import find_pictures
from featvis.gradients.engine import GradientEngine
from featvis.measure.sums import EnergySums
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.models.zoo import PHOTOGRAPH
from featvis.models.zoo.classifiers import TWIN_WIDTHS, StridedClassifier
from featvis.plots import save_figure
from featvis.tracing.folding import prepare_network
from featvis.tracing.networks import copy_module
from featvis.tracing.trace import trace

FIGURE = Path(__file__).parents[1] / "docs" / "scaling.png"
SPEC = "zoo:cifar-k3s2"
BOUNDED = ("k3s2", "max2", "blur")
"""Twins whose audit is held against the bound, with random weights: the more work a picture is, the less its reading counts."""

COUNTS = (10, 100, 1000, 10_000)
SIZES = (64, 128, 256, 512, 1024)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ROUNDS = 3


def inference(model: Model, images: torch.Tensor) -> Callable[[], None]:
    """One inference pass of the prepared network."""
    network = prepare_network(copy_module(model.module), trace(model.module, images[:1]))
    images = images.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> None:
        network(images)

    return run


def gradient_over_two_inferences(model: Model, batch: int, size: int) -> dict[str, float]:
    """Pictures a second, and the time of a gradient relative to two inference passes."""
    images = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    engine = GradientEngine(model)
    times = median_seconds({"gradient": lambda: engine(images), "inference": inference(model, images)}, ROUNDS)
    return {"pictures_a_second": batch / times["gradient"], "ratio": times["gradient"] / (2 * times["inference"])}


def twin(downsampling: str) -> nn.Module:
    """A classifier of the zoo's twins."""
    torch.manual_seed(0)
    return StridedClassifier(TWIN_WIDTHS, downsampling=downsampling).eval()


def reading(folder: Path) -> dict[str, float]:
    """Milliseconds of one core for a picture of ImageNet's size, 500 x 375 in JPEG, to the 224 x 224 that a network sees."""
    with Image.open(PHOTOGRAPH) as photograph:
        photograph.convert("RGB").resize((500, 375)).save(folder / "picture.jpg", quality=90)
    model = Model(nn.Identity(), input_size=(3, 224, 224), resize=256)
    count = 64
    times = median_seconds({"read": lambda: [model.load(folder / "picture.jpg") for _ in range(count)]}, ROUNDS)
    return {"milliseconds": times["read"] / count * 1000}


def state_bytes() -> dict[str, int]:
    """Bytes of the sums that are kept, sent and written, by total stride."""
    sums = {stride: EnergySums(stride).tensors() for stride in (8, 16, 32)}
    return {
        str(stride): sum(value.numel() * value.element_size() for value in state.values())
        for stride, state in sums.items()
    }


def greatest_difference(one: Path, two: Path) -> float:
    """Between the energies of two saved audits, relative to E(total stride)."""
    first, second = (Audit.from_json(path.read_text()) for path in (one, two))
    apart = [abs(first.energy[period].value - second.energy[period].value) for period in first.energy]
    return max(apart) / first.energy[first.total_stride].value


def child(arguments: list[str], environment: dict[str, str] | None = None) -> dict[str, float]:
    """Wall seconds of a process, and the peak memory of the largest of it and its own children, in MiB."""
    code = (
        "import json, resource, subprocess, sys, time; t = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "print(json.dumps([time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **(environment or {})})
    seconds, peak = json.loads(done.stdout)
    return {"seconds": seconds, "peak_mib": peak / 1024}


def featvis(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "featvis", *map(str, arguments)]


def throughput(model: Model, folder: Path) -> dict[str, Any]:
    """An audit of all pictures in this process beside two inference passes over as many in memory."""
    paths = find_pictures([str(folder)])
    images = torch.stack([model.load(path)[1] for path in paths[:256]])
    one = inference(model, model.normalise(images))

    def bound() -> None:
        for _ in range(2 * (len(paths) // 256)):
            one()

    contestants: dict[str, Callable[[], object]] = {"bound": bound}
    for workers in (0, 1, 2):
        contestants[f"audit, {workers} workers"] = lambda workers=workers: audit_pictures(
            model, paths, Request(batch_size=None), Running(workers=workers)
        )
    times = median_seconds(contestants, ROUNDS)
    ratios = {name: seconds / times["bound"] for name, seconds in times.items()}
    return {"pictures": len(paths), "seconds": times, "over_bound": ratios}


def draw(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    for place, (name, label) in zip(axes, (("size", "side, pixels"), ("batch", "pictures in a batch")), strict=False):
        rows = result[name]
        place.plot([int(key) for key in rows], [row["ratio"] for row in rows.values()], "o-")
        place.axhline(1, color="0.6", linewidth=0.8)
        place.set_xscale("log", base=2)
        place.set(xlabel=label, ylabel="gradient / two inferences", ylim=(0, 1.4))
    rows = result["pictures"]
    axes[2].plot([int(key) for key in rows], [row["peak_mib"] for row in rows.values()], "o-")
    axes[2].set_xscale("log")
    axes[2].set(xlabel="pictures in an audit", ylabel="peak memory, MiB", ylim=(0, 700))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    archive = parser.parse_args().archive
    torch.set_num_threads(2)
    model = load_model(SPEC)
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(archive) as files:
            files.extractall(scratch, [name for name in files.namelist() if name.startswith("test/")])
        folder = Path(scratch) / "test"
        scratch_folder = Path(scratch)
        audit = featvis("audit", SPEC, folder, "--batch-size", "auto")
        saved = {count: scratch_folder / f"{count}.json" for count in (1, 2)}
        ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        result = {
            **surroundings(),
            "setting": {"model": SPEC, "rounds": ROUNDS},
            "throughput": {name: throughput(replace(model, module=twin(name)), folder) for name in BOUNDED},
            "size": {
                side: gradient_over_two_inferences(model, max(1, 64 * 64 * 16 // side**2), side) for side in SIZES
            },
            "batch": {batch: gradient_over_two_inferences(model, batch, 32) for batch in BATCHES},
            "pictures": {count: child([*audit, "--limit", str(count)]) for count in COUNTS},
            "processes": {
                count: child(
                    [*ranks, str(count), *audit[1:], "--json", str(saved[count])], {"OMP_NUM_THREADS": str(2 // count)}
                )
                for count in (1, 2)
            },
            "processes_apart": greatest_difference(saved[1], saved[2]),
            "reading": reading(scratch_folder),
            "state_bytes": state_bytes(),
            "start": {
                "featvis --help": child(featvis("--help")),
                "import featvis": child([sys.executable, "-c", "import featvis"]),
                "audit of 8 pictures": child([*audit, "--limit", "8"]),
            },
            "peak_mib_of_this_process": peak_mib(),
        }
    write_result("scaling", result, f"python benchmarks/scaling.py {archive}")
    save_figure(draw(result), FIGURE)


if __name__ == "__main__":
    main()
