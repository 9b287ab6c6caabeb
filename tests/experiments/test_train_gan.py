"""A training of a pair can be stopped at any moment, and goes on as if it had not been."""

import pytest
import train_gan
from helpers.training import data, same, stop_at
from safetensors.torch import load_file
from shared.weights import steps_and_seed

STEPS = 4


@pytest.fixture
def quick(monkeypatch):
    """A training of few steps, whose distance is not measured."""
    for name, value in {"LOGGED": 1, "SAVED": 2, "JUDGED": 2, "BATCH": 4}.items():
        monkeypatch.setattr(train_gan, name, value)
    monkeypatch.setattr(train_gan, "distance", lambda *_: 1.0)


def trained_pair(out, pair, seed=0, steps=STEPS):
    train_gan.train(pair, data()[0], None, out, steps, seed, bfloat16=True)
    return {
        f"{kind}.{key}": value
        for kind in ("generator", "discriminator")
        for key, value in load_file(out / f"{kind}.safetensors").items()
    }


@pytest.mark.parametrize("pair", ["deconv3-smooth4", "blur"])
def test_a_stopped_pair_goes_on(tmp_path, monkeypatch, quick, pair):
    whole = trained_pair(tmp_path / "whole", pair)
    with monkeypatch.context() as patch:
        stop_at(patch, train_gan.Duel, "step", 4)
        with pytest.raises(KeyboardInterrupt):
            trained_pair(tmp_path / "stopped", pair)
    assert not (tmp_path / "stopped" / "generator.safetensors").exists()
    assert same(whole, trained_pair(tmp_path / "stopped", pair))
    assert not same(whole, trained_pair(tmp_path / "other", pair, seed=1))


def test_a_pair_can_be_trained_for_longer(tmp_path, quick):
    shorter = trained_pair(tmp_path / "longer", "nearest", steps=2)
    longer = trained_pair(tmp_path / "longer", "nearest")
    assert not same(shorter, longer)
    assert same(longer, trained_pair(tmp_path / "whole", "nearest"))


def test_a_pair_that_was_trained_for_longer_is_refused(tmp_path, quick):
    trained_pair(tmp_path, "nearest")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit, match="training of 4 steps, more than 2"):
        trained_pair(tmp_path, "nearest", steps=2)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert steps_and_seed(tmp_path / "generator.safetensors") == (4, 0)
