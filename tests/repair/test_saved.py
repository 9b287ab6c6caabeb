"""Weights of repaired copies come back with their fixes, and never load into the network as it was."""

from dataclasses import replace

import pytest
import torch
from helpers.running import ZOO
from safetensors.torch import save_file

from featvis.audit.repairs import repair, save_repair
from featvis.errors import FeatvisError
from featvis.files import read_metadata
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.repair.saved import fixed_as_saved, save_fixed
from featvis.repair.surgery import FIXES, operate

NETWORK = """
from torch import nn

def network():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 6, 1, 2),
        nn.ConvTranspose2d(6, 6, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(6, 3, 3, 2, 1, 1),
    )
"""
IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "made.py").write_text(NETWORK)
    return f"{tmp_path}/made.py:network"


def saved(spec, names, path, images=IMAGES):
    model = load_model(spec, seed=5)
    for name in names:
        model = replace(model, module=operate(model.module, name, images)[0])
    return model, str(save_fixed(path, model.module, spec, model.weights, images.shape))


def outcome(model, images=IMAGES):
    """The outputs, and the gradient of their sum."""
    images = images.clone().requires_grad_()
    output = model.module(images)
    (gradient,) = torch.autograd.grad(output.sum(), images)
    return output.detach(), gradient


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 8) for name in FIXES), *((name, 2) for name, fix in FIXES.items() if fix.reads_images)]
)
def test_a_repaired_copy_comes_back(name, count, spec, tmp_path):
    model, path = saved(spec, [name], tmp_path / "fixed.safetensors", IMAGES[:count])
    again = load_model(spec, path)
    for mine, its in zip(outcome(model), outcome(again), strict=True):
        assert torch.equal(mine, its)
    assert again.module.featvis_fixes == (name,)
    assert again.notes[-1] == f"{path} holds weights of a repaired copy: applied {name} before loading them"
    assert again.weights == path
    assert not again.module.training


def test_fixes_come_back_in_their_order_also_of_a_copy_that_was_loaded(spec, tmp_path):
    _, path = saved(spec, ["smooth-hold", "blurpool"], tmp_path / "first.safetensors")
    repaired = repair(load_model(spec, path), ["backward-even"], IMAGES)
    second = str(save_repair(repaired, tmp_path / "second.safetensors"))
    assert read_metadata(second)["fixes"] == "smooth-hold,blurpool,backward-even"
    again = load_model(spec, second)
    for mine, its in zip(outcome(repaired.model), outcome(again), strict=True):
        assert torch.equal(mine, its)


def test_the_keys_alone_would_fit_the_network_as_it_was(tmp_path):
    """What the metadata are for: the same weights without them load, and compute something else."""
    fixed, path = saved(ZOO, ["blurpool"], tmp_path / "fixed.safetensors")
    save_file(
        {name: tensor.clone() for name, tensor in fixed.module.state_dict().items()}, tmp_path / "bare.safetensors"
    )
    bare, again = (load_model(ZOO, name) for name in (str(tmp_path / "bare.safetensors"), path))
    assert torch.equal(outcome(again)[0], outcome(fixed)[0])
    assert not torch.allclose(outcome(bare)[0], outcome(fixed)[0], rtol=0.01)
    assert bare.notes == ()


def test_a_factory_may_have_moved(spec, tmp_path):
    _, path = saved(spec, ["blurpool"], tmp_path / "fixed.safetensors")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "made.py").write_text(NETWORK)
    assert load_model(f"{tmp_path}/elsewhere/made.py:network", path).module.featvis_fixes == ("blurpool",)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"spec": "resnet50", "fixes": "blurpool"}, "holds weights of resnet50 with fixes, not of zoo:cifar-k3s2"),
        (
            {"spec": ZOO, "fixes": "blurpool,sharpen"},
            "needs the fix 'sharpen', which this version of featvis does not have",
        ),
        ({"spec": ZOO, "fixes": "l2pool"}, "needs the fix 'l2pool' before loading: the fix 'l2pool' finds nothing"),
        ({"spec": ZOO, "fixes": "backward-even"}, "does not name the shape of the images"),
        ({"spec": ZOO, "fixes": "backward-even", "images": "8x3x-2x4"}, "does not name the shape of the images"),
        ({"spec": ZOO, "fixes": "backward-even", "images": "8x3x99999x99999"}, "3x99999x99999 values, more than fits"),
        ({"spec": ZOO, "fixes": "backward-even", "images": "8x3x4x4"}, "before loading: pictures of 4x4 are smaller"),
    ],
)
def test_what_does_not_fit_is_one_line(metadata, said, tmp_path):
    path = tmp_path / "fixed.safetensors"
    save_file({"weight": torch.ones(1)}, path, metadata)
    with pytest.raises(FeatvisError, match=said) as caught:
        load_model(ZOO, str(path))
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_still_refused(spec, tmp_path):
    module = torch.nn.Conv2d(3, 4, 3, 2)
    module.featvis_fixes = ("blurpool",)
    path = save_fixed(tmp_path / "other.safetensors", module, spec, "random", (1, 3, 32, 32))
    with pytest.raises(FeatvisError, match=r"do not fit the network: missing 0\.weight"):
        load_model(spec, str(path))


def test_a_file_that_names_no_fixes_changes_nothing(tmp_path):
    module = torch.nn.Conv2d(3, 4, 3, 2)
    path = tmp_path / "plain.safetensors"
    save_file(module.state_dict(), path)
    assert read_metadata(path) == read_metadata(tmp_path / "missing.safetensors") == read_metadata("weights.pth") == {}
    assert fixed_as_saved(module, "network", path) == (module, ())
    assert Model(module).notes == ()
