"""The gradient engine: d score / d pixels, signed, in the units of the prepared input.

`GradientEngine` prepares a frozen twin of a network once and is called for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.gradients.attributions import PLAIN, Attribution
from featvis.gradients.draws import Draws
from featvis.gradients.scores import Score
from featvis.measure.parts import real_tensor
from featvis.models.model import Model
from featvis.tracing.layer_table import LayerRow, explaining_layers, resolution_layers
from featvis.tracing.networks import home
from featvis.tracing.outputs import Form
from featvis.tracing.prepared import SAME, Handles, Prepared, Run, difference
from featvis.tracing.refusals import refusals
from featvis.tracing.state import State, plain_attributes
from featvis.tracing.trace import COARSE, Trace
from featvis.tracing.traced import TracedPeriods


class GradientEngine:
    """Input gradients of one network and one score, for batch after batch.

    The network that is handed in stays as it is, in every respect. On the first batch a frozen twin in eval mode is prepared: batch
    norms folded into their convolutions, channels last, the forward pass stopping at the score's layer. `prepared` says
    whether that gives the same gradient to 1e-4, relative; otherwise, and where that form ever raises anything, the plain twin is used
    and `notes` say so. A network that has changed since, as `State` sees it, is prepared anew; what is observed or treated stays so.
    One in float16 or bfloat16 is computed in float32; one that goes over to these inside is used as it is, and `notes` say so.

    Raises FeatvisError for a score that the network does not have, an input that it refuses, and a network that mixes the pictures of
    a batch, such as batch norm without running statistics: one picture alone must give the same gradient as in its batch.

    >>> engine = featvis.GradientEngine(featvis.load_model("zoo:cifar-k3s2"), score="seeds:stage2")
    >>> [engine(pictures).shape for pictures in torch.rand(2, 5, 3, 32, 32)]
    [torch.Size([5, 3, 32, 32]), torch.Size([5, 3, 32, 32])]
    >>> engine.total_stride, engine.prepared, engine.notes
    (4, True, [])
    """

    def __init__(self, model: Model | nn.Module, score: str = "top", seed: int = 0, prepare: bool = True) -> None:
        self.module = model.module if isinstance(model, Model) else model
        labels = model.labels if isinstance(model, Model) else None
        self.score = Score.parse(str(score), self.module, labels)
        self.seed, self.prepare = seed, prepare
        self._network: Prepared | None = None
        self._state: State | None = None
        self._hooks: list[Handles] = []
        self._doubles = False
        self._form = Form()
        self._observed: list[tuple[Callable[[Tensor], None], Tensor]] = []

    @property
    def prepared(self) -> bool:
        """Whether the faster form is in use; known after the first batch."""
        return self._network is not None and self._network.prepared

    @property
    def notes(self) -> list[str]:
        """What there is to say of the preparation, so far, and of which output is taken."""
        if self._network is None:
            return []
        record = self._network.record
        number = record.layer_outputs.get(self._layer) if self._layer else record.output
        shape = () if number is None else record.shapes[number]
        said = self._form.notes(shape, self.score.kind != "seeds", self._layer)
        return [*said, *self._network.notes]

    @property
    def output(self) -> str | None:
        """The name or number of the network's output that is taken, where it returns several; known after the first batch."""
        return self._form.name if self._form.others else None

    @property
    def total_stride(self) -> int:
        """The product of the strides between the pixels and the score; known after the first batch."""
        return self._ready.total_stride

    def __call__(self, images: Tensor, indices: Sequence[int] | None = None) -> Tensor:
        """Gradients of a batch: (B, C, H, W) to the same shape. indices: the pictures' numbers in the whole set."""
        images = real_tensor(images, "images")
        draws = Draws(self.seed, range(len(images)) if indices is None else indices)
        return self.gradient(self.admitted(images, draws), None, draws)

    def gradient(self, images: Tensor, chosen: Tensor | None, draws: Draws) -> Tensor:
        """Gradients of pictures that were admitted, at the classes that were chosen, (B, 1), where the score is `top`."""

        def attempt(run: Run) -> Tensor:
            self._observed.clear()
            return self._passed(run, images, chosen, draws)[0]

        gradient = self._ready.use(attempt)
        # Only now, as a form that fails has shown a part of its gradients before.
        for function, seen in self._observed:
            function(seen[: len(seen) // 2] if self._doubles and len(images) == 1 else seen)
        self._observed.clear()
        return gradient

    def chosen(self, images: Tensor) -> Tensor | None:
        """The class of each picture's top logit, (B, 1), where the score asks for it."""
        if self.score.kind != "top":
            return None
        draws = Draws(self.seed, range(len(images)))
        with torch.no_grad():
            return self._ready.use(lambda run: self.score.values(run(images)[self._layer], None, draws, self._form)[1])

    def observe(self, layer: str, function: Callable[[Tensor], None]) -> Handles:
        """Show a function the gradient that a layer alone sends back to its input, (B, C, H, W), once for each batch that went through.

        layer: a dotted name. For use after the first batch; the handle removes it.
        """

        def keep(gradient: Tensor) -> None:
            self._observed.append((function, gradient))

        return self._at_input(layer, keep)

    def treat(self, layer: str, function: Callable[[Tensor], Tensor]) -> Handles:
        """Pass the gradient at a layer's input through a function; the forward pass stays as it is.

        layer: a dotted name. function: takes what this layer alone sends back to its input, (B, C, H, W); what it returns goes on
        instead. For use after the first batch; the handle removes it.
        """
        return self._at_input(layer, function)

    def _at_input(self, layer: str, function: Callable[[Tensor], Tensor | None]) -> Handles:

        def before(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            features = arguments[0]
            if not features.requires_grad:
                return None
            # A view of the input belongs to this layer alone, where others may read the same tensor.
            own = features.view_as(features)
            own.register_hook(function)
            return (own, *arguments[1:])

        hook = Handles(layer, before)
        self._ready.attach(hook)
        self._hooks.append(hook)
        return hook

    @property
    def traced(self) -> TracedPeriods:
        """The periods that strides between the pixels and the score lead to, by axis; known after the first batch."""
        return self._ready.record.periods(self.score.layer)

    def explaining(self, period: tuple[int, int]) -> tuple[str, ...]:
        """The layers that explain a period, (rows, columns) in pixels; empty where the trace has none that do."""
        return explaining_layers(self._ready.record, period, self.score.layer)

    @property
    def record(self) -> Trace | None:
        """The network's trace; None before the first batch."""
        return None if self._network is None else self._network.record

    @property
    def resolution_layers(self) -> list[LayerRow]:
        """The layers with a stride that the score depends on, from the pixels on; known after the first batch."""
        return resolution_layers(self._ready.record, self.score.layer)

    @property
    def _ready(self) -> Prepared:
        assert self._network is not None
        return self._network

    @property
    def _layer(self) -> str:
        """The layer that the score reads; "" is the network itself."""
        return self.score.layer or ""

    def admitted(self, images: Tensor, draws: Draws) -> Tensor:
        """The images on the network's device and in its precision; prepares on the first batch.

        Raises FeatvisError within `torch.inference_mode`, where nothing can be differentiated.
        """
        if torch.is_inference_mode_enabled():
            raise FeatvisError("gradients are asked for within torch.inference_mode(), which has none; leave it before")
        if images.ndim not in (3, 4) or 0 in images.shape:
            raise FeatvisError(
                f"images of shape {tuple(images.shape)}; expected (B, C, H, W), or (B, C, L) for signals"
            )
        device, own = home(self.module)
        dtype = own or images.dtype
        precise = (dtype.is_floating_point or dtype.is_complex) and dtype not in COARSE
        images = images.detach().to(device=device, dtype=dtype if precise else torch.float32)
        if images.is_inference():
            # Such tensors take part in no gradient; a copy does.
            images = images.clone()
        if self._state is None or not self._state.holds(self.module):
            before = plain_attributes(self.module)
            self._start(images, draws)
            self._state = State(self.module, before)
        return images

    def _start(self, images: Tensor, draws: Draws) -> None:
        one, of_one = images[:1], draws.one(0)
        network = self._traced(one)
        self._form = network.record.form_at(self._layer)
        self._doubles = False
        alone, chosen = self._passed(network.plain, one, None, of_one)
        # The reference is a batch of two: torch's batch norm in eval mode is wrong at one, for some layouts of its gradient.
        try:
            self._doubles = True
            reference, _ = self._passed(network.plain, one, chosen, of_one)
        except FeatvisError:
            reference = alone
        self._doubles = difference(alone, reference) >= SAME
        if network.record.coarse is not None:
            # Another form would round otherwise.
            network.notes.append(_coarse(*network.record.coarse))
        elif self.prepare:
            network.prepare(lambda run: [self._passed(run, one, chosen, of_one)[0]], [reference])
        if len(images) > 1:
            self._check_coupling(network, images[:2], reference, draws)
        self._hooks = [hook for hook in self._hooks if not hook.removed]
        for hook in self._hooks:
            network.attach(hook)
        self._network = network

    def _traced(self, one: Tensor) -> Prepared:
        """The network, which can be traced: nothing is measured without its total stride."""
        if home(self.module)[1] in COARSE:
            try:
                network = Prepared(self.module, [self._layer], one, torch.float32)
                _ = network.total_stride
            except FeatvisError:
                # It may go over to its own precision inside, which its weights in float32 do not fit.
                pass
            else:
                return network
        network = Prepared(self.module, [self._layer], one)
        _ = network.total_stride
        return network

    def _check_coupling(self, network: Prepared, images: Tensor, alone: Tensor, draws: Draws) -> None:
        """Raises FeatvisError where the first picture's gradient is another one in the company of the second."""
        both = Draws(self.seed, draws.indices[:2])
        together, chosen = self._passed(network.plain, images, None, both)
        if difference(together[:1], alone) < SAME:
            return
        # Rounding can flip a rectifier; float64 tells that from a batch that is really mixed.
        try:
            exact, first = network.in_double(), None if chosen is None else chosen[:1]
            one, _ = self._passed(exact, images[:1].double(), first, draws.one(0))
            two, _ = self._passed(exact, images.double(), chosen, both)
            mixed = difference(two[:1], one) >= SAME
        except (FeatvisError, RuntimeError, TypeError):
            mixed = True
        if mixed:
            raise FeatvisError(
                "a picture's gradient depends on the other pictures of its batch, or on chance (batch norm without running "
                "statistics, minibatch statistics, dropout that ignores eval mode); give the pictures one by one with --batch-size 1"
            )

    def _passed(self, run: Run, images: Tensor, chosen: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """The gradient of one form of the network, and the classes that the score took."""
        if self._doubles and len(images) == 1:
            twice = Draws(self.seed, [*draws.indices, *draws.indices])
            both = None if chosen is None else chosen.expand(2, -1)
            gradient, chosen = self._taken(run, torch.cat([images, images]), both, twice)
            return gradient[:1], None if chosen is None else chosen[:1]
        return self._taken(run, images, chosen, draws)

    def _taken(self, run: Run, images: Tensor, chosen: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor | None]:
        pixels = images.detach().requires_grad_()
        with torch.enable_grad():
            output = run(pixels)[self._layer]
            if output.is_complex():
                raise FeatvisError(
                    f"the score {self.score.text!r} is complex; wrap the network to return real numbers, such as magnitudes"
                )
            values, chosen = self.score.values(output, chosen, draws, self._form)
            if not bool(values.isfinite().all()):
                number = draws.indices[int((~values.isfinite()).nonzero()[0])]
                raise FeatvisError(
                    f"the score {self.score.text!r} is NaN or infinite at picture {number}, so that its gradient says nothing; check the "
                    "weights and the normalisation"
                )
            if not values.requires_grad:
                raise FeatvisError(
                    f"the score {self.score.text!r} does not depend on the pixels through anything differentiable"
                )
            with refusals(images):
                (gradient,) = torch.autograd.grad(values.sum(), pixels, allow_unused=True)
        if gradient is not None and gradient.is_complex():
            raise FeatvisError(
                "the network takes complex numbers, so that its gradient is complex; wrap it to take real pixels and return real scores"
            )
        if gradient is None:
            raise FeatvisError(f"the score {self.score.text!r} does not depend on the pixels")
        return gradient, chosen


def _coarse(dtype: torch.dtype, layer: str) -> str:
    lost = ", and small ones are lost" if dtype == torch.float16 else ""
    where = f", from {layer} on" if layer else ""
    return (
        f"the network computes in {str(dtype).removeprefix('torch.')} inside{where}, which rounds its gradients to three "
        f"digits{lost}; used as it is"
    )


def input_gradient(
    model: Model | nn.Module,
    images: Tensor,
    score: str = "top",
    attribution: Attribution = PLAIN,
    seed: int = 0,
) -> Tensor:
    """d score / d pixels of each picture, signed; leaves model and images as they were.

    images: (B, C, H, W), prepared as the network expects, or (B, C, L). Returns the same shape. score: `top`, a class index or label,
    `layer:channel`, `layer:channel@row,column`, `seeds` or `seeds:layer` (a map with random signs, for claims about
    the architecture). attribution: what is made of it, such as Jitter(SmoothGrad()). For many batches, make one GradientEngine.
    Raises FeatvisError as it does.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    >>> gradient = featvis.input_gradient(network, torch.rand(1, 3, 2, 2), score="1")
    >>> torch.equal(gradient.flatten(), network[1].weight[1])
    True
    """
    return attribution(GradientEngine(model, score, seed, prepare=False), images)
