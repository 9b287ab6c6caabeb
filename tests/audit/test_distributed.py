"""One process alone, two under torchrun, and one of them that dies."""

import contextlib
import json
import os
import re
import subprocess
import sys

import pytest
import torch
from helpers.running import ZOO, printed, refused, save_pictures

from featvis.audit import distributed
from featvis.audit.distributed import Group, joined

NETWORK = """
import os
import signal

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.calls = 0

    def forward(self, images):
        self.calls += len(images)
        if "RANK" in os.environ and os.environ.get("DIES") == os.environ["RANK"] and self.calls > 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.convolution(images).relu().mean((2, 3))
"""


def torchrun(folder, *arguments, **environment):
    """`featvis audit` in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "featvis", "audit", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def measured(path):
    """The numbers of an audit, without how it ran."""
    content = json.loads(path.read_text())
    return {key: value for key, value in content.items() if key not in ("settings", "notes")}


def test_alone():
    with joined() as group:
        assert group == Group()
    assert group.leads
    assert group.share([1, 2, 3]) == [1, 2, 3]
    assert torch.equal(group.sum(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))
    assert (group.largest(3), group.gather(["a"])) == (3, [["a"]])


def test_shares_of_a_group_cover_everything_once():
    shares = [Group(rank, 3).share(range(10)) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(10))
    assert {len(share) for share in shares} == {3, 4}


def close(first, other):
    """Equal but for the order of sums."""
    if isinstance(first, dict):
        assert first.keys() == other.keys()
        return all(close(first[key], other[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(other) and all(map(close, first, other))
    return first == (pytest.approx(other, rel=1e-6, abs=1e-9) if isinstance(first, float) else other)


def test_two_processes_measure_what_one_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "pictures", 13)
    (tmp_path / "pictures" / "5.png").write_bytes(b"no picture")
    alone = printed("audit", ZOO, "pictures", "--skip-bad", "--json", "one.json")
    both = torchrun(tmp_path, ZOO, "pictures", "--skip-bad", "--workers", "1", "--json", "two.json", "--state", "state")
    assert both.returncode == 0, both.stderr
    assert both.stdout == alone
    assert close(measured(tmp_path / "one.json"), measured(tmp_path / "two.json"))
    assert not (tmp_path / "state").exists()
    assert json.loads((tmp_path / "two.json").read_text())["settings"]["processes"] == 2


def test_a_process_that_dies_ends_the_run_with_one_line_and_its_work_is_kept(tmp_path, monkeypatch):
    save_pictures(tmp_path / "pictures", 40)
    (tmp_path / "nets.py").write_text(NETWORK)
    network = ("nets.py:Net", "pictures", "--size", "32", "--batch-size", "2")
    state = ("--state", "state", "--save-every", "1")
    died = torchrun(tmp_path, *network, *state, "--json", "two.json", DIES="1")
    assert died.returncode != 0
    ours = [line for line in died.stderr.splitlines() if line.startswith("featvis: ")]
    assert len(ours) == 1
    assert re.search(r"another process|stopped after", ours[0])
    assert not (tmp_path / "two.json").exists()
    assert len(list((tmp_path / "state").glob("part-*.safetensors"))) == 2

    resumed = torchrun(tmp_path, *network, *state, "--resume", "--json", "two.json")
    assert resumed.returncode == 0, resumed.stderr
    monkeypatch.chdir(tmp_path)
    printed("audit", *network, "--json", "one.json")
    assert close(measured(tmp_path / "one.json"), measured(tmp_path / "two.json"))


def test_more_processes_than_pictures_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "joined", lambda: contextlib.nullcontext(Group(0, 2, 0, 2)))
    save_pictures(tmp_path / "pictures", 1)
    assert "2 processes for 1 pictures" in refused("audit", ZOO, tmp_path / "pictures")
