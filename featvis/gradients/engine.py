"""The gradient engine: d score / d pixels, signed, in the units of the prepared input.

`GradientEngine` prepares a frozen twin of a network once and is called for each batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from featvis.errors import FeatvisError
from featvis.gradients.attributions import PLAIN, Attribution
from featvis.gradients.draws import Draws
from featvis.gradients.scores import Score
from featvis.models.model import Model
from featvis.tracing.folding import prepare_network
from featvis.tracing.networks import copy_module, output_tensor
from featvis.tracing.refusals import refusals
from featvis.tracing.trace import LayerRow, Trace, trace

SAME = 1e-4
"""Two forms of a network agree where their gradients differ by less than this, relative to the gradient's norm."""


class _Reached(Exception):  # noqa: N818, not an error: it ends a forward pass at the layer that was asked for
    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class GradientEngine:
    """Input gradients of one network and one score, for batch after batch.

    The network that is handed in stays as it is, in every respect. On the first batch a frozen twin in eval mode is prepared: batch
    norms folded into their convolutions, channels last, the forward pass stopping at the score's layer. `prepared` says
    whether that gives the same gradient to 1e-4, relative; otherwise the plain twin is used and `notes` say so.

    Raises FeatvisError for a score that the network does not have, an input that it refuses, and a network that mixes the pictures of
    a batch, such as batch norm without running statistics: one picture alone must give the same gradient as in its batch.
    """

    def __init__(self, model: Model | nn.Module, score: str = "top", seed: int = 0, prepare: bool = True) -> None:
        self.module = model.module if isinstance(model, Model) else model
        labels = model.labels if isinstance(model, Model) else None
        self.score = Score.parse(score, self.module, labels)
        self.seed, self.prepare = seed, prepare
        self.prepared = False
        self.notes: list[str] = []
        self._network: nn.Module | None = None
        self._total_stride = 0
        self._resolution_layers: list[LayerRow] = []

    @property
    def total_stride(self) -> int:
        """The product of the strides between the pixels and the score; known after the first batch."""
        return self._total_stride

    def __call__(self, images: Tensor, indices: Sequence[int] | None = None) -> Tensor:
        """Gradients of a batch: (B, C, H, W) to the same shape. indices: the pictures' numbers in the whole set."""
        draws = Draws(self.seed, range(len(images)) if indices is None else indices)
        return self.gradient(self.admitted(images, draws), None, draws)

    def gradient(self, images: Tensor, chosen: Tensor | None, draws: Draws) -> Tensor:
        """Gradients of pictures that were admitted, at the classes that were chosen, (B, 1), where the score is `top`."""
        return self._gradient(self._ready, images, chosen, draws)[0]

    def chosen(self, images: Tensor) -> Tensor | None:
        """The class of each picture's top logit, (B, 1), where the score asks for it."""
        if self.score.kind != "top":
            return None
        with torch.no_grad():
            output = self._forward(self._ready, images)
        return self.score.values(output, None, Draws(self.seed, range(len(images))))[1]

    def treat(self, layer: str, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Pass the gradient at a layer's input through a function; the forward pass stays as it is.

        layer: a dotted name. function: takes what this layer alone sends back to its input, (B, C, H, W); what it returns goes on
        instead, unless it is None. For use after the first batch; the handle removes it.
        """

        def before(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            features = arguments[0]
            if not features.requires_grad:
                return None
            # A view of the input belongs to this layer alone, where others may read the same tensor.
            own = features.view_as(features)
            own.register_hook(function)
            return (own, *arguments[1:])

        return self._ready.get_submodule(layer).register_forward_pre_hook(before)

    @property
    def resolution_layers(self) -> list[LayerRow]:
        """The layers with a stride that the score depends on, from the pixels on; known after the first batch."""
        return self._resolution_layers

    @property
    def _ready(self) -> nn.Module:
        assert self._network is not None
        return self._network

    def admitted(self, images: Tensor, draws: Draws) -> Tensor:
        """The images on the network's device and in its precision; prepares on the first batch."""
        if images.ndim not in (3, 4) or 0 in images.shape:
            raise FeatvisError(
                f"images of shape {tuple(images.shape)}; expected (B, C, H, W), or (B, C, L) for signals"
            )
        parameter = next(self.module.parameters(), None)
        if parameter is not None:
            images = images.to(parameter.device, parameter.dtype)
        images = images.detach()
        if self._network is None:
            self._start(images, draws)
        return images

    def _start(self, images: Tensor, draws: Draws) -> None:
        plain = copy_module(self.module)
        record = trace(self.module, images[:1])
        self._total_stride = record.total_stride(self.score.layer)
        self._resolution_layers = record.resolution_layers(self.score.layer)
        calls = record.layer_calls.get(self.score.layer, 0) if self.score.layer else 0
        self._stop_at(plain, calls)
        alone, chosen = self._gradient(plain, images[:1], None, draws.one(0))
        if self.prepare:
            network = prepare_network(copy_module(self.module), record, keep=self.score.layer)
            self._stop_at(network, calls)
            fast, _ = self._gradient(network, images[:1], chosen, draws.one(0))
            self.prepared = _difference(fast, alone) < SAME or self._same_in_double(
                images, chosen, draws, record, calls
            )
            if not self.prepared:
                self.notes.append(
                    "the network could not be prepared (its folded form gives another gradient); used as it is"
                )
        self._network = network if self.prepared else plain
        if len(images) > 1:
            self._check_coupling(plain, images[:2], alone, draws, calls)

    def _same_in_double(self, images: Tensor, chosen: Tensor | None, draws: Draws, record: Trace, calls: int) -> bool:
        """Whether the folded form is the same function: rounding can flip a rectifier, in float64 hardly ever."""
        try:
            gradients = []
            for folded in (False, True):
                network = copy_module(self.module).double()
                if folded:
                    prepare_network(network, record, keep=self.score.layer)
                self._stop_at(network, calls)
                gradients.append(self._gradient(network, images[:1].double(), chosen, draws.one(0))[0])
        except (FeatvisError, RuntimeError, TypeError):
            return False
        return _difference(*gradients) < SAME

    def _check_coupling(self, plain: nn.Module, images: Tensor, alone: Tensor, draws: Draws, calls: int) -> None:
        """Raises FeatvisError where the first picture's gradient is another one in the company of the second."""
        both = Draws(self.seed, draws.indices[:2])
        together, chosen = self._gradient(plain, images, None, both)
        if _difference(together[:1], alone) < SAME:
            return
        # Rounding can flip a rectifier; float64 tells that from a batch that is really mixed.
        try:
            network = copy_module(self.module).double()
            self._stop_at(network, calls)
            first = None if chosen is None else chosen[:1]
            one, _ = self._gradient(network, images[:1].double(), first, draws.one(0))
            two, _ = self._gradient(network, images.double(), chosen, both)
            mixed = _difference(two[:1], one) >= SAME
        except (FeatvisError, RuntimeError, TypeError):
            mixed = True
        if mixed:
            raise FeatvisError(
                "a picture's gradient depends on the other pictures of its batch, or on chance (batch norm without running "
                "statistics, minibatch statistics, dropout that ignores eval mode); give the pictures one by one with --batch-size 1"
            )

    def _stop_at(self, network: nn.Module, calls: int) -> None:
        """End the forward pass where the score's layer returns for the last time."""
        if self.score.layer is None:
            return
        seen = itertools.count(1)

        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if next(seen) % calls == 0:
                raise _Reached(output)

        network.get_submodule(self.score.layer).register_forward_hook(hook)

    def _forward(self, network: nn.Module, images: Tensor) -> Tensor:
        with refusals(images):
            try:
                output = network(images)
            except _Reached as reached:
                output = reached.output
        return output_tensor(output)

    def _gradient(
        self, network: nn.Module, images: Tensor, chosen: Tensor | None, draws: Draws
    ) -> tuple[Tensor, Tensor | None]:
        pixels = images.detach().requires_grad_()
        with torch.enable_grad():
            # A copy: the first layer may work in place.
            output = self._forward(network, pixels.clone())
            values, chosen = self.score.values(output, chosen, draws)
            if not values.requires_grad:
                raise FeatvisError(
                    f"the score {self.score.text!r} does not depend on the pixels through anything differentiable"
                )
            with refusals(images):
                (gradient,) = torch.autograd.grad(values.sum(), pixels, allow_unused=True)
        if gradient is None:
            raise FeatvisError(f"the score {self.score.text!r} does not depend on the pixels")
        return gradient, chosen


def _difference(gradient: Tensor, reference: Tensor) -> float:
    """Distance relative to the reference's norm; 0 where both are zero."""
    norm = float(reference.norm())
    distance = float((gradient - reference).norm())
    return distance / norm if norm > 0 else (0.0 if distance == 0 else math.inf)


def input_gradient(
    model: Model | nn.Module,
    images: Tensor,
    score: str = "top",
    attribution: Attribution = PLAIN,
    seed: int = 0,
) -> Tensor:
    """d score / d pixels of each picture, signed; leaves model and images as they were.

    images: (B, C, H, W), prepared as the network expects, or (B, C, L). Returns the same shape. score: `top`, a class index or label,
    `layer:channel`, `seeds` or `seeds:layer` (a map with random signs, for claims about the architecture). attribution: what is made of
    it, such as Jitter(SmoothGrad()). For many batches, make one GradientEngine. Raises FeatvisError as it does.
    """
    return attribution(GradientEngine(model, score, seed, prepare=False), images)
