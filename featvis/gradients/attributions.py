"""What is made of gradients: each attribution is an object with its parameters, `SmoothGrad(samples=50)(engine, images)`.

What treats the checkerboard in them wraps one of these: `featvis.gradients.compensations`. Each works through a function that takes
pictures to their gradients, and knows no network.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.gradients.draws import Draws
from featvis.measure.parts import real_tensor
from featvis.tracing.hashes import tensor_hash

if TYPE_CHECKING:
    from featvis.gradients.engine import GradientEngine

LEAST_SIZE = 64
"""Pixels of the side of a picture at which the cost of an attribution is counted."""


@dataclass(frozen=True)
class Gradients:
    """What an attribution works with: pictures' gradients, (B, C, ...) to the same shape, the total stride, each picture's numbers."""

    at: Callable[[Tensor], Tensor]
    total_stride: int
    draws: Draws


@dataclass(frozen=True)
class Attribution(ABC):
    """A map made of the gradients at a picture and around it.

    one_pass: whether it takes a single gradient, at the picture itself. needs_period: whether it asks for the total stride.
    """

    name: ClassVar[str]
    one_pass: ClassVar[bool] = True
    needs_period: ClassVar[bool] = False

    def __call__(
        self,
        engine: GradientEngine,
        images: Tensor,
        numbers: Sequence[int] | None = None,
        chosen: Tensor | None = None,
        passed: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """The attribution of a batch: (B, C, H, W), or (B, C, L), to the same shape.

        numbers: the pictures' numbers in the whole set, to which their random draws belong. chosen: (B, 1), the classes that the score
        `top` takes instead of this network's own. passed: called after each gradient. Raises FeatvisError where the engine does.
        """
        images = real_tensor(images, "images")
        draws = Draws(engine.seed, range(len(images)) if numbers is None else numbers)
        images = engine.admitted(images, draws)
        if chosen is None and not all(part.one_pass for part in self.parts):
            chosen = engine.chosen(images)

        def gradient(at: Tensor) -> Tensor:
            found = engine.gradient(at, chosen, draws)
            passed()
            return found

        return self.of(Gradients(gradient, engine.total_stride, draws), images)

    def cost(self, total_stride: int, dims: int = 2) -> int:
        """How many gradients it takes at a picture, of so many dimensions, of a network of this total stride.

        >>> featvis.Jitter(featvis.SmoothGrad(samples=25), shifts=16).cost(total_stride=8)
        400
        """
        count = 0

        def gradient(at: Tensor) -> Tensor:
            nonlocal count
            count += 1
            return torch.ones_like(at)

        size = max(LEAST_SIZE, 2 * total_stride)
        profile = torch.ones(1 if dims == 1 else total_stride, total_stride)
        nothing = torch.zeros(1, 1, *(size,) * dims)
        self.with_profile(profile).of(Gradients(gradient, total_stride, Draws(0, range(1))), nothing)
        return count

    @abstractmethod
    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        """The same with gradients of any origin."""

    @property
    def parts(self) -> tuple[Attribution, ...]:
        """What it consists of, from the inside out."""
        return (self,)

    def around(self, inner: Attribution) -> Attribution:
        """The same of another attribution's map; any attribution is itself around the plain gradient."""
        if isinstance(inner, Vanilla):
            return self
        raise FeatvisError(f"{self.name} is made of gradients and treats no map; give a compensation around {inner}")

    def with_profile(self, profile: Tensor) -> Attribution:
        """The same with this phase profile wherever one is missing."""
        return self

    @property
    def lacks_profile(self) -> bool:
        """Whether a part needs a measured phase profile that it was not given."""
        return any(getattr(part, "profile", ()) is None for part in self.parts)

    def parameters(self) -> dict[str, Any]:
        """The numbers that can be set, by name."""
        return {
            entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in ("inner", "profile")
        }

    @property
    def text(self) -> str:
        """The name, with the parameters that are not usual: `smoothgrad:samples=50`; without what is inside."""
        usual = type(self)().parameters()
        changed = [f"{name}={value!r}" for name, value in self.parameters().items() if value != usual[name]]
        return ":".join([self.name, *([",".join(changed)] if changed else [])])

    def __str__(self) -> str:
        return " + ".join(part.text for part in self.parts if not isinstance(part, Vanilla)) or Vanilla.name

    def settings(self) -> dict[str, Any]:
        """Plain values, for records, in the words of the command line."""
        method, *compensations = self.parts
        rows = next((rows for part in compensations if (rows := getattr(part, "profile", None)) is not None), None)
        return {
            "method": method.text,
            "compensation": "+".join(part.text for part in compensations) or "none",
            "profile": None if rows is None else tensor_hash(torch.tensor(rows, dtype=torch.float64)),
        }

    def _check(self, name: str, least: float = 1) -> None:
        """Raises FeatvisError where a parameter is below what makes sense."""
        value = getattr(self, name)
        whole = isinstance(getattr(type(self), name), int)
        if not least <= value < math.inf or (whole and not isinstance(value, int)):
            raise FeatvisError(
                f"{self.name} with {name}={value}; give {'a whole number of ' * whole}at least {least:g}"
            )


@dataclass(frozen=True)
class Vanilla(Attribution):
    """The gradient itself: Simonyan, Vedaldi and Zisserman 2014.

    >>> engine = featvis.GradientEngine(featvis.load_model("zoo:cifar-k3s2"))
    >>> pictures = torch.rand(2, 3, 32, 32)
    >>> torch.equal(featvis.Vanilla()(engine, pictures), engine(pictures))
    True
    """

    name = "vanilla"

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        return gradients.at(images)

    def around(self, inner: Attribution) -> Attribution:
        return inner


PLAIN = Vanilla()
"""The gradient as it is: what is measured where nothing else is asked for."""


@dataclass(frozen=True)
class InputXGradient(Attribution):
    """The gradient times the prepared input: Shrikumar et al. 2016.

    >>> network, pictures = nn.Sequential(nn.Flatten(), nn.Linear(12, 1, bias=False)), torch.rand(2, 3, 2, 2)
    >>> attribution = featvis.InputXGradient()(featvis.GradientEngine(network), pictures)
    >>> torch.allclose(attribution.sum((1, 2, 3)), network(pictures).flatten())  # as the network is linear
    True
    """

    name = "input-x-gradient"

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        return images * gradients.at(images)


@dataclass(frozen=True)
class SmoothGrad(Attribution):
    """The mean gradient of noisy copies of the picture: Smilkov et al. 2017, with the defaults of their own code.

    noise: its standard deviation, as a share of the picture's range.

    >>> smooth = featvis.SmoothGrad(samples=5)
    >>> str(smooth)
    'smoothgrad:samples=5'
    >>> smooth(featvis.GradientEngine(featvis.load_model("zoo:cifar-k3s2")), torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """

    samples: int = 25
    noise: float = 0.15
    name = "smoothgrad"
    one_pass = False

    def __post_init__(self) -> None:
        self._check("samples")
        self._check("noise", 0)

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        axes = tuple(range(1, images.ndim))
        spread = self.noise * (images.amax(axes, keepdim=True) - images.amin(axes, keepdim=True))
        total = torch.zeros_like(images)
        for _ in range(self.samples):
            total += gradients.at(images + spread * gradients.draws.normal(images))
        return total / self.samples


@dataclass(frozen=True)
class IntegratedGradients(Attribution):
    """The picture times its mean gradient along the line from zero: Sundararajan, Taly and Yan 2017, midpoint rule.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    >>> pictures = torch.rand(2, 3, 2, 2).double()
    >>> attribution = featvis.IntegratedGradients()(featvis.GradientEngine(network), pictures)
    >>> torch.allclose(attribution.sum((1, 2, 3)), (network(pictures) - network(0 * pictures)).flatten(), atol=0.02)
    True
    """

    steps: int = 50
    name = "integrated-gradients"
    one_pass = False

    def __post_init__(self) -> None:
        self._check("steps")

    def of(self, gradients: Gradients, images: Tensor) -> Tensor:
        total = torch.zeros_like(images)
        for step in range(self.steps):
            total += gradients.at(images * ((step + 0.5) / self.steps))
        return images * total / self.steps


METHODS: dict[str, Attribution] = {
    "vanilla": PLAIN,
    "input-x-gradient": InputXGradient(),
    "smoothgrad": SmoothGrad(),
    "integrated-gradients": IntegratedGradients(),
}


def named(registry: Mapping[str, Attribution], what: str, text: str) -> Attribution:
    """The object that a text names, with the parameters that it sets: `smoothgrad:samples=50,noise=.1`; several joined by +.

    Raises FeatvisError for an unknown name or parameter, and a value that does not fit, saying which there are.
    """
    found: Attribution = PLAIN
    for part in text.split("+"):
        name, _, settings = part.partition(":")
        if name not in registry:
            raise FeatvisError(f"no {what} {name!r}; known: {', '.join(registry)}")
        usual = registry[name]
        found = replace(usual, **_values(usual, settings)).around(found)
    return found


def _values(usual: Attribution, settings: str) -> dict[str, Any]:
    """The parameters that a text sets, each of the type that it usually has."""
    known, values = usual.parameters(), {}
    for setting in filter(None, settings.split(",")):
        name, _, value = setting.partition("=")
        if name not in known:
            raise FeatvisError(f"{usual.name} has no parameter {name!r}; it has {' and '.join(known) or 'none'}")
        kind = type(known[name])
        try:
            values[name] = kind(value)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise FeatvisError(
                f"{usual.name} takes {wanted} for {name}, as in {name}={known[name]:.4g}; got {value!r}"
            ) from None
    return values
