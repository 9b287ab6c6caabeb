"""From a spec to a Model: names, weights, sizes, channels and what is refused."""

import functools
import sys
import types
import urllib.error

import numpy as np
import pytest
import torch
from helpers.refusals import refusal as refusal_of
from helpers.specs import equal, load, refusal
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError
from featvis.models.specs import load_model
from featvis.models.zoo import ZOO

SMALL = "shufflenet_v2_x0_5"
"""The torchvision network that is made fastest."""


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(path)
    return path


# Specs


def test_a_torchvision_name_without_weights_is_repeatable():
    first, again, another = (load(SMALL, weights="none", seed=seed) for seed in (3, 3, 4))
    assert equal(first, again)
    assert not equal(first, another)
    assert (first.weights, first.seed, first.input_size) == ("random", 3, (3, 224, 224))
    assert (first.resize, len(first.labels), len(first.mean)) == (256, 1000, 3)


def test_every_torchvision_network_has_a_preset_that_is_understood():
    import_torchvision()
    from torchvision import models

    from featvis.data.pictures import INTERPOLATIONS

    names = models.list_models(module=models)
    assert len(names) > 50
    for name in names:
        preset = models.get_model_weights(name).DEFAULT.transforms()
        assert preset.crop_size[0] <= preset.resize_size[0]
        assert preset.interpolation.value in INTERPOLATIONS


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet81", "no torchvision classification model 'resnet81'; nearest: resnet18"),
        ("cifar-k3s2", "nearest: zoo:cifar-k3s2"),
        ("ResNet18", "nearest: resnet18"),
        ("", "no torchvision classification model ''"),
        ("fcn_resnet50", "no torchvision classification model"),
        ("zoo:cifar", "no network 'cifar' in the zoo; nearest: cifar-k3s2"),
        ("zoo:nothing", "no network 'nothing' in the zoo; `featvis zoo` lists it"),
        ("nets/mynets.py", "write path/file.py:factory"),
        ("./mynets.py", "write path/file.py:factory"),
        ("weights.pth", "write path/file.py:factory"),
        ("missing.pt2", "no exported program 'missing.pt2'"),
        (":", "cannot be imported"),
        ("nowhere.py:Net", "no file 'nowhere.py'"),
        ("no_such_package.nets:Net", "'no_such_package.nets' cannot be imported (ModuleNotFoundError"),
        ("os:getcwd", "os:getcwd gave str; expected a torch.nn.Module"),
        ("torch.nn:Lineer", "'torch.nn' has no 'Lineer'; nearest: Linear"),
        ("torch.nn:Linear", "torch.nn:Linear raised TypeError"),
    ],
)
def test_unknown_specs(spec, said, folder):
    assert said in refusal(spec)


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name):
    card = ZOO[name]
    if card.kind == "generator":
        assert f"`featvis generator zoo:{name}` measures what it makes" in refusal(f"zoo:{name}")
    load_it = functools.partial(load, f"zoo:{name}", kind=card.kind)
    model = load_it()
    assert (model.weights, model.seed, model.labels, model.input_size) == ("zoo", None, card.labels, card.input_size)
    assert equal(model, load_it(weights="DEFAULT", seed=5))
    drawn = load_it(weights="none", seed=5)
    assert (drawn.weights, drawn.seed) == ("random", 5)
    assert equal(drawn, load_it(weights="none", seed=5))
    assert not equal(drawn, model)
    assert not equal(drawn, load_it(weights="none", seed=6))


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_another_kind_of_network_is_refused(kind):
    assert f"zoo:cifar-k3s2 is a classifier; expected a {kind}, such as zoo:{kind}-" in refusal(
        "zoo:cifar-k3s2", kind=kind
    )


# timm, which need not be installed


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    message = refusal("timm:resnet18")
    assert "timm cannot be imported" in message
    assert "pip install featvis[timm]" in message


@pytest.fixture
def timm(monkeypatch):
    """A stand-in with the few names of timm that are used, as timm 1.0 has them."""
    made = []

    def create_model(name, pretrained=False):
        made.append((name, pretrained))
        if pretrained and name.startswith("offline"):
            raise urllib.error.URLError("Name or service not known")
        if pretrained and name.startswith("hub"):
            raise type("ConnectError", (Exception,), {})("[Errno -2]\nName or service not known")
        network = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        size, mean = (1, 96, 128), (0.5,)
        network.pretrained_cfg = {
            "input_size": size,
            "mean": mean,
            "std": (0.25,),
            "crop_pct": 0.8,
            "interpolation": "bicubic",
        }
        if pretrained:
            nn.init.ones_(network[0].weight)
        return network

    def resolve_data_config(args=None, pretrained_cfg=None, model=None):
        return dict(args or pretrained_cfg or model.pretrained_cfg)

    module = types.ModuleType("timm")
    module.create_model, module.list_models = create_model, lambda: ["tiny_net", "offline_net", "hub_net"]
    module.data = types.SimpleNamespace(resolve_data_config=resolve_data_config)
    monkeypatch.setitem(sys.modules, "timm", module)
    return made


def test_timm_networks(timm, tmp_path):
    model = load("timm:tiny_net.tag_in1k")
    assert timm == [("tiny_net.tag_in1k", True)]
    assert (model.weights, model.seed) == ("DEFAULT", None)
    assert (model.input_size, model.mean, model.std) == ((1, 96, 128), (0.5,), (0.25,))
    assert (model.resize, model.interpolation) == (120, "bicubic")
    drawn = load("timm:tiny_net", weights="none", seed=2)
    assert (drawn.weights, drawn.seed) == ("random", 2)
    assert equal(drawn, load("timm:tiny_net", weights="none", seed=2))
    torch.save(model.module.state_dict(), tmp_path / "a.pth")
    filled = load("timm:tiny_net", weights=str(tmp_path / "a.pth"))
    assert equal(filled, model)
    assert (filled.weights, filled.seed) == (str(tmp_path / "a.pth"), None)


def test_unknown_and_unreachable_timm_networks(timm):
    assert "no timm model 'tiny_nett'; nearest: tiny_net" in refusal("timm:tiny_nett")
    for name in ("offline_net", "hub_net"):
        message = refusal(f"timm:{name}")
        assert "cannot be downloaded" in message
        assert "Name or service not known" in message or "[Errno -2]" in message
    assert "no weights 'IMAGENET1K_V1' for timm:tiny_net" in refusal("timm:tiny_net", weights="IMAGENET1K_V1")


# Weights


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No weights in the cache, and no network to fetch them from."""

    def refuse(*arguments, **keywords):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(torch.hub, "urlopen", refuse)


@pytest.mark.parametrize("weights", [None, "DEFAULT", "IMAGENET1K_V1"])
def test_without_a_network_three_ways_on_are_named(offline, weights, capfd):
    message = refusal(SMALL, weights=weights)
    assert "Name or service not known" in message
    for way in ("--weights FILE", "--weights none", "zoo:cifar-k3s2"):
        assert way in message
    assert capfd.readouterr() == ("", "")


def test_an_enum_name_and_its_preset(monkeypatch):
    import_torchvision()
    from torchvision import models

    asked = []

    def fetch(url, **keywords):
        asked.append(url)
        return {name: value + 1 for name, value in models.get_model("mobilenet_v3_small").state_dict().items()}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    model = load_model("mobilenet_v3_small", weights="IMAGENET1K_V1", device="cpu")
    assert asked == [models.MobileNet_V3_Small_Weights.IMAGENET1K_V1.url]
    assert (model.weights, model.seed) == ("IMAGENET1K_V1", None)
    assert load_model("mobilenet_v3_small", device="cpu").weights == "IMAGENET1K_V1"


@pytest.mark.parametrize("weights", ["IMAGENET1K_V9", "none ", "resnet.bin"])
def test_unknown_weights(weights):
    message = refusal(SMALL, weights=weights)
    assert repr(weights) in message
    assert "IMAGENET1K_V1, DEFAULT, none" in message


def test_files_do_not_hide_words(tmp_path, monkeypatch):
    """A file or folder of such a name in the working folder changes nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").write_text("")
    (tmp_path / "DEFAULT").mkdir()
    assert load("zoo:cifar-k3s2", weights="none").weights == "random"
    assert load("zoo:cifar-k3s2", weights="DEFAULT").weights == "zoo"
    (tmp_path / "folder").mkdir()
    assert "no weights 'folder' for zoo:cifar-k3s2" in refusal("zoo:cifar-k3s2", weights="folder")


def test_weights_that_only_torchvision_has(folder):
    assert "no weights 'IMAGENET1K_V1' for zoo:cifar-k3s2" in refusal("zoo:cifar-k3s2", weights="IMAGENET1K_V1")
    assert "has no DEFAULT weights" in refusal("nets/mynets.py:Net", weights="DEFAULT")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("spec", ["zoo:cifar-k3s2", SMALL, "nets/mynets.py:Net"])
def test_weights_from_a_file(folder, tmp_path, suffix, spec):
    donor = load(spec, weights="none" if spec == SMALL else None, seed=9)
    path = tmp_path / f"weights{suffix}"
    state = donor.module.state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    model = load(spec, weights=str(path))
    assert equal(model, donor)
    assert (model.weights, model.seed) == (str(path), None)
    assert not equal(load(spec, weights="none"), donor)


def test_weights_files_that_do_not_fit(tmp_path):
    module = ZOO["cifar-k3s2"].architecture()
    state = module.state_dict()
    path = tmp_path / "a.pth"
    torch.save(state, path)
    assert "do not fit the network: missing" in refusal(SMALL, weights=str(path))
    torch.save({**state, "head.bias": torch.full((10,), torch.nan)}, path)
    message = refusal("zoo:cifar-k3s2", weights=str(path))
    assert "'head.bias'" in message
    assert str(path) in message
    assert "NaN" in message
    for name, said in (("missing.pth", "no weights file"), ("missing.safetensors", "no weights file")):
        assert said in refusal("zoo:cifar-k3s2", weights=name)


# Preprocessing


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.25,)), ((0.1, 0.2, 0.3), (1.0,)), (None, (0.5, 0.5, 0.25))])
def test_mean_and_standard_deviation(mean, std, picture):
    model = load("zoo:cifar-k3s2", mean=mean, std=std)
    _, pixels = model.load(picture)
    wanted_mean = torch.tensor(mean or ZOO["cifar-k3s2"].mean).view(-1, 1, 1)
    expected = (pixels - wanted_mean) / torch.tensor(std).view(-1, 1, 1)
    assert torch.allclose(model.normalise(pixels), expected)
    assert torch.allclose(model.normalise(pixels[None])[0], expected)
    assert model.normalise(pixels).shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mean": (0.5, 0.5)}, "--mean has 2 values for 3 channels"),
        ({"std": (1, 1, 1, 1)}, "--std has 4 values for 3 channels"),
        ({"std": (0.0,)}, "--std 0.0: standard deviations must be above 0"),
        ({"std": (-1.0,)}, "--std"),
        ({"std": (float("nan"),)}, "--std"),
        ({"std": (float("inf"),)}, "--std"),
        ({"mean": (float("nan"),)}, "--mean"),
        ({"mean": (float("inf"), 0, 0)}, "--mean"),
        ({"size": (0, 32)}, "each must be at least 1"),
        ({"channels": 0, "mean": (0,), "std": (1,)}, "each must be at least 1"),
        ({"device": "tpu"}, "the device 'tpu' is not available here; give one of cpu"),
        ({"device": "cuda:99"}, "'cuda:99'"),
        ({"device": "gpu0"}, "the device 'gpu0' is not available here; give one of cpu"),
        ({"device": "cpu:x"}, "'cpu:x'"),
        ({"device": ""}, "the device ''"),
        ({"device": "meta"}, "the device 'meta'"),
    ],
)
def test_options_that_make_no_sense(options, said):
    assert said in refusal("zoo:cifar-k3s2", **options)


def test_seeds_out_of_range():
    for seed in (-1, 2**63, 10**30):
        assert f"the seed {seed} is out of range" in refusal("zoo:cifar-k3s2", weights="none", seed=seed)
    assert load("zoo:cifar-k3s2", weights="none", seed=2**63 - 1).seed == 2**63 - 1


def test_size_and_its_margin(picture):
    assert load("zoo:cifar-k3s2", size=(48, 64)).input_size == (3, 48, 64)
    assert load("zoo:cifar-k3s2", size=48).input_size == (3, 48, 48)
    model = load("zoo:cifar-k3s2", size=(16, 24))
    assert model.load(picture)[1].shape == (3, 16, 24)
    assert load(SMALL, weights="none", size=(112, 112)).resize == 128
    assert load("zoo:cifar-k3s2").load(picture)[1].shape == (3, 32, 32)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels(folder, channels, picture):
    inferred = load("nets/mynets.py:" + {1: "grey", 4: "four"}[channels])
    assert inferred.input_size[0] == channels
    given = load("nets/mynets.py:Net", channels=channels, mean=(0.5,), std=(0.5,))
    assert given.input_size[0] == channels
    if channels == 1:
        assert inferred.load(picture)[1].shape == (1, 224, 224)
    else:
        with pytest.raises(FeatvisError, match=r"this one takes 4; give \.npy files"):
            inferred.load(picture)


@pytest.mark.parametrize("size", [64, (64, 64), [64, 64], np.int64(64)])
def test_a_size_is_one_whole_number_or_two(size):
    assert load_model("zoo:cifar-k3s2", size=size).input_size == (3, 64, 64)


@pytest.mark.parametrize("size", ["64", 64.0, (64,), (3, 64, 64), [64.0, 64], {}])
def test_a_size_that_is_none_is_refused_in_one_line(size):
    said = refusal_of(load_model, "zoo:cifar-k3s2", size=size)
    assert said == f"a size of {size!r}; expected one whole number of pixels, or (height, width)"


@pytest.mark.parametrize("device", ["gpu0", "cuda:99", "meta", "", 3, torch.device("meta")])
def test_a_device_that_is_not_there_is_refused_in_one_line(device):
    assert refusal_of(load_model, "zoo:cifar-k3s2", device=device).startswith(
        f"the device '{device}' is not available here"
    )
