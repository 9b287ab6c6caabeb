"""`featvis zoo` lists what ships, and says all that is known of one network."""

import json

import pytest
from helpers.running import ZOO, files_below, printed, refused

from featvis.measure.estimates import Estimate
from featvis.models.zoo import ZOO as NETWORKS


def test_all_networks_are_listed(tmp_path):
    output = printed("zoo", "--json", tmp_path / "zoo.json")
    for name, card in NETWORKS.items():
        (line,) = [line for line in output.splitlines() if line.split()[:1] == [name]]
        assert card.layer in line
        assert f"{card.figures['parameters'] / 1e6:.2f} M" in line
        assert str(Estimate(*card.figures["measured"])) in line
    content = json.loads((tmp_path / "zoo.json").read_text())
    assert content["schema"] == "featvis.zoo/1"
    assert list(content["networks"]) == list(NETWORKS)


@pytest.mark.parametrize("given", [ZOO, ZOO.removeprefix("zoo:")])
def test_one_card_in_full(given, tmp_path):
    output = printed("zoo", given, "--json", tmp_path / "card.json")
    card = NETWORKS["cifar-k3s2"]
    for said in (
        card.summary,
        card.recipe,
        card.data,
        card.licence,
        "482,730",
        "airplane, automobile",
        "random weights",
    ):
        assert said in output
    (content,) = json.loads((tmp_path / "card.json").read_text())["networks"].values()
    assert content["accuracy"][0] == card.figures["accuracy"][0]


def test_what_is_wrong_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nearest: cifar-k3s2" in refused("zoo", "cifar-k3s3")
    assert "is a folder" in refused("zoo", "--json", ".")
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("command", ["layers", "predict"])
def test_a_generator_reads_no_pictures(command):
    name = next(name for name, card in NETWORKS.items() if card.kind == "generator")
    assert f"zoo:{name} is a generator, which reads no pictures; `featvis generator zoo:{name}`" in refused(
        command, f"zoo:{name}"
    )


@pytest.mark.parametrize("command", ["generator", "discriminator"])
def test_a_classifier_is_neither(command):
    assert f"{ZOO} is a classifier; expected a {command}, such as zoo:{command}-" in refused(command, ZOO)


def test_networks_of_a_pair_are_told_apart():
    generator, discriminator = (
        next(f"zoo:{name}" for name, card in NETWORKS.items() if card.kind == kind)
        for kind in ("generator", "discriminator")
    )
    assert f"{generator} is a generator; expected a discriminator" in refused("discriminator", generator)
    assert f"{discriminator} is a discriminator; expected a generator" in refused("generator", discriminator)


def test_a_pair_works():
    names = [
        next(f"zoo:{name}" for name, card in NETWORKS.items() if card.kind == kind)
        for kind in ("discriminator", "generator")
    ]
    output = printed("discriminator", names[0], "--generator", names[1], "--samples", "16")
    assert "gradient of the logit" in output
    output = printed("discriminator", names[0], "--samples", "16")
    assert "pixels are taken to be" not in output
    assert "trained, high-passed" in printed("generator", names[1], "--samples", "16")
