"""Peak memory of an audit of 100 pictures and of 2,000, each in a process of its own.

    python benchmarks/memory.py

The pictures are noise, made on the spot. Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import in_a_process, peak_mib, write_result

COUNTS = (100, 2000)


def audit(folder: str, count: str) -> None:
    """Runs in the child: prints the seconds and the peak memory of this process, in MiB."""
    import time

    from featvis.audit.run import audit_pictures
    from featvis.data.pictures import find_pictures
    from featvis.models.specs import load_model

    model = load_model("zoo:cifar-k3s2", size=(96, 96))
    started = time.perf_counter()
    audit_pictures(model, find_pictures([folder])[: int(count)])
    print(json.dumps([time.perf_counter() - started, peak_mib()]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        for number in range(max(COUNTS)):
            pixels = generator.integers(0, 256, (120, 120, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder) / f"{number:05}.png", compress_level=1)
        measured = {}
        for count in COUNTS:
            seconds, peak = in_a_process(__file__, folder, count)
            measured[count] = {"seconds": round(seconds, 1), "peak_mib": round(peak, 1)}
    few, many = (measured[count]["peak_mib"] for count in COUNTS)
    write_result("memory", {"pictures": measured, "peak_ratio": many / few})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        audit(*sys.argv[1:])
    else:
        main()
