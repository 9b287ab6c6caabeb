"""What the zoo is trained by can be stopped at any moment, and goes on as if it had not been."""

import csv

import pytest
import torch
import train_classifier
import train_gan
from safetensors.torch import load_file

from featvis.models.zoo.classifiers import DOWNSAMPLING, StridedClassifier

EPOCHS, STEPS = 3, 4


def data(count=32):
    random = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, 3, 32, 32), generator=random, dtype=torch.uint8)
    classes = torch.randint(0, 10, (count,), generator=random)
    return pictures, classes, pictures[:8], classes[:8]


def trained_classifier(out, seed=0, epochs=EPOCHS):
    torch.manual_seed(seed)
    network = StridedClassifier((4, 4, 8), downsampling="blur")
    train_classifier.train(network, data(), out, epochs, 16, seed, bfloat16=True, snapshots=True)
    return load_file(out / train_classifier.WEIGHTS)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def stop_at(monkeypatch, owner, name, call):
    """Make a function raise KeyboardInterrupt the time that it is called so often."""
    function, calls = getattr(owner, name), []

    def stopped(*arguments, **options):
        calls.append(None)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, stopped)


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


def test_pictures_are_only_mirrored_and_moved():
    pictures = torch.arange(32 * 32, dtype=torch.float32).view(1, 1, 32, 32).expand(64, 3, -1, -1) / 4
    found = train_classifier.augment(pictures.byte(), torch.Generator().manual_seed(0))
    assert found.shape == pictures.shape
    padded = torch.nn.functional.pad(pictures[:1], (4,) * 4, mode="reflect").byte()[0]
    crops = [padded[:, row : row + 32, column : column + 32] for row in range(9) for column in range(9)]
    candidates = {one.numpy().tobytes() for crop in crops for one in (crop, crop.flip(2))}
    assert all(picture.numpy().tobytes() in candidates for picture in found)
    assert len({picture.numpy().tobytes() for picture in found}) > 32


def test_without_padding_pictures_are_mirrored_alone():
    pictures = data()[0]
    found = train_classifier.augment(pictures, torch.Generator().manual_seed(0), padding=0)
    mirrored = (found != pictures).flatten(1).any(1)
    assert 0 < mirrored.sum() < len(pictures)
    assert torch.equal(torch.where(mirrored.view(-1, 1, 1, 1), found.flip(3), found), pictures)


def test_logs_are_joined(tmp_path):
    trained_classifier(tmp_path / "blur-0")
    train_classifier.join_logs(tmp_path, list(DOWNSAMPLING), [0, 1], tmp_path / "logs.csv")
    with (tmp_path / "logs.csv").open() as file:
        assert [(row["twin"], row["seed"], row["epoch"]) for row in csv.DictReader(file)] == [
            ("blur", "0", str(epoch + 1)) for epoch in range(EPOCHS)
        ]


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
    assert train_gan.steps_and_seed(tmp_path / "generator.safetensors") == (4, 0)


def test_a_plain_discriminator_is_the_normalised_one():
    discriminator = train_gan.Duel("k5s2", 0).discriminator.eval()
    pictures = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = discriminator(pictures)
        assert any("original" in name for name in discriminator.state_dict())
        torch.testing.assert_close(train_gan.plain(discriminator)(pictures), expected)
    assert not any("original" in name for name in discriminator.state_dict())
