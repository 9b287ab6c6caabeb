"""One run a folder: the second is told who has it, and a lock ends with its process."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.running import save_pictures

from featvis.audit import lock
from featvis.audit.distributed import Group
from featvis.audit.lock import only_run
from featvis.errors import FeatvisError

HOLDER = """
import sys, time
from pathlib import Path
from featvis.audit.distributed import Group
from featvis.audit.lock import only_run

with only_run(Path(sys.argv[1]), Group()):
    print("held", flush=True)
    time.sleep(600)
"""

WAITING = """
import time
from pathlib import Path

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, 2, padding=1)

    def forward(self, images):
        while not Path("go").exists():
            time.sleep(0.01)
        return self.convolution(images).relu().mean((2, 3))
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "state"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_left_as_it_was(tmp_path):
    with only_run(None, Group()) as said:
        assert said == []
    with only_run(tmp_path / "state", Group()) as said:
        assert said == []
        assert (tmp_path / "state" / lock.NAME).read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / "state").exists()
    with only_run(tmp_path, Group()):
        (tmp_path / "mine.txt").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_second_run_is_told_who_has_it_and_a_killed_one_lets_go(tmp_path, holder):
    said = rf"process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d .* works on the audit in '.*state'; wait"
    with pytest.raises(FeatvisError, match=said), only_run(tmp_path / "state", Group()):
        raise AssertionError
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with only_run(tmp_path / "state", Group()):
        assert (tmp_path / "state" / lock.NAME).read_text().startswith(f"process {os.getpid()} ")
    assert not (tmp_path / "state").exists()


def test_an_odd_lock_file_is_said_in_one_line(tmp_path, holder):
    (tmp_path / "state" / lock.NAME).write_bytes(b"\x1b[31m\n\xff" + b"x" * 10_000)
    with pytest.raises(FeatvisError) as refusal, only_run(tmp_path / "state", Group()):
        raise AssertionError
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 500


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def none(file, shared=False):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock, "_lock", none)
    with only_run(tmp_path / "state", Group()) as said:
        assert re.search("nothing keeps a second run out of .*: its file system has no locks", said[0])


def test_of_eight_resumes_at_once_one_runs(tmp_path):
    """The one that runs waits in its network until the others have been refused."""
    save_pictures(tmp_path / "pictures", 4)
    (tmp_path / "nets.py").write_text(WAITING)
    arguments = ("nets.py:Net", "pictures", "--size", "32", "--state", "state", "--resume")
    command = [sys.executable, "-m", "featvis", "audit", *arguments]
    processes = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        ends = [threads.submit(process.communicate) for process in processes]
        deadline = time.monotonic() + 120
        while sum(process.poll() is not None for process in processes) < 7 and time.monotonic() < deadline:
            time.sleep(0.05)
        (tmp_path / "go").touch()
        outputs = [end.result() for end in ends]
    (runner,) = (process.pid for process in processes if process.returncode == 0)
    for process, (out, said) in zip(processes, outputs, strict=True):
        if process.pid == runner:
            assert ("4 pictures" in out, said) == (True, "")
        else:
            assert (process.returncode, out) == (2, "")
            assert re.fullmatch(
                rf"featvis: process {runner} on \S+ since .* works on the audit in 'state'; wait .*\n", said
            )
    assert not (tmp_path / "state").exists()
