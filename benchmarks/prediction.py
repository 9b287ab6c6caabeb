"""A prediction of ResNet-50 beside one plain gradient, in one run, and its peak memory at 512 x 512 in a process of its own.

    python benchmarks/prediction.py

Writes benchmarks/results/prediction.json.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from featvis.compat import import_torchvision
from featvis.files import write_text
from featvis.predict.prediction import predict

RESULTS = Path(__file__).parent / "results" / "prediction.json"
ROUNDS = 5


def resnet50() -> torch.nn.Module:
    torch.manual_seed(0)
    return import_torchvision().models.resnet50(weights=None).eval()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain_gradient(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    pixels = images.clone().requires_grad_()
    return torch.autograd.grad(network(pixels).max(1).values.sum(), pixels)[0]


def main() -> None:
    torch.set_num_threads(2)
    network = resnet50()
    if sys.argv[1:] == ["child"]:
        before = peak_mib()
        predict(network, (3, 512, 512))
        print(json.dumps([before, peak_mib()]))
        return
    images = torch.randn(1, 3, 224, 224)
    seconds: dict[str, list[float]] = {"gradient": [], "learned": [], "uniform": []}
    for round_ in range(ROUNDS + 1):
        for name, values in seconds.items():
            started = time.perf_counter()
            if name == "gradient":
                plain_gradient(network, images)
            else:
                predict(network, (3, 224, 224), name)
            if round_ > 0:
                values.append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    child = subprocess.run([sys.executable, __file__, "child"], check=True, capture_output=True, text=True)
    before, peak = json.loads(child.stdout)
    result = {
        "command": "python benchmarks/prediction.py",
        "median_seconds": medians,
        "learned_over_gradient": medians["learned"] / medians["gradient"],
        "uniform_over_gradient": medians["uniform"] / medians["gradient"],
        "peak_mib_512": {"before": round(before), "after": round(peak)},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
