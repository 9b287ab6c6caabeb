"""What it costs to keep the maps in which periods are found, beside the measure's own sums, in one run.

    python benchmarks/found_update.py

Batches of pictures of three sizes, in rounds that alternate. Writes benchmarks/results/found_update.json.
"""

from __future__ import annotations

from functools import partial

import torch
from timing import medians, seconds_of, write_result

from featvis.measure.sums import EnergySums

ROUNDS = 300
SIZES = {32: (8, 64), 96: (16, 16), 224: (32, 8)}
"""Pixels to the total stride and the pictures of a batch."""


def main() -> None:
    torch.set_num_threads(1)
    result = {}
    for size, (total_stride, pictures) in SIZES.items():
        gradients = torch.randn(pictures, 3, size, size)
        contestants = {
            name: partial(EnergySums(total_stride, size=maps).update, gradients, range(pictures))
            for name, maps in (("alone", None), ("with_maps", (size, size)))
        }
        seconds = seconds_of(contestants, ROUNDS)
        ratios = sorted(whole / alone for alone, whole in zip(seconds["alone"], seconds["with_maps"], strict=True))
        result[f"{size}"] = {"median_seconds": medians(seconds), "with_maps_over_alone": ratios[len(ratios) // 2]}
    write_result("found_update", result)


if __name__ == "__main__":
    main()
