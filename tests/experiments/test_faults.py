"""A few of each fault that the study counts: every one must end as it should."""

import math
import os
import random
import signal
import subprocess
import sys
import time

import faults
import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return faults.Place.made(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize(("processes", "workers"), [(1, 2), (2, 0), (3, 2)])
def test_killed_runs_go_on_to_the_same_result(place, processes, workers):
    row = faults.kills(place, processes, workers, 3, random.Random(processes))
    assert int(row["held"]) == int(row["tried"]) >= 3
    assert float(row["difference"]) <= (0 if processes == 1 else faults.SAME)
    assert int(row["again"]) <= int(row["tried"]) * processes * faults.BATCH


def test_no_flipped_bit_is_taken(place):
    assert faults.flipped_bits(place, 100, random.Random(0))["held"] == "100"


def test_one_of_several_resumes_runs(place):
    assert faults.at_once(place, 1)["held"] == "1"


def test_no_rank_outlives_the_agent(place):
    """Once while the ranks start, once while they measure."""
    row = faults.agents(place, 2, 1, 2, random.Random(0))
    assert row["held"] == "2"
    assert float(row["seconds"]) < 60


def test_differences_are_seen():
    first = {"a": [1.0, "x", None], "b": {"c": 2.0}}
    assert faults.difference(first, first) == 0
    assert faults.difference(first, {"a": [1.0, "x", None], "b": {"c": 2.5}}) == pytest.approx(0.2)
    for other in ({"a": [1.0, "y", None], "b": {"c": 2.0}}, {"a": [1.0, "x"], "b": {"c": 2.0}}, {"a": 1.0}, None):
        assert faults.difference(first, other) == math.inf


READING = """
import os, signal, sys
from pathlib import Path

from torch import nn

from featvis.audit.batches import Loader
from featvis.models.model import Model

if __name__ == "__main__":
    paths = [Path(sys.argv[1])] * 10_000
    for _ in Loader(Model(nn.Identity(), input_size=(3, 16, 16), resize=16), paths, batch_size=1, workers=2):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_the_process_that_they_read_for(place):
    environment = {**os.environ, "FAULTS": "reading"}
    killed = subprocess.run(
        [sys.executable, "-c", READING, place.folder / "pictures" / "00.png"],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    assert killed.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while list(faults.marked("reading")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
