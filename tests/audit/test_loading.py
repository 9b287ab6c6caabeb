"""Batches from files: the same with and without workers, what is bad is said, and the network stays with this process."""

import pytest
import torch
from helpers.networks import strided
from helpers.running import save_pictures

from featvis.audit.loading import Loader
from featvis.errors import FeatvisError
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
    assert [numbers for _, numbers, _ in batches] == [[0, 1], [2], [4, 5], [6]]
    assert [names for *_, names in batches][1] == ["2.png"]
    for images, numbers, _ in batches:
        expected = model.normalise(torch.stack([model.load(paths[number])[1] for number in numbers]))
        assert torch.equal(images, expected)
    assert len(loader.skipped) == 1
    assert "3.png" in loader.skipped[0]


def test_only_some_of_the_pictures(model, paths):
    loader = Loader(model, paths, batch_size=4, numbers=[6, 1, 2])
    assert [numbers for _, numbers, _ in loader] == [[6, 1, 2]]


def test_a_round_may_be_empty(model, paths):
    loader = Loader(model, paths, batch_size=1, skip_bad=True, numbers=[3, 4])
    assert [numbers for _, numbers, _ in loader.rounds()] == [[], [4]]


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
