"""Every network of the zoo has its weights, small and float16, and a card whose figures were measured."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from featvis.errors import FeatvisError
from featvis.models.checkpoints import load_strictly, read_checkpoint
from featvis.models.specs import load_model
from featvis.models.zoo import PHOTOGRAPH, ZOO, card_named
from featvis.models.zoo.cards import FIGURES, WEIGHTS, measured_figures
from featvis.models.zoo.classifiers import DOWNSAMPLING, TWIN_WIDTHS, StridedClassifier
from featvis.models.zoo.discriminators import DISCRIMINATORS
from featvis.predict.prediction import predict
from featvis.tracing.hashes import weights_hash

PACKAGE = Path(__file__).parents[2] / "featvis"

TWINS = [name for name in ZOO if name.startswith("twin-")]

GRADIENTS = [name for name, card in ZOO.items() if card.kind != "generator"]


def test_cards_and_files_are_the_same_networks():
    assert {path.name for path in WEIGHTS.iterdir()} == {f"{name}.safetensors" for name in ZOO}
    assert all(card.name == name for name, card in ZOO.items())
    assert [f"twin-{name}" for name in DOWNSAMPLING] == TWINS
    assert {name for name in ZOO if name.startswith("discriminator-")} == {f"discriminator-{n}" for n in DISCRIMINATORS}
    assert PHOTOGRAPH.exists()


@pytest.mark.parametrize("name", ZOO)
def test_weights_are_small_and_float16(name):
    card = ZOO[name]
    assert card.weights.stat().st_size < 1_000_000
    state = load_file(card.weights)
    assert {value.dtype for value in state.values()} <= {torch.float16, torch.int64}
    assert torch.float16 in {value.dtype for value in state.values()}
    assert all(bool(value.isfinite().all()) for value in state.values())


@pytest.mark.parametrize("name", ZOO)
def test_weights_load_strictly(name):
    card = ZOO[name]
    network = card.architecture()
    load_strictly(network, read_checkpoint(card.weights), name)
    loaded, stored = network.state_dict(), load_file(card.weights)
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[key], value.to(loaded[key])) for key, value in stored.items())
    assert sum(parameter.numel() for parameter in network.parameters()) == card.figures["parameters"]


def test_everything_shipped_is_below_20_megabytes():
    shipped = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(os.path.getsize(path) for path in shipped) < 20_000_000


def test_a_card_says_everything():
    for name, card in ZOO.items():
        content = json.loads(json.dumps(card.content()))
        assert content["kind"] in ("classifier", "discriminator", "generator")
        assert content["architecture"]
        assert "experiments/" in content["recipe"]
        assert content["data"]
        assert content["licence"]
        assert content["bytes"] == card.weights.stat().st_size
        assert content["measured"][1] > 0, name
    assert set(measured_figures()) == set(ZOO)


def test_figures_have_no_network_of_their_own():
    assert list(json.loads(FIGURES.read_text(encoding="utf-8"))) == list(ZOO)


@pytest.mark.parametrize("name", ZOO)
def test_figures_are_of_these_weights(name):
    card = ZOO[name]
    network = load_model(f"zoo:{name}", kind=card.kind, device="cpu").module
    figures = card.figures
    assert figures["weights"] == weights_hash(network)
    if card.kind != "generator":
        expected = predict(network, card.input_size).energy[figures["period"]]
        assert figures["predicted"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in ZOO if name.startswith(("twin-", "cifar-"))])
def test_classifiers_are_as_good_as_asked_for(name):
    value, error = ZOO[name].figures["accuracy"]
    assert value >= 0.85
    assert error == pytest.approx((value * (1 - value) / 10_000) ** 0.5, abs=1e-5)


def test_a_twin_is_what_its_name_says():
    for name in TWINS:
        expected = StridedClassifier(TWIN_WIDTHS, downsampling=name.removeprefix("twin-"))
        assert str(ZOO[name].architecture()) == str(expected)


def test_twins_differ_in_how_they_downsample_only():
    """Every weight outside the three downsampling layers has the same name and shape in all twins."""
    shapes = []
    for name in TWINS:
        state = ZOO[name].architecture().state_dict()
        apart = ("stem.", "down2.", "down3.")
        shapes.append({key: value.shape for key, value in state.items() if not key.startswith(apart)})
    assert all(shape == shapes[0] for shape in shapes)


@pytest.mark.parametrize(
    ("name", "said"),
    [("twin-k3s3", "nearest: twin-k3s2"), ("xxxx", "no network 'xxxx' in the zoo; `featvis zoo` lists it")],
)
def test_an_unknown_name(name, said):
    with pytest.raises(FeatvisError) as caught:
        card_named(name)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", GRADIENTS)
def test_networks_that_read_pictures(name):
    card = ZOO[name]
    model = load_model(f"zoo:{name}", device="cpu")
    with torch.no_grad():
        output = model.module(model.normalise(torch.rand(2, *card.input_size)))
    assert output.shape[0] == 2
    assert output.numel() == 2 * len(card.labels or ("logit",))
    assert (card.mean, card.std) == (model.mean, model.std)
