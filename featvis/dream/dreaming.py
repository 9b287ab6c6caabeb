"""DeepDream and feature visualisation: a picture climbs an objective, with and without compensation of the checkerboard.

Objectives, parameterisations and transforms are Lucent's, unchanged, or featvis's own; what is here is the render loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featvis.compat import versions
from featvis.data.pictures import load_picture, prepare
from featvis.dream.activations import Objective
from featvis.dream.ascent import seeded
from featvis.dream.objectives import parse_objective
from featvis.dream.recipe import Recipe
from featvis.dream.render import Progress, Render
from featvis.dream.resizing import resized
from featvis.errors import FeatvisError
from featvis.models.model import Model
from featvis.tracing.layer_table import LayerRow


@dataclass(frozen=True)
class Dream:
    """A picture that was optimised, and how.

    picture: (C, H, W) in [0, 1]; (B, C, H, W) where the parameterisation makes several at once. gradient: of the last step, in the
    picture's place and shape, pointing upward, compensated, before it is brought to a step's length. history: the objective that is
    maximised (minus what Lucent minimises), by step. total_stride: of all that the objective reads; 1 where it is not known, and a
    note says so. frames: the picture after every so many steps, where they were asked for, in its final size. interrupted: by Ctrl-C,
    before the last step. strided: the layers with a stride that the objective's value depends on.

    >>> from featvis.dream import dream
    >>> dreamt = dream(featvis.load_model("zoo:cifar-k3s2"), "stage2:5", steps=2, octaves=1)
    >>> dreamt.picture.shape, dreamt.total_stride
    (torch.Size([3, 32, 32]), 4)
    """

    picture: Tensor
    gradient: Tensor
    history: tuple[float, ...]
    total_stride: int
    settings: dict[str, Any]
    notes: tuple[str, ...]
    frames: tuple[Tensor, ...] = ()
    interrupted: bool = False
    strided: tuple[LayerRow, ...] = field(default=(), repr=False)


def dream(
    model: Model | nn.Module,
    objective: Objective | str,
    start: Tensor | str | Path | None = None,
    *,
    progress: Progress = lambda done, total, value: None,
    **choices: Any,
) -> Dream:
    """Optimise a picture for an objective: a DeepDream from a photograph, a feature visualisation from noise.

    objective: a text as `parse_objective` reads it, one of Lucent's, or any function of T, where T(layer) is an activation, that
    returns what to minimise. start: a photograph, as a file or (C, H, W) in [0, 1], or None for noise. choices: the fields of Recipe.
    From noise and without octaves, pictures smaller than the model's input are shown to it enlarged to that, as Lucent does at 224.

    Ctrl-C returns what there is, with a note. Model and photograph stay as they were, and so do the global random generators. Raises
    FeatvisError for choices that do not exist or do not fit, an objective that the network does not have, and one that gives no gradient.
    """
    recipe = Recipe(**choices)
    with seeded(recipe.seed):
        render, notes = _render(model, objective, start, recipe, progress)
        picture, gradient = render.run()
    settings = {
        **render.model.settings(),
        **render.recipe.settings(),
        "size": list(render.recipe.size or ()),
        "start": str(start) if isinstance(start, str | Path) else "noise" if start is None else "a tensor",
        "objective": render.text,
        "layers": [layer or "labels" for layer in render.activations.layers],
        "prepared": render.activations.prepared,
        "total_stride": render.total_stride,
        "steps_done": len(render.history),
        "versions": versions(),
    }
    return Dream(
        picture=_on_host(picture).clamp(0, 1),
        gradient=_on_host(-gradient),
        history=tuple(torch.stack(render.history).tolist()),
        total_stride=render.total_stride,
        settings=settings,
        notes=tuple(dict.fromkeys((*render.model.notes, *notes, *render.activations.notes, *render.notes))),
        frames=tuple(_on_host(resized(frame, picture.shape[2:])).clamp(0, 1) for frame in render.frames),
        interrupted=render.interrupted,
        strided=tuple(render.activations.strided),
    )


def check(
    model: Model | nn.Module, objective: Objective | str, start: Tensor | str | Path | None = None, **choices: Any
) -> None:
    """Does all that `dream` with the same arguments does before its first picture, and raises what that raises."""
    recipe = Recipe(**choices)
    with seeded(recipe.seed):
        _render(model, objective, start, recipe, lambda done, total, value: None)


def _render(
    model: Model | nn.Module,
    objective: Objective | str,
    start: Tensor | str | Path | None,
    recipe: Recipe,
    progress: Progress,
) -> tuple[Render, tuple[str, ...]]:
    """A run that is ready for its first step, and what there is to say of the photograph."""
    model = model if isinstance(model, Model) else _model_of(model, start, recipe.size)
    photograph, notes = _photograph(model, start, recipe.size)
    size = recipe.size or (model.input_size[1:] if photograph is None else (photograph.shape[1], photograph.shape[2]))
    recipe = recipe.resolved(photograph is not None, size)
    function = parse_objective(objective, model) if isinstance(objective, str) else objective
    text = objective if isinstance(objective, str) else getattr(objective, "description", repr(objective))
    return Render(model, function, text, photograph, recipe, progress), notes


def _model_of(module: nn.Module, start: Tensor | str | Path | None, size: tuple[int, int] | None) -> Model:
    """A Model of a bare network, which takes pixels as they are."""
    if isinstance(start, Tensor) and start.ndim == 3:
        channels = len(start)
    else:
        channels = next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), 3)
    return Model(module, type(module).__name__, (channels, *(size or (224, 224))))


def _photograph(
    model: Model, start: Tensor | str | Path | None, size: tuple[int, int] | None
) -> tuple[Tensor | None, tuple[str, ...]]:
    """The picture to start from, (C, H, W) in [0, 1], in the size that was asked for, and what there is to say of its file."""
    channels = model.input_size[0]
    notes: tuple[str, ...] = ()
    if start is None:
        return None, notes
    if isinstance(start, Tensor):
        if start.ndim != 3 or len(start) != channels or 0 in start.shape or not start.is_floating_point():
            raise FeatvisError(
                f"a start of {start.dtype} and shape {tuple(start.shape)}; expected floats in [0, 1], ({channels}, H, W)"
            )
        photograph = start.detach()
        if not bool(((photograph >= 0) & (photograph <= 1)).all()):
            raise FeatvisError("the start has values outside of [0, 1]; give pixels before their normalisation")
    else:
        picture = load_picture(start, channels)
        photograph, notes = prepare(picture, None, None, model.interpolation), picture.notes
    if size is None or photograph.shape[1:] == size:
        return photograph, notes
    # As large as needed to cover the size, then its centre.
    height, width = photograph.shape[1:]
    factor = max(size[0] / height, size[1] / width)
    grown = max(size[0], round(height * factor)), max(size[1], round(width * factor))
    top, left = (grown[0] - size[0]) // 2, (grown[1] - size[1]) // 2
    photograph = resized(photograph.unsqueeze(0), grown)[0].clamp(0, 1)
    return photograph[:, top : top + size[0], left : left + size[1]], notes


def _on_host(pictures: Tensor) -> Tensor:
    """(B, C, H, W) as float32 on the host, a single one as (C, H, W)."""
    pictures = pictures.detach().float().cpu()
    return pictures[0] if len(pictures) == 1 else pictures
