"""The render loop: a picture climbs an objective, octave by octave and step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from featvis.dream.activations import Activations, Objective
from featvis.dream.ascent import SCHEDULES
from featvis.dream.parameterisations import PARAMETERISATIONS, Parameterisation, adopted, natural_noise
from featvis.dream.recipe import Recipe
from featvis.dream.resizing import enlarged, resized
from featvis.dream.transforms import roll
from featvis.errors import FeatvisError
from featvis.gradients.attributions import Attribution, Gradients
from featvis.gradients.draws import Draws
from featvis.measure.phases import expected_profile
from featvis.measure.sums import EnergySums
from featvis.models.model import Model

CALIBRATION = 16
"""Noise pictures from which `equalise` takes its profile."""

FAINT, STRONG = 0.05, 0.2
"""Contrasts of noise: profiles from faint noise fit photographs best (docs/dream.md), and strong noise lights up what it leaves dark."""

FIRST_STEPS = 8
"""An objective that has given no gradient after so many steps is taken for dead."""

REPORTED_EVERY = 50
"""Steps after which the objective's value is fetched from an accelerator, which makes the host wait for it."""

Progress = Callable[[int, int, float], None]
"""Called after each step with the steps done, the steps in all, and the objective's latest known value."""


class Render:
    """One run: what stays the same between its steps, and what they leave behind."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        text: str,
        photograph: Tensor | None,
        recipe: Recipe,
        progress: Progress,
    ) -> None:
        self.model, self.photograph, self.recipe, self.progress = model, photograph, recipe, progress
        self.interrupted = False
        self.notes: list[str] = []
        self.history: list[Tensor] = []
        self.frames: list[Tensor] = []
        self.adopted = self._adopted()
        example = self._example()
        self.size = (example.shape[2], example.shape[3])
        self.scales: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        self.fitted = photograph is None and recipe.octaves == 1
        self.text = text
        self.activations = Activations(
            model.module, objective, self._normalised(self._fit(example)), example, recipe.prepare, recipe.precision
        )
        self.sizes = self._octave_sizes(example)
        self.draws = Draws(recipe.seed, range(len(example)))
        self.compensation = self._compensation(example)

    def run(self) -> tuple[Tensor, Tensor]:
        """All octaves: the picture, (B, C, H, W), and its last gradient."""
        self.gradient: Tensor | None = None
        self.largest: Tensor | None = None
        self.value = 0.0
        picture: Tensor | None = None
        total = len(self.sizes) * self._steps
        try:
            for size in self.sizes:
                self.parameterisation = self._parameterisation(size, self._start(size, picture))
                self._climb(total)
                picture = self.parameterisation.picture().detach()
        except KeyboardInterrupt:
            if self.gradient is None:
                raise
            picture = self.parameterisation.picture().detach()
            self.interrupted = True
            self.notes.append(f"stopped at step {len(self.history)} of {total}")
        assert picture is not None
        assert self.gradient is not None
        return resized(picture, self.size), self.gradient

    @property
    def _steps(self) -> int:
        assert self.recipe.steps is not None
        return self.recipe.steps

    def _climb(self, total: int) -> None:
        """The steps of one octave."""
        optimiser = self.recipe.optimiser(self.parameterisation.values)
        rates = [group["lr"] for group in optimiser.param_groups]
        schedule = SCHEDULES[self.recipe.schedule]
        for step in range(self._steps):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(step / self._steps)
            loss = cast(Any, optimiser).step(self._closure(optimiser))
            if self.parameterisation.bounded:
                with torch.no_grad():
                    for values in self.parameterisation.values:
                        values.clamp_(0, 1)
            self.history.append(-loss)
            self._after_step(total)

    def _after_step(self, total: int) -> None:
        done = len(self.history)
        if done == min(FIRST_STEPS, total):
            self._check_alive()
        if self.activations.device.type == "cpu" or done % REPORTED_EVERY == 0 or done == total:
            self.value = float(self.history[-1])
            if not math.isfinite(self.value):
                raise FeatvisError(
                    f"the objective {self.text!r} is {self.value} at step {done}; check the network's weights, or give a lower rate"
                )
        if self.recipe.frames_every and done % self.recipe.frames_every == 0:
            self.frames.append(self.parameterisation.picture().detach().clone())
        self.progress(done, total, self.value)

    def _closure(self, optimiser: torch.optim.Optimizer) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            optimiser.zero_grad()
            picture = self.parameterisation.picture()
            canvas = picture.detach().requires_grad_()
            loss, gradient = self._gradient(canvas)
            picture.backward(gradient.to(picture))
            self.gradient = gradient
            return loss

        return closure

    def _gradient(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at a picture that requires a gradient, and that gradient, compensated where the network reads it."""
        shown = roll(canvas, self.recipe.jitter)
        for transform in self.recipe.transforms or ():
            shown = transform(shown)
        shown = self._normalised(self._fit(shown))
        passes: list[tuple[Tensor, Tensor]] = []

        def at_input(pixels: Tensor) -> Tensor:
            gradient, loss, direct = self._pass(pixels, canvas)
            passes.append((loss, direct))
            return gradient

        try:
            treated = self.compensation.of(Gradients(at_input, self.total_stride, self.draws), shown.detach())
        except FeatvisError as error:
            if not self.recipe.transforms or self.activations.accepts(shown.detach()):
                raise
            raise FeatvisError(
                f"{error}; this is the picture after its transforms, which may change its size: "
                "--jitter, or transforms=() in Python, leaves them out"
            ) from error
        (gradient,) = torch.autograd.grad(shown, canvas, treated)
        losses, direct = zip(*passes, strict=True)
        gradient = gradient + sum(direct) / len(passes)
        if len(self.history) < FIRST_STEPS:
            height = gradient.abs().amax()
            self.largest = height if self.largest is None else torch.maximum(self.largest, height)
        return torch.stack(losses).mean(), gradient

    def _pass(self, pixels: Tensor, canvas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient at the network's input, the loss, and its gradient at the picture past the network."""

        def both_ways(value: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
            inputs = pixels.detach().requires_grad_(), canvas.detach().requires_grad_()
            with torch.enable_grad():
                loss = value(*inputs)
                if not loss.requires_grad:
                    raise FeatvisError(
                        f"the objective {self.text!r} does not depend on the pixels through anything differentiable"
                    )
                at_pixels, direct = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
            return at_pixels, loss.detach(), direct

        return self.activations.use(both_ways)

    def _fit(self, pictures: Tensor) -> Tensor:
        """Enlarged to the model's input where either side of what is optimised is smaller."""
        wanted = self.model.input_size[1:]
        if not self.fitted or all(side >= least for side, least in zip(self.size, wanted, strict=True)):
            return pictures
        return F.interpolate(pictures, wanted, mode="bilinear", align_corners=True)

    def _normalised(self, pictures: Tensor) -> Tensor:
        """The network's input; as `Model.normalise`, with constants that go to the device once."""
        if pictures.dtype not in self.scales:
            mean, std = (
                torch.tensor(values, dtype=pictures.dtype, device=self.model.device).view(-1, 1, 1)
                for values in (self.model.mean, self.model.std)
            )
            self.scales[pictures.dtype] = mean, std
        mean, std = self.scales[pictures.dtype]
        return (pictures.to(self.model.device) - mean) / std

    def _adopted(self) -> Parameterisation | None:
        """The parameterisation that was handed in, where one was."""
        param = self.recipe.param
        if param is None or isinstance(param, str):
            return None
        if self.photograph is not None or self.recipe.octaves > 1:
            raise FeatvisError(
                "a parameterisation of your own makes its own pictures; give no start and one octave beside it, or one of "
                f"{', '.join(PARAMETERISATIONS)}"
            )
        return adopted(param())

    def _example(self) -> Tensor:
        """A picture as the network will see it, (B, C, H, W), for what is found out before the first step."""
        if self.adopted is not None:
            return self.adopted.picture().detach()
        if self.photograph is not None:
            return self.photograph.unsqueeze(0).to(self.model.device)
        assert self.recipe.size is not None
        return self._noise(torch.Size((1, self.model.input_size[0], *self.recipe.size)), 0, STRONG)

    def _noise(self, shape: torch.Size, number: int, contrast: float) -> Tensor:
        generator = torch.Generator().manual_seed(self.recipe.seed + number)
        return natural_noise(shape, generator, contrast).to(self.model.device)

    def _octave_sizes(self, example: Tensor) -> list[tuple[int, int]]:
        """(H, W) of each octave; raises FeatvisError where the smallest are too small, with how many fit."""
        if self.recipe.octaves == 1:
            return [self.size]
        sizes = self.recipe.octave_sizes()
        least = self.activations.total_stride or 1
        fitting = 0
        for size in reversed(sizes):
            if min(size) < least or not self.activations.accepts(self._normalised(resized(example, size))):
                break
            fitting += 1
        if fitting < len(sizes):
            height, width = self.size
            raise FeatvisError(
                f"{self.recipe.octaves} octaves of scale {self.recipe.octave_scale:g} do not fit into {height} x {width} pixels: the "
                f"smallest would be {sizes[0][0]} x {sizes[0][1]}, less than the network takes or one total stride ({least}); "
                f"give --octaves {fitting} or fewer, or a larger picture"
            )
        return sizes

    @property
    def total_stride(self) -> int:
        """Of all that the objective reads; 1 where it is not known."""
        return self.activations.total_stride or 1

    def _compensation(self, example: Tensor) -> Attribution:
        """The compensation that was asked for; measures the profile that it lacks at noise."""
        compensation = self.recipe.treatment
        if self.activations.total_stride is None:
            if any(part.needs_period for part in compensation.parts):
                raise FeatvisError(
                    f"{compensation} needs the total stride, which is not known at this size; give a larger one"
                )
            self.notes.append("the total stride is not known, as the network cannot be traced at this size")
        if not compensation.lacks_profile:
            return compensation
        shape = self._fit(example).shape
        for contrast in (FAINT, STRONG):
            noises = (self._noise(shape, number, contrast) for number in range(CALIBRATION))
            profile = noise_profile(self._gradient_at, noises, self.total_stride)
            if profile is not None:
                return compensation.with_profile(profile)
        raise FeatvisError(
            f"equalise finds no gradient of the objective {self.text!r} at noise, from which to take its profile; "
            "give another compensation, or jitter"
        )

    def _gradient_at(self, pictures: Tensor) -> Tensor:
        """The gradient at the network's input for pictures in [0, 1]."""
        return self._pass(self._normalised(pictures), pictures)[0]

    def _start(self, size: tuple[int, int], previous: Tensor | None) -> Tensor | None:
        """What an octave starts from, (C, H, W): the photograph in this size with the detail that the octave before added."""
        if previous is not None:
            previous = previous.to(self.model.device)
        if self.photograph is None:
            return None if previous is None else enlarged(previous, size)[0]
        photograph = self.photograph.unsqueeze(0).to(self.model.device)
        start = resized(photograph, size)
        if previous is not None:
            start = start + enlarged(previous - resized(photograph, previous.shape[2:]), size)
        return start[0].clamp(0, 1)

    def _parameterisation(self, size: tuple[int, int], start: Tensor | None) -> Parameterisation:
        if self.adopted is not None:
            return self.adopted
        assert isinstance(self.recipe.param, str)
        make = PARAMETERISATIONS[self.recipe.param]
        return make((self.model.input_size[0], *size), start, self.model.device)

    def _check_alive(self) -> None:
        """Raises FeatvisError where no step so far has had a gradient, with what to try."""
        assert self.largest is not None
        largest = float(self.largest)
        if 0 < largest < float("inf"):
            return
        if largest != 0:
            raise FeatvisError(
                f"the gradient of the objective {self.text!r} is NaN or infinite; check the network's weights"
            )
        shape = self._fit(self.parameterisation.picture().detach()).shape
        noises = [self._noise(shape, number, STRONG) for number in range(CALIBRATION)]
        lit = sum(bool(self._gradient_at(noise).any()) for noise in noises)
        hint = (
            f"it does at {lit} of {CALIBRATION} noise pictures of strong contrast: try another seed, or start from a photograph"
            if lit
            else f"nor at any of {CALIBRATION} noise pictures of strong contrast: try a photograph, the layer before its rectifier, "
            "or another channel"
        )
        steps = len(self.history)
        raise FeatvisError(
            f"the objective {self.text!r} does not light up: no gradient in the first {steps} steps; {hint}"
        )


def noise_profile(gradient: Callable[[Tensor], Tensor], noises: Iterable[Tensor], total_stride: int) -> Tensor | None:
    """The phase profile that `equalise` divides by, (P, P), from gradients at noise.

    None where fewer than half of the pictures have a gradient.
    """
    sums = EnergySums(total_stride)
    alive = []
    for noise in noises:
        at_noise = gradient(noise)
        lit = at_noise.abs().amax((1, 2, 3)) > 0
        alive += lit.tolist()
        if bool(lit.any()):
            sums.update(at_noise[lit])
    if 2 * sum(alive) < len(alive):
        return None
    energies = sums.compute()
    return expected_profile(energies.profile, energies.exact_periods)
