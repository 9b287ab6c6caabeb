"""A discriminator or generator made ready to be asked: without its last sigmoid, for one class, its latent values found."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from featvis.errors import FeatvisError
from featvis.tracing.networks import as_input, copy_module
from featvis.tracing.outputs import output_tensor
from featvis.tracing.refusals import refusals
from featvis.tracing.trace import trace

PREFIX = "network."
"""What layers of a `Conditioned` network are called by, before their own names."""

BATCH = 64

SIGMOIDS = (torch.sigmoid, Tensor.sigmoid, torch.special.expit, nn.functional.sigmoid)


class _Sigmoids(TorchFunctionMode):
    """Counts the calls of sigmoid and keeps their results; the one with the number `skipped` returns its input."""

    def __init__(self, skipped: int | None) -> None:
        super().__init__()
        self.skipped, self.results = skipped, list[Tensor]()

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function not in SIGMOIDS:
            return function(*arguments, **(keywords or {}))
        skip = self.skipped == len(self.results)
        given = (*arguments, *(keywords or {}).values())
        result = given[0] if skip else function(*arguments, **(keywords or {}))
        self.results.append(result)
        return result


class Conditioned(nn.Module):
    """A network asked for one class, and without the sigmoid that ends it.

    category: what a network with a second argument gets there, None where it has none. skipped: the number of the call of sigmoid that
    returns its input instead, None for none. output: which of several outputs is taken; None for all of them, as they are.
    """

    def __init__(
        self,
        network: nn.Module,
        category: int | None = None,
        skipped: int | None = None,
        output: str | None = "",
    ) -> None:
        super().__init__()
        self.network, self.category, self.skipped, self.output = network, category, skipped, output

    def forward(self, values: Tensor) -> Any:
        classes = []
        if self.category is not None:
            classes = [torch.full((len(values),), self.category, dtype=torch.long, device=values.device)]
        with contextlib.nullcontext() if self.skipped is None else _Sigmoids(self.skipped):
            returned = self.network(values, *classes)
        return returned if self.output is None else output_tensor(returned, self.output)


def conditioned(network: nn.Module, category: int | None) -> Conditioned:
    """The network for one class; raises FeatvisError where it takes a class and none is given, or the other way round."""
    try:
        parameters = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return Conditioned(network, category)
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in places)
    variable = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    name = type(network).__name__
    if needed > 2 or (needed == 2 and category is None):
        words = ", ".join(p.name for p in places)
        raise FeatvisError(
            f"{name} is called with ({words}); give --class N for the second one"
            if needed == 2
            else f"{name} is called with ({words}); give a factory of a network that takes pictures, or pictures and a class"
        )
    if category is not None and len(places) < 2 and not variable:
        raise FeatvisError(f"{name} takes no class; leave --class out")
    return Conditioned(network, category)


def settled(network: Conditioned, pictures: Tensor) -> tuple[Conditioned, list[str]]:
    """The network that returns its logit where it returns several tensors, and a note that says which one was taken.

    pictures: (B, C, H, W), a few to run it on. Raises FeatvisError where the network refuses them.
    """
    whole = Conditioned(network.network, network.category, network.skipped, None)
    pictures = _admitted(network, pictures)
    with torch.no_grad(), refusals(pictures):
        if isinstance(copy_module(whole)(pictures), Tensor):
            return network, []
    form = trace(whole, pictures[:1]).form
    return Conditioned(network.network, network.category, network.skipped, form.name), form.notes((), of_classes=False)


def without_sigmoid(network: Conditioned, pictures: Tensor) -> Conditioned:
    """The same network without the sigmoid that ends it, module or function, where there is one; views and means may follow it.

    pictures: (B, C, H, W), a few to run it on. Raises FeatvisError where the network refuses them.
    """
    twin = copy_module(network)
    with torch.no_grad(), refusals(pictures), _Sigmoids(None) as seen:
        output = output_tensor(twin(_admitted(network, pictures)))
    for number in reversed(range(len(seen.results))):
        if _is_last(seen.results[number], output):
            return Conditioned(network.network, network.category, number, network.output)
    return network


def _admitted(network: nn.Module, pictures: Tensor) -> Tensor:
    """A copy of the pictures, as the first layer may work in place, on the network's device and in its precision."""
    return as_input(network, pictures.detach().clone())


def _flat(output: Tensor) -> Tensor:
    """One value for each picture, (B,): the mean of a map."""
    return output.double().reshape(len(output), -1).mean(1)


def _is_last(result: Tensor, output: Tensor) -> bool:
    """Whether an output is this result, in another shape or averaged over each picture's map."""
    if result.numel() == output.numel():
        return torch.equal(result.flatten(), output.flatten())
    if result.ndim < 2 or len(result) != output.numel():
        return False
    return torch.allclose(result.flatten(1).mean(1), output.flatten())


def outputs_of(network: nn.Module, pictures: Tensor, name: str, batch_size: int) -> Tensor:
    """The discriminator's output at each picture, the mean of a map, (N,). Raises FeatvisError where one is not finite.

    name: the kind of pictures, for the message.
    """
    twin = copy_module(network)
    with torch.no_grad(), refusals(pictures[:batch_size]):
        parts = [_flat(output_tensor(twin(_admitted(network, part)))) for part in pictures.split(batch_size)]
    outputs = torch.cat(parts)
    if not bool(outputs.isfinite().all()):
        bad = int((~outputs.isfinite()).sum())
        raise FeatvisError(
            f"the discriminator gives NaN or infinity for {bad} of {len(outputs)} {name} pictures; check its weights and --range"
        )
    return outputs


Draw = Callable[[tuple[int, ...], torch.Generator], Tensor]

LATENTS: dict[str, Draw] = {
    "normal": lambda shape, generator: torch.randn(shape, generator=generator),
    "uniform": lambda shape, generator: 2 * torch.rand(shape, generator=generator) - 1,
}
"""How latent values are drawn: standard normal, or uniform in [-1, 1]."""


def latent_shape(generator: Conditioned) -> tuple[int, ...]:
    """The shape of one latent input, (z,) or (z, 1, 1), found by trying the input channels of the generator's layers, the first ones first.

    Raises FeatvisError where none gives pictures.
    """
    twin = copy_module(generator)
    sizes = dict.fromkeys(
        part.in_features if isinstance(part, nn.Linear) else part.in_channels
        for part in twin.modules()
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    )
    parameter = next(twin.parameters(), torch.zeros(()))
    for size in sizes:
        for shape in ((size, 1, 1), (size,)):
            try:
                with torch.no_grad():
                    made = output_tensor(twin(parameter.new_zeros((2, *shape))))
            except (RuntimeError, TypeError, ValueError, IndexError, FeatvisError):
                continue
            if made.ndim == 4 and len(made) == 2 and made.shape[1] in (1, 3) and min(made.shape[2:]) > 1:
                return shape
    raise FeatvisError(
        f"{type(generator.network).__name__} makes no pictures (B, 1 or 3, H, W) of latent values (B, z) or (B, z, 1, 1); "
        "give a factory of a network that does"
    )


@torch.no_grad()
def sample(
    generator: Conditioned, shape: Sequence[int], latent: str, count: int, seed: int, batch_size: int = BATCH
) -> Tensor:
    """Pictures of a generator in eval mode, (count, C, H, W), on the CPU, of latent values (count, *shape) drawn with the seed.

    latent: a name in LATENTS. Raises FeatvisError for one that is not, and where a picture holds NaN or infinity.
    """
    if latent not in LATENTS:
        raise FeatvisError(f"no distribution {latent!r} of latent values; known: {', '.join(LATENTS)}")
    twin = copy_module(generator)
    drawn = as_input(twin, LATENTS[latent]((count, *shape), torch.Generator().manual_seed(seed)))
    with refusals(drawn):
        made = torch.cat([output_tensor(twin(part)).cpu() for part in drawn.split(batch_size)])
    if not bool(made.isfinite().all()):
        bad = int((~made.flatten(1).isfinite().all(1)).sum())
        raise FeatvisError(f"{bad} of {count} pictures of the generator hold NaN or infinity; check its weights")
    return made


def with_random_weights(generator: Conditioned, latents: Tensor, seed: int) -> Conditioned:
    """The same architecture with weights drawn anew by each layer's own `reset_parameters`; kernels without one as PyTorch's defaults are.

    latents: a batch on which the running statistics of batch norms are taken, as those of training belong to other weights.
    """
    twin = cast(Conditioned, copy_module(generator))
    for parameter in twin.parameters():
        parameter.data = parameter.detach().clone()
    before = {name: parameter.detach().clone() for name, parameter in twin.named_parameters()}
    norms = [part for part in twin.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        torch.manual_seed(seed)
        for part in twin.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
        for name, parameter in twin.named_parameters():
            # Such as the kernel beneath a spectral norm, or a layer of the user's own.
            if parameter.ndim > 1 and torch.equal(parameter, before[name]):
                nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))
        for norm in norms:
            norm.training, norm.momentum = True, None
        twin(as_input(twin, latents))
        for norm in norms:
            norm.training = False
    return twin
