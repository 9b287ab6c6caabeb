"""A prediction of ResNet-50 beside one plain gradient, in one run, and its peak memory at 512 x 512 in a process of its own.

    python benchmarks/prediction.py

Writes benchmarks/results/prediction.json.
"""

from __future__ import annotations

import json
import sys

import torch
from timing import in_a_process, median_seconds, peak_mib, write_result

from featvis.compat import import_torchvision
from featvis.predict.prediction import predict

ROUNDS = 5


def resnet50() -> torch.nn.Module:
    torch.manual_seed(0)
    return import_torchvision().models.resnet50(weights=None).eval()


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
    contestants = {
        "gradient": lambda: plain_gradient(network, images),
        "learned": lambda: predict(network, (3, 224, 224), "learned"),
        "uniform": lambda: predict(network, (3, 224, 224), "uniform"),
    }
    medians = median_seconds(contestants, ROUNDS)
    before, peak = in_a_process(__file__, "child")
    result = {
        "median_seconds": medians,
        "learned_over_gradient": medians["learned"] / medians["gradient"],
        "uniform_over_gradient": medians["uniform"] / medians["gradient"],
        "peak_mib_512": {"before": round(before), "after": round(peak)},
    }
    write_result("prediction", result)


if __name__ == "__main__":
    main()
