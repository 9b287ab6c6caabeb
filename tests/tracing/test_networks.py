"""A copy leaves the original alone; layers are found by name; the tensor among outputs is found."""

import hashlib
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from featvis.errors import FeatvisError, nearest_names
from featvis.tracing.networks import copy_module, layer_named
from featvis.tracing.outputs import output_tensor


def fingerprint(module):
    """A hash over all that a tool could leave changed: names, values, storages, gradients, modes and hooks."""
    digest = hashlib.sha256()
    for kind, tensors in (("parameter", module.named_parameters), ("buffer", module.named_buffers)):
        for name, tensor in tensors(remove_duplicate=False):
            values = tensor.detach().contiguous().numpy().tobytes()
            gradient = None if tensor.grad is None else tensor.grad.numpy().tobytes()
            said = (kind, name, id(tensor), tensor.data_ptr(), tensor.requires_grad, tensor.stride(), gradient)
            digest.update(repr(said).encode() + values)
    for name, part in module.named_modules(remove_duplicate=False):
        digest.update(repr((name, id(part), type(part), part.training, sorted(vars(part)))).encode())
        for key, value in sorted(vars(part).items()):
            if "_hooks" in key:
                digest.update(repr((key, id(value), [(number, id(hook)) for number, hook in value.items()])).encode())
            elif isinstance(value, torch.Tensor):
                digest.update(repr((key, id(value), value.requires_grad, value.is_leaf)).encode())
    return digest.hexdigest()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(3, 4, 3, 2, 1),
            norm=nn.BatchNorm2d(4),
            act=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(4, 5),
        )
    )


def used(module):
    """The network after some training: odd modes, gradients, frozen weights."""
    module.train()
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    if hasattr(module, "norm"):
        module.norm.eval()
    next(module.parameters()).requires_grad_(False)
    return module


def with_hooks(module):
    module.first.register_forward_hook(lambda part, arguments, output: output * 2)
    module.first.register_forward_pre_hook(lambda part, arguments: (arguments[0] + 1,))
    module.first.register_full_backward_hook(lambda part, inputs, outputs: (inputs[0] * 0,))
    module.register_full_backward_pre_hook(lambda part, outputs: (outputs[0] * 0,))
    return module


def with_leftovers(module):
    """Tensors with a graph, as tools such as pytorch-grad-cam leave them behind, in attributes, lists and dicts."""
    kept = module.first(torch.rand(1, 3, 8, 8))
    module.activation = kept
    module.first.kept = [kept, {"deeper": (kept * 2,)}]
    return module


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.again = self.first
        self.tied = nn.Conv2d(3, 3, 3, padding=1)
        self.tied.weight = self.first.weight

    def forward(self, images):
        return self.tied(self.again(self.first(images)))


def pruned(module):
    prune.l1_unstructured(module.first, "weight", 0.5)
    return module


def normed(how):
    def build():
        module = network()
        how(module.first)
        return used(module)

    return build


NETWORKS = {
    "fresh": network,
    "used": lambda: used(network()),
    "hooks": lambda: with_hooks(used(network())),
    "leftovers": lambda: with_leftovers(used(network())),
    "shared": lambda: used(Shared()),
    "spectral norm": normed(spectral_norm),
    "spectral norm, parametrized": normed(parametrizations.spectral_norm),
    "weight norm, parametrized": normed(parametrizations.weight_norm),
    "weight norm": normed(weight_norm),
    "pruned": lambda: used(pruned(network())),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_a_copy_computes_the_same_and_leaves_the_original_alone(build):
    module = build()
    before = fingerprint(module)
    twin = copy_module(module)
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        output = twin(images.clone())
    assert fingerprint(module) == before
    assert not any(part.training for part in twin.modules())
    assert not any(parameter.requires_grad for parameter in twin.parameters())

    # Whatever is done with the copy.
    twin.train()
    for buffer in twin.buffers():
        buffer.zero_()
    for part in list(twin.modules()):
        part.extra = nn.Identity()
        part.register_forward_hook(lambda part, arguments, output: None)
    assert fingerprint(module) == before
    with torch.no_grad():
        assert torch.equal(output, module.eval()(images))


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.first.weight.data.mul_(1.0001),
        lambda module: module.norm.running_mean.add_(1e-6),
        lambda module: module.norm.train(),
        lambda module: module.head.weight.requires_grad_(False),
        lambda module: module.head.register_forward_hook(lambda *_: None),
        lambda module: setattr(module.head.weight, "grad", None),
        lambda module: module.first.to(memory_format=torch.channels_last),
        lambda module: setattr(module, "act", nn.ReLU()),
    ],
)
def test_the_fingerprint_sees(change):
    """A planted fault of each kind."""
    module = used(network())
    before = fingerprint(module)
    change(module)
    assert fingerprint(module) != before


def test_a_copy_shares_the_parameters_but_not_the_buffers():
    module = network()
    twin = copy_module(module)
    assert twin.first.weight.data_ptr() == module.first.weight.data_ptr()
    assert twin.norm.running_mean.data_ptr() != module.norm.running_mean.data_ptr()


def test_a_copy_keeps_what_is_shared():
    twin = copy_module(Shared())
    assert twin.first is twin.again
    assert twin.first.weight is twin.tied.weight


def test_backward_hooks_stay_behind():
    module = with_hooks(network())
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    output = copy_module(module)(images).sum()
    assert torch.autograd.grad(output, images)[0].abs().sum() > 0
    module.eval()
    assert torch.autograd.grad(module(images).sum(), images)[0].abs().sum() == 0


def test_a_copy_of_a_copy():
    module = with_hooks(network())
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(copy_module(copy_module(module))(images), copy_module(module)(images))


def test_what_cannot_be_copied_is_said():
    module = network()
    module.lock = threading.Lock()
    before = fingerprint(module)
    with pytest.raises(FeatvisError, match=r"Sequential cannot be copied.*lock"):
        copy_module(module)
    assert fingerprint(module) == before


def test_a_lazy_network_is_refused():
    with pytest.raises(FeatvisError, match=r"'1\.weight' has no shape yet; run the network once"):
        copy_module(nn.Sequential(nn.ReLU(), nn.LazyConv2d(4, 3)))


@dataclass
class Output:
    loss: float
    logits: torch.Tensor


class Holder:
    def __init__(self, tensor):
        self.out = tensor


Inception = namedtuple("Inception", ("logits", "aux_logits"))


def test_the_tensor_among_outputs():
    tensor, other = torch.zeros(2), torch.ones(3)
    for output in (
        tensor,
        (tensor, other),
        [None, tensor],
        {"loss": 1.0, "logits": tensor, "other": other},
        {"aux": other, "out": tensor},
        {"first": tensor, "second": other},
        OrderedDict(a="text", b=tensor),
        Output(0.0, tensor),
        Holder(tensor),
        Inception(tensor, other),
    ):
        assert output_tensor(output) is tensor
    assert output_tensor((other, tensor)) is not tensor


@pytest.mark.parametrize("output", [None, "logits", 3.0, (), {}, {"a": 1}, Output(0.0, None), [[1]]])
def test_no_tensor_among_outputs(output):
    with pytest.raises(FeatvisError, match=f"returned {type(output).__name__}; expected a tensor"):
        output_tensor(output)


def nested():
    return nn.ModuleDict(
        {"block_1": nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU()), "block": nn.ModuleDict({"2": nn.ReLU()})}
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("block_1", "block_1"),
        ("block_1.0", "block_1.0"),
        ("block_1_0", "block_1.0"),
        ("block.2", "block.2"),
        ("block_2", "block.2"),
        ("block_1/1", "block_1.1"),
    ],
)
def test_layers_are_named_with_dots_or_underscores(name, found):
    assert layer_named(nested(), name) == found


def test_an_unknown_layer_has_neighbours():
    with pytest.raises(FeatvisError) as caught:
        layer_named(nested(), "block_1.7")
    assert str(caught.value).startswith("no layer 'block_1.7'; `featvis layers` lists them; nearest: block_1")
    for name in ("", "."):
        with pytest.raises(FeatvisError, match="no layer"):
            layer_named(nested(), name)


def test_an_ambiguous_layer_is_refused():
    module = nn.ModuleDict({"a": nn.ModuleDict({"b_c": nn.ReLU()}), "a_b": nn.ModuleDict({"c": nn.ReLU()})})
    assert layer_named(module, "a.b_c") == "a.b_c"
    with pytest.raises(FeatvisError) as caught:
        layer_named(module, "a_b_c")
    assert "a.b_c" in str(caught.value)
    assert "a_b.c" in str(caught.value)


def test_nearest_names():
    assert nearest_names("resnet81", ["resnet18", "resnet152", "vgg"]) == "; nearest: resnet18, resnet152"
    assert nearest_names("zzz", ["resnet18"]) == ""
