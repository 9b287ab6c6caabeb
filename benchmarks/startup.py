"""How long commands take to start: processor time of whole processes, as a ratio to what torch or torchvision itself needs.

    python benchmarks/startup.py

A picture is 256 x 256, noise and a few large shapes in JPEG, made here. Each command is a process of its own; user and system time of all
its threads count. Runs take turns, the figure is the median of seven, after one to warm up. Writes benchmarks/results/startup.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timing import medians, surroundings, write_result

ROUNDS = 7
PICTURES = 8

REFERENCES = {
    "torch": ["-c", "import torch"],
    "torchvision": ["-c", "from featvis.compat import import_torchvision; import_torchvision()"],
}
"""What is unavoidable. torchvision's wheels do not import beside a CPU build of torch on their own."""

ZOO = "zoo:cifar-k3s2"
CONTESTANTS = {
    "layers": (["layers", ZOO], "torch", 1.3),
    "predict": (["predict", ZOO], "torch", 1.6),
    "audit": (["audit", ZOO, "pictures"], "torch", 1.8),
    "grad": (["grad", ZOO, "pictures/0.jpg", "--out", "maps"], "torch", 2.2),
    "audit resnet18": (["audit", "resnet18", "--weights", "none", "pictures"], "torchvision", 1.6),
}
"""Arguments of the command line, what they are held against, and the largest ratio that passes."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As users have it: what Python compiled in the run before is not compiled again."""


def make_pictures(folder: Path) -> None:
    """Photographs of nothing: smooth shapes under noise."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(PICTURES):
        coarse = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC), dtype=np.float64)
        noisy = np.clip(smooth + generator.normal(0, 12, smooth.shape), 0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)


def run(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of processor time of a Python process and its peak memory in MiB."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=ENVIRONMENT, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(arguments)} failed: {said.read().decode()[-500:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def measure(rounds: int) -> dict[str, Any]:
    """Medians of each process, and the ratios."""
    commands = {
        **REFERENCES,
        **{name: ["-m", "featvis", *arguments] for name, (arguments, _, _) in CONTESTANTS.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as place:
        make_pictures(Path(place, "pictures"))
        for number in range(rounds + 1):
            for name, arguments in commands.items():
                spent, peak = run(arguments, Path(place))
                if number:
                    seconds[name].append(spent)
                    memory[name].append(peak)
    spent, peak = medians(seconds), medians(memory)
    found: dict[str, Any] = {
        name: {"seconds": round(spent[name], 3), "peak_mib": round(peak[name])} for name in REFERENCES
    }
    for name, (arguments, reference, limit) in CONTESTANTS.items():
        found[name] = {
            "command": " ".join(["featvis", *arguments]),
            "seconds": round(spent[name], 3),
            "against": reference,
            "ratio": round(spent[name] / spent[reference], 3),
            "limit": limit,
            "peak_mib": round(peak[name]),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    write_result("startup", {**surroundings(), "rounds": rounds, "found": measure(rounds)})


if __name__ == "__main__":
    main()
