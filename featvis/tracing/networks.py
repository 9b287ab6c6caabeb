"""Copies of networks that leave the original alone, and names of their layers."""

from __future__ import annotations

import contextlib
import copy
import dis
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from featvis.errors import FeatvisError, nearest_names

_MODAL = (_NormBase, _DropoutNd)
"""What works otherwise in training."""

_BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")


def copy_module(module: nn.Module) -> nn.Module:
    """A frozen twin in eval mode: its own structure and buffers, the original's parameter values without their gradients.

    Parameters share their storage, so a copy costs no memory. Forward hooks come along (spectral norm, weight norm and pruning live
    in them); backward hooks do not, they would change what is measured. Tensors that other tools left behind with a graph are
    detached, which `copy.deepcopy` refuses. Raises FeatvisError where something else in the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if is_lazy(parameter):
            raise FeatvisError(f"the parameter {name!r} has no shape yet; run the network once before handing it in")
        # What was made in inference mode takes part in no gradient; a copy does.
        values = parameter.clone() if parameter.is_inference() else parameter.detach()
        memo[id(parameter)] = nn.Parameter(values, requires_grad=False)
    for part in module.modules():
        for name, value in vars(part).items():
            if name.endswith("_hooks") or "_hooks_" in name:
                memo[id(value)] = OrderedDict() if name in _BACKWARD_HOOKS else copy.copy(value)
            for held in _held_by(value):
                if any(inner.training and isinstance(inner, _MODAL) for inner in held.modules()):
                    raise FeatvisError(
                        f"the function {name!r} of a {type(part).__name__} runs a {type(held).__name__} in training mode by itself, "
                        "which a copy of the network in eval mode cannot reach; call .eval() on it before"
                    )
            for tensor in _tensors(value):
                if tensor.requires_grad and not tensor.is_leaf:
                    memo[id(tensor)] = tensor.detach().clone()
    try:
        twin = copy.deepcopy(module, memo)
    except Exception as error:
        kind = type(module).__name__
        raise FeatvisError(
            f"the network {kind} cannot be copied ({error}); remove what copy.deepcopy refuses"
        ) from None
    for part in twin.modules():
        part.training = False
    return twin


def _held_by(function: object) -> Iterator[nn.Module]:
    """The modules that a function takes from where it was written, alone or as one of their methods; a copy of it takes the same."""
    if not isinstance(function, FunctionType):
        return
    names = [step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"]
    taken = [function.__globals__.get(name) for name in names]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # Empty so far.
            taken.append(cell.cell_contents)
    for one in taken:
        owner = one.__self__ if isinstance(one, MethodType) else one
        if isinstance(owner, nn.Module):
            yield owner


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def home(module: nn.Module) -> tuple[torch.device | None, torch.dtype | None]:
    """A network's device and precision, those of its first real parameter, as far as it has any.

    Complex numbers say what a network takes only where it has no real ones, whole numbers never.
    """
    parameters = sorted(module.parameters(), key=lambda one: (not one.is_floating_point(), not one.is_complex()))
    if not parameters:
        return None, None
    first = parameters[0]
    return first.device, first.dtype if first.is_floating_point() or first.is_complex() else None


def as_input(module: nn.Module, images: Tensor) -> Tensor:
    """The images on a network's device and in its precision, as far as it has parameters."""
    device, dtype = home(module)
    return images.to(device=device, dtype=dtype)


def in_precision(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network itself, its real numbers in another precision and its complex ones in the one that goes with it."""
    wave = torch.complex128 if dtype == torch.float64 else torch.complex64

    def converted(tensor: Tensor) -> Tensor:
        # `Module.to` would drop imaginary parts.
        return tensor.to(wave if tensor.is_complex() else dtype if tensor.is_floating_point() else tensor.dtype)

    return cast(nn.Module, cast(Any, module)._apply(converted))


def layer_named(module: nn.Module, name: str) -> str:
    """The dotted name of a layer, given with dots or, as in Lucent, with underscores. Raises FeatvisError for an unknown one."""
    names = [known for known, _ in module.named_modules() if known]
    if name in names:
        return name
    matches = [known for known in names if known.replace(".", "_") == name.replace("/", "_").replace(".", "_")]
    if len(matches) == 1:
        return matches[0]
    raise FeatvisError(f"no layer {name!r}; `featvis layers` lists them{nearest_names(name, names)}")
