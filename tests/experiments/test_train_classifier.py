"""A training of a classifier can be stopped at any moment, and goes on as if it had not been."""

import csv

import pytest
import torch
import train_classifier
from helpers.training import data, same, stop_at
from safetensors.torch import load_file

from featvis.models.zoo.classifiers import DOWNSAMPLING, StridedClassifier

EPOCHS = 3


def trained_classifier(out, seed=0, epochs=EPOCHS):
    torch.manual_seed(seed)
    network = StridedClassifier((4, 4, 8), downsampling="blur")
    recipe = train_classifier.Recipe(epochs, batch_size=16, bfloat16=True, snapshots=True)
    train_classifier.train(network, data(), out, recipe, seed)
    return load_file(out / train_classifier.WEIGHTS)


def test_a_stopped_classifier_goes_on(tmp_path, monkeypatch):
    whole = trained_classifier(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, train_classifier, "accuracy", 2)
        with pytest.raises(KeyboardInterrupt):
            trained_classifier(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / train_classifier.WEIGHTS).exists()
    assert same(whole, trained_classifier(tmp_path / "stopped"))
    for epoch in range(EPOCHS + 1):
        paths = [tmp_path / run / f"epoch-{epoch}.safetensors" for run in ("whole", "stopped")]
        assert same(*map(load_file, paths))
    with (tmp_path / "stopped" / train_classifier.LOG).open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_a_training_of_another_length_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, train_classifier, "accuracy", 2)
        with pytest.raises(KeyboardInterrupt):
            trained_classifier(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit, match="training of 3 epochs, not of 5"):
        trained_classifier(tmp_path, epochs=5)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    trained_classifier(tmp_path)
    with pytest.raises(SystemExit, match="weights of 3 epochs, not of 5"):
        trained_classifier(tmp_path, epochs=5)


def test_another_seed_is_another_network(tmp_path):
    assert not same(trained_classifier(tmp_path / "0"), trained_classifier(tmp_path / "1", seed=1))


def test_a_trained_classifier_is_left_alone(tmp_path, monkeypatch):
    whole = trained_classifier(tmp_path)
    monkeypatch.setattr(train_classifier, "accuracy", None)
    assert same(whole, trained_classifier(tmp_path))


def test_logs_are_joined(tmp_path):
    trained_classifier(tmp_path / "blur-0")
    train_classifier.join_logs(tmp_path, list(DOWNSAMPLING), [0, 1], tmp_path / "logs.csv")
    with (tmp_path / "logs.csv").open() as file:
        assert [(row["twin"], row["seed"], row["epoch"]) for row in csv.DictReader(file)] == [
            ("blur", "0", str(epoch + 1)) for epoch in range(EPOCHS)
        ]
