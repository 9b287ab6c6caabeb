"""Peak memory of an audit of 100 pictures and of 2,000, each in a process of its own.

    python benchmarks/memory.py

The pictures are noise, made on the spot. Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from featvis.files import write_text

RESULTS = Path(__file__).parent / "results" / "memory.json"
COUNTS = (100, 2000)


def audit(folder: str, count: str) -> None:
    """Runs in the child: prints the seconds and the peak memory of this process, in KiB."""
    import time

    from featvis.audit.run import audit_pictures
    from featvis.data.pictures import find_pictures
    from featvis.models.specs import load_model

    model = load_model("zoo:cifar-k3s2", size=(96, 96))
    started = time.perf_counter()
    audit_pictures(model, find_pictures([folder])[: int(count)])
    print(json.dumps([time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        for number in range(max(COUNTS)):
            pixels = generator.integers(0, 256, (120, 120, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(folder) / f"{number:05}.png", compress_level=1)
        measured = {}
        for count in COUNTS:
            command = [sys.executable, __file__, folder, str(count)]
            seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            measured[count] = {"seconds": round(seconds, 1), "peak_mib": round(peak / 1024, 1)}
    few, many = (measured[count]["peak_mib"] for count in COUNTS)
    result = {"command": "python benchmarks/memory.py", "pictures": measured, "peak_ratio": many / few}
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        audit(*sys.argv[1:])
    else:
        main()
