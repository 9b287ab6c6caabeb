"""The public names: these and no others, each there, documented and typed."""

import inspect
from importlib.resources import files

import pytest
import torch
from torch import nn

import featvis

NAMES = """
Audit BlurPool1d BlurPool2d Change CheckerboardEnergy Comparison CycleSpinning Dream Energies Equalise Estimate FIXES
Faithfulness FeatvisError Fix GradientEngine InputXGradient IntegratedGradients Jitter L2Pool1d L2Pool2d Laplacian
LowPass MaxBlurPool1d MaxBlurPool2d Model Request ResizeConv1d ResizeConv2d Running SmoothGrad SmoothHold1d
SmoothHold2d SmoothingDeconv1d SmoothingDeconv2d SubPixelConv1d SubPixelConv2d UnshuffleConv1d UnshuffleConv2d Vanilla
Variant Watching ZOO __version__ audit_discriminator audit_generator audit_maps audit_picture_files audit_pictures
checkerboard_energy compare_upsampling compare_variants find_culprits find_pictures icnr_ input_gradient load_model
operate parse_objective phase_profile
"""
"""A name that goes away is deprecated first: see docs/stability.md."""


def test_the_public_names_are_these():
    assert sorted(featvis.__all__) == sorted(NAMES.split())


def test_each_is_there_and_documented():
    for name in featvis.__all__:
        value = getattr(featvis, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
            assert value.__module__.startswith("featvis."), name


def test_functions_say_all_their_types():
    for name in featvis.__all__:
        value = getattr(featvis, name)
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            annotations = [one.annotation for one in signature.parameters.values()]
            assert inspect.Signature.empty not in [*annotations, signature.return_annotation], name


def test_the_package_is_typed():
    assert files("featvis").joinpath("py.typed").is_file()


def test_no_name_hides_a_module():
    """A function with the name of a module would be replaced by the module as soon as something imports it."""
    modules = {path.name.removesuffix(".py") for path in files("featvis").iterdir()}
    assert modules.isdisjoint(featvis.__all__)


NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2))
MISTAKEN = {
    "a bare network audited": (lambda: featvis.audit_pictures(NETWORK, ["cat.png"]), "a network of type Sequential"),
    "a bare network compared": (lambda: featvis.compare_variants({"it": NETWORK}, ["cat.png"]), "type Sequential"),
    "tensors as pictures": (
        lambda: featvis.audit_pictures(featvis.Model(NETWORK), torch.zeros(2, 3, 8, 8)),
        "a picture of type Tensor",
    ),
    "no pictures": (lambda: featvis.audit_pictures(featvis.Model(NETWORK), []), "no pictures were given"),
    "no picture files": (lambda: featvis.audit_picture_files([]), "no pictures were given"),
    "a network to load": (lambda: featvis.load_model(NETWORK), "a network's name of type Sequential"),
    "a name as a network": (lambda: featvis.Model("resnet50"), "expected a torch.nn.Module"),
    "a model repaired": (lambda: featvis.operate(featvis.Model(NETWORK), "blurpool"), "a network of type Model"),
    "a number as a fix": (lambda: featvis.operate(NETWORK, 3), "a fix of type int"),
}


@pytest.mark.parametrize(("call", "said"), MISTAKEN.values(), ids=MISTAKEN)
def test_arguments_of_another_type_are_one_line(call, said):
    with pytest.raises(featvis.FeatvisError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_pictures_by_their_names():
    model = featvis.load_model("zoo:cifar-k3s2")
    path = files("featvis.models.zoo").joinpath("cat.png")
    energies = [featvis.audit_pictures(model, given).energy for given in ([str(path)], str(path), [path])]
    assert energies[0] == energies[1] == energies[2]
