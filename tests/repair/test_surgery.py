import copy
import re

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import Function, fingerprint, strided
from torch import nn

from featvis.commands import choices
from featvis.errors import FeatvisError
from featvis.repair.changes import NOT_REACHED, Change, become
from featvis.repair.forward import Site
from featvis.repair.surgery import FIXES, KINDS, Fix, operate
from featvis.tracing.windows import Window

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Everything(nn.Module):
    """A layer for each fix; 32 pixels in, 16 out."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.shortcut = nn.Conv2d(6, 6, 1, 2)
        self.up = nn.Sequential(nn.ConvTranspose2d(6, 6, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(6, 3, 3, 2, 1, 1))

    def forward(self, images):
        return self.up(self.shortcut(self.down(images)))


def everything():
    torch.manual_seed(0)
    return Everything().double().eval()


@pytest.mark.parametrize("name", list(FIXES))
def test_every_fix_runs_keeps_the_shape_and_leaves_the_original_alone(name):
    network = everything()
    network.train()
    network.down[1].eval()
    network.shortcut.requires_grad_(False)
    before = fingerprint(network)
    fixed, changes = operate(network, name, IMAGES)
    assert fingerprint(network) == before
    assert changes
    assert all(change.reached for change in changes)
    assert all(change.before != change.after for change in changes)
    names = dict(network.named_modules())
    assert {change.layer for change in changes} <= set(names)
    # Its own parameters, with the modes and requires_grad of the original's.
    held = {parameter.data_ptr() for parameter in network.parameters()}
    assert not held & {parameter.data_ptr() for parameter in fixed.parameters()}
    assert fixed.training
    assert fixed.down[0].training
    assert not fixed.down[1].training
    assert not fixed.shortcut.weight.requires_grad
    assert fixed.down[0].weight.requires_grad
    with torch.no_grad():
        output, expected = fixed.eval()(IMAGES), copy.deepcopy(network).eval()(IMAGES)
    assert output.shape == expected.shape
    kind = FIXES[name].kind
    if kind == "forward":
        assert not torch.allclose(output, expected)
    elif kind == "backward":
        assert torch.equal(output, expected)
    else:
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(FIXES))
def test_a_fix_twice_gives_one_line(name):
    fixed, _ = operate(everything(), name, IMAGES)
    with pytest.raises(FeatvisError, match=f"^the fix '{name}' is already applied to this network; give the original"):
        operate(fixed, name, IMAGES)
    with pytest.raises(FeatvisError, match="already applied"):
        operate(copy.deepcopy(fixed), name)


@pytest.mark.parametrize("name", list(FIXES))
def test_a_fix_that_finds_nothing_gives_one_line(name):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).double()
    before = fingerprint(network)
    with pytest.raises(FeatvisError, match=f"^the fix '{name}' finds nothing to change: it looks for ") as caught:
        operate(network, name, IMAGES)
    assert str(caught.value).endswith("this network has no layer that changes the resolution")
    assert "\n" not in str(caught.value)
    assert fingerprint(network) == before


def test_what_the_network_has_instead_is_said():
    with pytest.raises(FeatvisError, match=r"looks for maximum pooling; this network has only convolution 3 stride 2$"):
        operate(strided(), "l2pool")


def test_what_another_fix_put_there_is_said():
    fixed, _ = operate(strided(), "blurpool")
    with pytest.raises(FeatvisError, match=r"no layer that changes the resolution beside what blurpool put there$"):
        operate(fixed, "even-kernel")


def test_an_unknown_fix_gives_the_nearest():
    with pytest.raises(FeatvisError, match="no fix 'blurpol'; nearest: blurpool"):
        operate(strided(), "blurpol")


def test_the_original_stays_after_an_error():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.MaxPool2d(2, dilation=2)).double()
    before = fingerprint(network)
    with pytest.raises(FeatvisError, match="dilation"):
        operate(network, "avgpool", IMAGES)
    assert fingerprint(network) == before


@pytest.mark.parametrize("name", ["blurpool", "avgpool", "pool-shortcut", "smooth-hold", "l2pool"])
def test_checkpoints_keep_their_keys(name):
    network = everything()
    fixed, _ = operate(network, name)
    assert list(fixed.state_dict()) == list(network.state_dict())
    fixed.load_state_dict(network.state_dict())


@pytest.mark.parametrize("name", list(FIXES))
def test_weights_of_one_copy_load_into_another(name):
    first, _ = operate(everything(), name, IMAGES)
    other = everything()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    second, _ = operate(other, name, IMAGES)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(first.eval()(IMAGES), second.eval()(IMAGES))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [name for name, fix in FIXES.items() if fix.kind != "backward"])
def test_precision_stays(name, dtype):
    fixed, _ = operate(everything().to(dtype), name, IMAGES.to(dtype))
    assert {parameter.dtype for parameter in fixed.parameters()} == {dtype}
    with torch.no_grad():
        assert fixed(IMAGES.to(dtype)).dtype == dtype


def test_a_shared_layer_is_changed_once_and_everywhere():
    shared = nn.Conv2d(3, 3, 3, 2, 1)
    network = nn.Sequential(shared, nn.ReLU(), shared).double()
    network.elsewhere = [shared]
    fixed, changes = operate(network, "blurpool", IMAGES)
    assert [(change.layer, change.note) for change in changes] == [("0", "the same layer as 2")]
    assert fixed[0] is fixed[2] is fixed.elsewhere[0]
    assert network(IMAGES).shape == fixed(IMAGES).shape


def test_a_network_that_is_one_layer():
    fixed, (change,) = operate(nn.ConvTranspose2d(3, 2, 3, 2).double(), "resize-nearest", IMAGES)
    assert change.layer == ""
    assert fixed(IMAGES).shape == (4, 2, 65, 65)


def test_hooks_stay_on_a_layer_that_was_replaced():
    network = nn.Sequential(nn.MaxPool2d(2)).double()
    shapes = []
    network[0].register_forward_hook(lambda layer, given, output: shapes.append(tuple(output.shape)))
    fixed, _ = operate(network, "l2pool")
    fixed(IMAGES)
    assert shapes == [(4, 3, 16, 16)]


def test_training_a_copy_leaves_the_original_alone():
    network = everything()
    fixed, _ = operate(network, "blurpool")
    before = fingerprint(network)
    optimiser = torch.optim.SGD([p for p in fixed.parameters() if p.requires_grad], lr=0.1)
    fixed.train()(IMAGES).square().mean().backward()
    optimiser.step()
    assert fingerprint(network) == before
    assert not torch.equal(fixed.down[0].weight, network.down[0].weight)


def test_function_calls_are_reported():
    network = Function(lambda x, conv: F.max_pool2d(conv(x)[:, :, ::2, ::2], 3, 2), nn.Conv2d(3, 4, 3, 2, 1)).double()
    _, changes = operate(network, "blurpool", IMAGES)
    assert [(change.layer, change.before, change.reached) for change in changes] == [
        ("layers.0", "convolution 3 stride 2", True),
        ("", "slicing 1 stride 2", False),
        ("", "maximum pooling 3 stride 2", False),
    ]
    assert changes[1].after == NOT_REACHED
    assert changes[1].note == "a function call in the code of Function; use a layer of torch.nn there"
    # Without images nothing runs, and only modules are seen.
    assert len(operate(network, "blurpool")[1]) == 1


def test_nothing_but_function_calls():
    network = Function(lambda x: F.max_pool2d(x, 3, 2))
    with pytest.raises(
        FeatvisError, match=r"what there is cannot be reached: maximum pooling 3 stride 2 in the network$"
    ):
        operate(network, "l2pool", IMAGES)


def quarters(x, *places):
    return torch.cat([x[:, :, row::2, column::2] for row, column in places], 1)


@pytest.mark.parametrize(
    ("places", "reported"),
    [
        (((0, 0), (0, 1), (1, 0), (1, 1)), False),  # patch merging: all pixels are read once
        (((0, 0), (1, 1)), True),
        (((0, 0),), True),
    ],
)
def test_slices_that_read_all_pixels_together_are_no_checkerboard(places, reported):
    network = Function(lambda x, conv: quarters(conv(x), *places), nn.Conv2d(3, 4, 3, 2, 1)).double()
    _, changes = operate(network, "even-kernel", IMAGES)
    assert any(not change.reached for change in changes) == reported


def test_a_module_of_another_kind_is_reported():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.LPPool2d(2, 2)).double()
    changes = operate(network, "blurpool", IMAGES)[1]
    assert (changes[-1].layer, changes[-1].after, changes[-1].note) == ("1", NOT_REACHED, "a LPPool2d, unknown here")


def test_an_output_of_another_shape_is_refused():
    def shrink(module, images, seed):
        module[0].stride = (4, 4)
        return [Change("0", "stride 2", "stride 4")]

    fix = Fix("forward", "a planted fault", shrink, "anything", lambda site: False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)).double()
    with pytest.raises(FeatvisError, match=re.escape("of shape (1, 4, 16, 16) into (1, 4, 8, 8)")):
        operate(network, fix, IMAGES)


@pytest.mark.parametrize(
    "order", [("blurpool", "resize-nearest"), ("smooth-hold", "blurpool"), ("smooth-hold", "l2pool", "even-kernel")]
)
def test_fixes_follow_one_another(order):
    network = everything()
    shape = network(IMAGES).shape
    for name in order:
        network, _ = operate(network, name, IMAGES)
    assert network(IMAGES).shape == shape
    assert network.featvis_fixes == order


@pytest.mark.parametrize("first", ["avgpool", "pool-shortcut", "even-kernel"])
def test_a_fix_leaves_the_work_of_another_alone(first):
    network, _ = operate(everything(), first, IMAGES)
    with_average = nn.Sequential(network, nn.AvgPool2d(3, 2)).double().eval()
    _, changes = operate(with_average, "blurpool", IMAGES)
    assert changes[-1].layer == "1"
    assert not any("before" in change.layer or "after" in change.layer for change in changes)
    if first == "avgpool":
        assert [change.layer for change in changes] == ["1"]


def test_a_forward_fix_comes_before_those_of_the_backward_pass():
    network, _ = operate(everything(), "backward-blur", IMAGES)
    with pytest.raises(
        FeatvisError, match="changes layers whose gradients 'backward-blur' treats; apply 'l2pool' first"
    ):
        operate(network, "l2pool", IMAGES)
    assert operate(network, "backward-smooth-maxpool", IMAGES)[1]


def test_a_fix_without_a_name_is_known_by_its_description():
    fix = Fix("forward", "nothing at all", lambda module, images, seed: [], "unicorns", lambda site: False)
    with pytest.raises(FeatvisError, match="the fix 'nothing at all' finds nothing to change: it looks for unicorns"):
        operate(strided(), fix)
    assert operate(strided(), FIXES["blurpool"])[0].featvis_fixes == ("blurpool",)


def test_every_fix_says_what_it_is():
    sites = [Site(kind, Window.of((3, 3), 2)) for kind in ("convolution", "maximum pooling", "transposed convolution")]
    sites.append(Site("convolution", Window.of((1, 1), 2)))
    for fix in FIXES.values():
        assert fix.kind in KINDS
        assert "\n" not in fix.description
        assert any(fix.applies(site) for site in sites)
        assert not fix.applies(Site("dropout"))
    # The command line reads the names without importing torch.
    assert list(choices.FIXES) == list(FIXES)


def test_become_is_seen_by_all_who_hold_the_layer():
    layer = nn.MaxPool2d(2)
    network = nn.Sequential(layer)
    become(layer, nn.AvgPool2d(2))
    assert type(network[0]) is nn.AvgPool2d
    assert network[0] is layer
