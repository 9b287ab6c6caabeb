"""Batches from files: the same with and without workers, what is bad is said, and the network stays with this process."""

import multiprocessing
import os
import signal
from multiprocessing import resource_sharer

import pytest
import torch
from helpers.networks import strided
from helpers.running import save_pictures

from featvis.audit.batches import Batch, Loader, Remembered, Stack, measured, reading_ahead, workers_watched
from featvis.errors import FeatvisError
from featvis.gradients.engine import GradientEngine
from featvis.models.model import Model


@pytest.fixture
def model():
    return Model(strided(), input_size=(3, 16, 16), mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7), resize=16)


@pytest.fixture
def paths(tmp_path):
    paths = save_pictures(tmp_path, 7)
    paths[3].write_bytes(b"no picture")
    return paths


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_what_the_model_loads(model, paths, workers):
    loader = Loader(model, paths, batch_size=2, skip_bad=True, workers=workers)
    batches = list(loader)
    assert [batch.numbers for batch in batches] == [[0, 1], [2], [4, 5], [6]]
    assert batches[1].names == ["2.png"]
    for batch in batches:
        expected = model.normalise(torch.stack([model.load(paths[number])[1] for number in batch.numbers]))
        assert torch.equal(batch.images, expected)
    assert len(loader.skipped) == 1
    assert "3.png" in loader.skipped[0]


def test_only_some_of_the_pictures(model, paths):
    loader = Loader(model, paths, batch_size=4, numbers=[6, 1, 2])
    assert [batch.numbers for batch in loader] == [[6, 1, 2]]


def test_a_round_may_be_empty(model, paths):
    loader = Loader(model, paths, batch_size=1, skip_bad=True, numbers=[3, 4])
    assert [batch.numbers for batch in loader.rounds()] == [[], [4]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_ends_it(model, paths, workers):
    with pytest.raises(FeatvisError, match=r"3\.png"):
        list(Loader(model, paths, workers=workers))


def test_workers_get_no_network(model, paths):
    class Heavy(torch.nn.Module):
        def __reduce__(self):
            raise AssertionError("the network was sent to a worker")

    heavy = Model(Heavy(), input_size=(3, 16, 16), resize=16)
    assert len(list(Loader(heavy, paths[:3], workers=1))) == 1


@pytest.mark.parametrize("most", [0, 2 * 2 * 3 * 16 * 16 * 4, 10**9])
def test_a_second_pass_is_the_first_one(model, paths, most):
    """Read again where it does not fit: the sixth of the six pictures that can be read is alone in its batch."""
    loader = Loader(model, paths, batch_size=2, skip_bad=True)
    remembered = Remembered(loader, most)
    first = list(remembered.keeping(loader.rounds()))
    second = list(remembered)
    assert [batch.numbers for batch in first] == [[0, 1], [2], [4, 5], [6]]
    assert sorted(number for batch in second for number in batch.numbers) == [0, 1, 2, 4, 5, 6]
    again = {0: 6, 10**9: 0}.get(most, 3)
    assert len(remembered.again) == again
    assert bool(remembered.notes()) == (again > 0)
    whole = torch.cat([batch.images for batch in first])
    assert torch.equal(torch.cat([batch.images for batch in second]), whole)
    assert len(loader.skipped) == 1


def test_room_around_comes_from_the_same_reading(model, paths, monkeypatch):
    read = []
    plain = Model.load
    monkeypatch.setattr(Model, "load", lambda self, path: read.append(path) or plain(self, path))
    (batch,) = Loader(model, paths[:3], batch_size=4, margin=4)
    assert len(read) == 3
    wider = Model(model.module, input_size=(3, 20, 20), mean=model.mean, std=model.std, resize=16)
    assert torch.equal(batch.wide, wider.normalise(torch.stack([plain(wider, path)[1] for path in paths[:3]])))


def test_what_is_measured_is_handed_on(model):
    engine, pictures = GradientEngine(model.module, "1"), torch.randn(5, 3, 16, 16, dtype=torch.float64)
    found = list(measured(engine, Stack(pictures, 2, "noise")))
    assert [batch.names for batch in found] == [["noise 0", "noise 1"], ["noise 2", "noise 3"], ["noise 4"]]
    assert torch.equal(torch.cat([batch.images for batch in found]), pictures)
    assert torch.allclose(torch.cat([batch.gradients for batch in found]), engine(pictures))
    (empty,) = measured(engine, [Batch(torch.empty(0), [], [])])
    assert empty.numbers == []
    with pytest.raises(FeatvisError, match="noise 1"):
        list(
            measured(
                engine,
                Stack(pictures, 2, "noise"),
                lambda images, numbers: torch.eye(3).new_tensor([1.0, 0.0]).view(2, 1, 1, 1),
            )
        )


def test_a_worker_that_is_killed_is_one_line(model, paths):
    def killing():
        for _ in Loader(model, paths * 30, batch_size=1, skip_bad=True, workers=1):
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)

    said = r"has died \(DataLoader worker .*\); give fewer --workers; go on"
    with pytest.raises(FeatvisError, match=said), workers_watched("go on"):
        killing()
    with pytest.raises(RuntimeError, match="another"), workers_watched("go on"):
        raise RuntimeError("another")


def test_a_worker_that_is_killed_while_it_hands_over_a_batch_is_one_line(tmp_path):
    """Python then finds nobody at the other end of the pipe; any other missing file is what it is."""
    nobody = str(tmp_path / "nobody"), 1
    said = "has died .DataLoader worker exited while it handed over a batch.; give fewer --workers; go on"
    with pytest.raises(FeatvisError, match=said), workers_watched("go on"):
        resource_sharer._resource_sharer.get_connection(nobody)
    with pytest.raises(FileNotFoundError), workers_watched("go on"):
        (tmp_path / "nobody").read_bytes()


def test_workers_are_at_most_the_processors_there_are(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    assert reading_ahead(3) == (3, [])
    assert reading_ahead(10**30) == (
        3,
        [f"{10**30} workers were asked for; 3 read ahead, as there are no more processors"],
    )
