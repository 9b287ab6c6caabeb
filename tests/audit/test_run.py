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
from helpers.refusals import refusal
from helpers.running import save_pictures
from torch import nn

from featvis.audit import run as audits
from featvis.audit.request import AT_ONCE, USUAL, Request, Running, Watching
from featvis.audit.resume import Kept
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
    assert kills >= 10
    assert numbers(run(kept)) == numbers(unbroken)
    assert not (tmp_path / "state").exists()


def test_an_audit_killed_at_its_very_end_has_nothing_left_to_measure(model, paths, tmp_path, monkeypatch):
    request, kept = Request(skip_bad=True), Running(folder=tmp_path / "state", resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "close", lambda self: None)
        whole = audit_pictures(model, paths, request, kept)
    (tmp_path / "state" / ".part-0.1.part.safetensors").write_bytes(b"half")
    again = audit_pictures(model, paths, request, kept)
    assert numbers(again) == numbers(whole)
    assert again.settings == whole.settings
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("culprits", [False, True])
def test_what_is_kept_is_there_until_the_result_is_written(model, paths, tmp_path, culprits):
    """A kill while the layers are asked, or while the record is written, loses nothing that was measured."""
    request, kept = Request(skip_bad=True, culprits=culprits), Running(folder=tmp_path / "state", resume=True)
    written = []

    def fail(audit):
        written.append(audit)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        audit_pictures(model, paths, request, kept, Watching(done=fail))
    done = []
    again = audit_pictures(model, paths, request, kept, Watching(progress=done.append, done=written.append))
    assert written[0].energy == written[1].energy == again.energy
    assert not (tmp_path / "state").exists()
    assert bool(done) == culprits  # Nothing is left to measure; the culprits are asked again.


def test_a_search_for_culprits_that_is_stopped_keeps_the_audit(model, paths, tmp_path):
    seen = []

    def stop():
        return len(seen) > len(paths) // USUAL + 2

    request, kept = Request(skip_bad=True, culprits=True), Running(folder=tmp_path / "state", resume=True)
    with pytest.raises(FeatvisError, match="stopped while the culprits were looked for; what is done is kept"):
        audit_pictures(model, paths, request, kept, Watching(progress=seen.append, stop=stop))
    assert list((tmp_path / "state").glob("part-*"))


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


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("seed", "seed: 0, now 1"),
        ("weights", "weights_hash"),
        ("order", "60 of 60 have another name, place or content, first number 0, '59.png'"),
        ("picture", "1 of 60 have another name, place or content, first number 3, '3.png'"),
        ("nonlinearity", r"network, item \d+: 'relu in 1 .*', now 'softplus in 1 "),
        ("constant", r"network, item \d+: 'mul in 0 .*, now 'mul in 0 "),
    ],
)
def test_the_audit_of_another_run_is_refused(paths, tmp_path, changed, said):
    def stop():
        return True

    class Scaled(nn.Conv2d):
        by = 2.0

        def forward(self, images):
            return super().forward(images) * self.by

    def network(nonlinearity=nn.ReLU, seed=0):
        torch.manual_seed(seed)
        layers = Scaled(3, 4, 3, 2, padding=1), nonlinearity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        return Model(nn.Sequential(*layers), input_size=(3, 16, 16), resize=16)

    request, kept = Request(skip_bad=True), Running(folder=tmp_path / "state")
    with pytest.raises(
        FeatvisError, match=r"stopped after 8 of 60 pictures; what is done is kept in .*: go on with --resume"
    ):
        audit_pictures(network(), paths, request, kept, Watching(stop=stop))
    model = network()
    if changed == "seed":
        request = replace(request, seed=1)
    if changed == "weights":
        model = network(seed=1)
    if changed == "nonlinearity":
        model = network(nn.Softplus)
    if changed == "constant":
        Scaled.by = 3.0
    if changed == "order":
        paths = paths[::-1]
    if changed == "picture":
        # As long as before.
        other = tmp_path / paths[3].name
        other.write_bytes(paths[3].read_bytes()[:-1] + b"x")
        paths = [*paths[:3], other, *paths[4:]]
    with pytest.raises(FeatvisError, match=f"of another run .*{said}"):
        audit_pictures(model, paths, request, replace(kept, resume=True))


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"module": strided().to("meta")}, "meta device"),
        ({"module": torch.jit.script(strided())}, "TorchScript"),
        ({"input_size": (1, 512)}, "no pictures of"),
    ],
)
def test_networks_that_cannot_be_audited_are_refused_in_one_line(model, paths, change, said):
    assert said in refusal(audit_pictures, replace(model, **change), paths)
