"""Long audits: killed at any moment they go on to the same answer, they stop when they are exact enough, and when asked to."""

import os
import random
import re
import signal
import time
from dataclasses import replace

import pytest
import torch
from helpers.networks import strided
from helpers.running import save_pictures

from featvis.audit import run as audits
from featvis.audit.request import AT_ONCE, Request, Running, Watching
from featvis.audit.run import audit_pictures
from featvis.errors import FeatvisError
from featvis.models.model import Model


@pytest.fixture
def model():
    return Model(strided(), input_size=(3, 16, 16), resize=16)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    paths = save_pictures(tmp_path_factory.mktemp("pictures"), 60)
    paths[17].write_bytes(b"no picture")
    return paths


def numbers(audit):
    """What was measured, without how the run went."""
    return replace(audit, settings={}, notes=())


def killed_after(seconds, run):
    """Run in a process of its own, and kill it without warning; whether it ended before."""
    child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status)


def test_an_audit_killed_twenty_times_gives_the_same_answer(model, paths, tmp_path):
    def run(running):
        return audit_pictures(model, paths, Request(batch_size=2, skip_bad=True), running)

    started = time.perf_counter()
    unbroken = run(AT_ONCE)
    whole = time.perf_counter() - started
    kept = Running(folder=tmp_path / "state", save_every=1, resume=True)
    moments = random.Random(0)
    kills = 0
    for _ in range(20):
        # The start alone takes a part of the whole; with a longest wait of this, most kills hit the middle of the work.
        kills += not killed_after(moments.uniform(0, 0.6 * whole), lambda: run(kept))
        for part in (tmp_path / "state").glob("*.part*"):
            part.unlink()
    assert kills >= 10
    assert numbers(run(kept)) == numbers(unbroken)
    assert not (tmp_path / "state").exists()


def test_at_most_the_batches_since_the_last_save_are_done_again(model, paths, tmp_path):
    done = []

    def fail_at_40(so_far):
        done.append(so_far)
        if so_far >= 40:
            raise RuntimeError("planted")

    request, kept = Request(batch_size=4, skip_bad=True), Running(folder=tmp_path / "state", save_every=3)
    with pytest.raises(RuntimeError, match="planted"):
        audit_pictures(model, paths, request, kept, Watching(progress=fail_at_40))
    again = []
    audit_pictures(model, paths, request, replace(kept, resume=True), Watching(progress=again.append))
    assert (done[-1], again[0]) == (40, 40)  # saved after 9 batches, 36 pictures


@pytest.mark.parametrize("changed", ["seed", "weights", "pictures"])
def test_the_audit_of_another_run_is_refused(model, paths, tmp_path, changed):
    def stop():
        return True

    request, kept = Request(skip_bad=True), Running(folder=tmp_path / "state")
    with pytest.raises(FeatvisError, match=r"stopped after 8 of 60 pictures; they are kept in .*: go on with --resume"):
        audit_pictures(model, paths, request, kept, Watching(stop=stop))
    if changed == "seed":
        request = replace(request, seed=1)
    if changed == "weights":
        model = replace(model, module=strided(seed=1))
    with pytest.raises(FeatvisError, match=r"of another run .*(seed: 0, now 1|weights_hash|pictures)"):
        audit_pictures(model, paths[::-1] if changed == "pictures" else paths, request, replace(kept, resume=True))


def test_it_stops_when_the_error_is_small_enough(model, paths):
    exact = audit_pictures(model, paths, Request(batch_size=1, skip_bad=True))
    error = exact.energy[4].error
    early = audit_pictures(model, paths, Request(batch_size=1, skip_bad=True), Running(until_error=1.3 * error))
    assert 32 <= early.pictures < 59
    assert early.energy[4].error <= 1.3 * error
    assert any(re.search(r"stopped with \d+ pictures left", note) for note in early.notes)
    never = audit_pictures(model, paths, Request(batch_size=1, skip_bad=True), Running(until_error=1e-9))
    assert numbers(never) == numbers(exact)


def test_an_automatic_batch_changes_nothing_but_itself(model, paths):
    fixed, automatic = (audit_pictures(model, paths, Request(batch_size=size, skip_bad=True)) for size in (8, None))
    assert automatic.settings["batch_size"] == 256
    assert automatic.energy[4] == pytest.approx(fixed.energy[4], rel=1e-9)


def test_memory_that_runs_out_halves_the_batch_and_is_said(model, paths, monkeypatch):
    class Small(audits.GradientEngine):
        def gradient(self, images, *arguments, **keywords):
            if len(images) > 3:
                raise torch.OutOfMemoryError("planted")
            return super().gradient(images, *arguments, **keywords)

    whole = audit_pictures(model, paths, Request(skip_bad=True))
    monkeypatch.setattr(audits, "GradientEngine", Small)
    small = audit_pictures(model, paths, Request(skip_bad=True))
    assert small.energy[4] == pytest.approx(whole.energy[4], rel=1e-9)
    assert "memory ran out with 8 pictures at a time; went on with 4" in small.notes
    assert "memory ran out with 4 pictures at a time; went on with 2" in small.notes
