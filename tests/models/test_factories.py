"""Networks from a user's own functions, in a file or a package."""

import sys
import types

import pytest
import torch
from helpers.networks import fingerprint
from helpers.specs import equal, load, refusal
from torch import nn

from featvis.models.specs import load_model


@pytest.mark.parametrize("source", ["nets/mynets.py", "file", "mynets"])
@pytest.mark.parametrize("name", ["Net", "grey", "four", "lazy", "instance"])
def test_a_users_networks(folder, source, name, monkeypatch):
    if source == "mynets":
        monkeypatch.chdir(folder)
    source = str(folder / "mynets.py") if source == "file" else source

    def load_it(seed):
        try:
            return load_model(f"{source}:{name}", seed=seed, device="cpu")
        finally:
            for module in ("mynets", "blocks", "late"):
                sys.modules.pop(module, None)

    state, path = torch.get_rng_state(), list(sys.path)
    model = load_it(3)
    assert equal(model, load_it(3))
    assert not equal(model, load_it(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.path == path
    assert model.input_size[0] == {"grey": 1, "four": 4}.get(name, 3)
    assert not model.module.training
    assert any("no preprocessing is known" in note for note in model.notes)
    assert model.module(torch.rand(1, *model.input_size)).ndim in (2, 4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nett", "has no 'Nett'; nearest: Net"),
        ("needs", "raised TypeError"),
        ("text", "gave str; expected a torch.nn.Module"),
        ("number", "gave int; expected a torch.nn.Module"),
        ("fails", "raised KeyError: 'width'; it is called without arguments"),
        ("leaves", "raised SystemExit"),
        ("odd", "raised Odd: a b; it is called"),
        ("silent", "raised Odd: ; it is called"),
        ("generator", "raised GeneratorExit: no"),
        ("on_meta", "'first.weight' is on the meta device, without values"),
        ("in_meta", "'first.weight' is on the meta device, without values"),
        ("odd_on_meta", "raised Odd: on meta"),
        ("unshaped", "has no shape yet"),
        ("flat", "has no shape yet"),
        ("poisoned", "'norm.running_var' of nets/mynets.py:poisoned holds NaN"),
    ],
)
def test_a_users_mistakes(folder, name, said):
    before = settings_of_torch()
    assert said in refusal("nets/mynets.py:" + name)
    assert settings_of_torch() == before


def settings_of_torch():
    """What code may set for all of torch."""
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return (
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        strict,
    )


def test_what_a_factory_sets_is_set_back(folder):
    before = settings_of_torch()
    model = load("nets/mynets.py:in_double")
    assert model.module.first.weight.dtype == torch.float64
    assert settings_of_torch() == before
    assert torch.zeros(1).device.type == "cpu"


def test_who_interrupts_is_heard(folder):
    with pytest.raises(KeyboardInterrupt):
        load_model("nets/mynets.py:stopped", device="cpu")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import missing_thing", "(ModuleNotFoundError: No module named 'missing_thing')"),
        ("def net(:", "SyntaxError"),
        ("raise SystemExit('usage: train.py')", "SystemExit: usage: train.py"),
        ("raise BaseException('no')", "BaseException: no"),
        ("import torch; torch.set_default_device('meta'); raise GeneratorExit", "GeneratorExit"),
        ("import blocks; blocks.nothing", "AttributeError"),
        ("net = 1 / 0", "ZeroDivisionError"),
    ],
)
def test_files_that_cannot_be_imported(folder, source, said):
    (folder / "bad.py").write_text(source)
    message = refusal("nets/bad.py:net")
    assert "'nets/bad.py' cannot be imported" in message
    assert said in message


def test_two_files_of_one_name_have_their_own_neighbours(tmp_path):
    for number in (1, 2):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "blocks.py").write_text(f"width = {number}\n")
        (home / "net.py").write_text(
            "from torch import nn\nimport blocks\ndef net(): return nn.Conv2d(3, blocks.width, 1)"
        )
    assert [load(f"{tmp_path}/{n}/net.py:net").module.out_channels for n in (1, 2, 1)] == [1, 2, 1]


def test_an_instance_is_not_changed(monkeypatch, tmp_path):
    """Neither its mode nor, by --weights, its values."""
    owner = types.ModuleType("owner_of_a_network")
    owner.network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).train()
    monkeypatch.setitem(sys.modules, owner.__name__, owner)
    before = fingerprint(owner.network)
    torch.save({name: value + 1 for name, value in owner.network.state_dict().items()}, tmp_path / "a.pth")
    model = load("owner_of_a_network:network", weights=str(tmp_path / "a.pth"))
    assert fingerprint(owner.network) == before
    assert torch.equal(model.module[0].bias, owner.network[0].bias + 1)
