"""What benchmarks share: runs that alternate, what they ran on, peak memory, and results as JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from featvis.files import write_text

RESULTS = Path(__file__).parent / "results"


def seconds_of(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each in every round. They alternate, so that a noisy machine slows all; one round more warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            if round_ > 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def median_seconds(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each, in rounds that alternate."""
    return medians(seconds_of(contestants, rounds))


def peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(script: str, *arguments: object) -> Any:
    """What a script prints as JSON where it runs in a process of its own."""
    command = [sys.executable, script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def surroundings() -> dict[str, Any]:
    """The machine and the versions that a result was measured with."""
    return {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def write_result(name: str, result: Mapping[str, Any], command: str | None = None) -> None:
    """Put a result, below the command that makes it, into benchmarks/results as NAME.json, and print it."""
    text = json.dumps({"command": command or f"python benchmarks/{name}.py", **result}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / f"{name}.json", text + "\n")
    print(text)
