"""`featvis dream`: feature visualisation from noise and DeepDream from a photograph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featvis.commands import choices
from featvis.commands.asked import as_one
from featvis.commands.dream_files import (
    FILES,
    FilesAsked,
    Made,
    print_dreams,
    write_comparison,
    write_dream,
    write_sheet,
)
from featvis.commands.help import command
from featvis.commands.options import COMPENSATION, Finite, bars, model_options
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor

    from featvis.commands.asked import NetworkAsked
    from featvis.dream.comparison import Measured
    from featvis.dream.recipe import Recipe
    from featvis.gradients.attributions import Attribution
    from featvis.models.model import Model

OCTAVES, JITTER = 4, 32
"""From a photograph, and in a comparison: Google's notebook (Mordvintsev, Olah and Tyka 2015)."""

LARGEST_SIDE = 1024
"""Larger photographs are reduced to so many pixels, unless --size says otherwise."""

CALIBRATION = 16
"""Noise pictures at which a fix that has to be calibrated is."""

GIF_FRAMES = 40
"""At most so many pictures make an animation, and the last one."""


@dataclass(frozen=True)
class StepsAsked:
    """How the picture climbs; None where the photograph, or that there is none, decides."""

    octaves: int | None
    octave_scale: float
    jitter: int | None
    steps: int | None
    rate: float | None
    strength: float
    param: str | None
    ascent: str | None
    schedule: str
    compensation: Attribution


@command(
    short_help="Feature visualisation and DeepDream.",
    examples=(
        "featvis dream resnet50 photo.jpg",
        "featvis dream resnet50 photo.jpg --objective layer3.2.conv2 --strength 2",
        "featvis dream resnet50 --objective layer4:0-15 --size 224",
        "featvis dream resnet50 photo.jpg --objective layer3 --compare --out grid.png",
    ),
)
@model_options
@as_one("asked", StepsAsked)
@as_one("files", FilesAsked, *FILES)
@click.argument("photo", required=False, type=click.Path())
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    help="LAYER, LAYER:CHANNEL, a class's label or number, neuron:LAYER:CHANNEL, direction:LAYER:FILE.npy, total-variation, blur; "
    "several are added, weighted as in 'layer3:1+0.5*tabby'. LAYER:0-15 makes a sheet of channels. Where none is given: a layer in "
    "the middle of the network.",
)
@click.option(
    "--octaves", type=click.IntRange(1), help="Sizes, from small to whole; 4 from a photograph, 1 from noise."
)
@click.option(
    "--octave-scale", default=1.4, show_default=True, help="From one octave to the next; 1/1.4 means the same."
)
@click.option(
    "--jitter",
    type=click.IntRange(0),
    help="Pixels by which each step shifts the picture at most, 0: a fixed position; 32 from a photograph. From noise it takes the "
    "place of Lucent's random shifts, scales and rotations.",
)
@click.option("--steps", type=click.IntRange(1), help="In each octave; 20 from a photograph, 512 in all from noise.")
@click.option("--rate", type=Finite(), help="Size of a step; 1.5/255 from a photograph, .05 from noise.")
@click.option(
    "--strength",
    type=Finite(),
    default=1.0,
    show_default=True,
    help="How strongly each step changes the picture: 2 is twice as much.",
)
@click.option(
    "--param",
    type=click.Choice(choices.PARAMETERISATIONS),
    help="What is optimised; plain from a photograph, fourier from noise.",
)
@click.option(
    "--ascent",
    type=click.Choice(choices.ASCENTS),
    help="How a gradient becomes a step; mean-absolute from a photograph, adam from noise.",
)
@click.option(
    "--schedule",
    type=click.Choice(choices.SCHEDULES),
    default="constant",
    show_default=True,
    help="How the size of a step changes.",
)
@click.option(
    "--compensate",
    "compensation",
    type=COMPENSATION,
    default="none",
    show_default=True,
    help="How each step's gradient is treated; jitter:shifts=32 sets a parameter.",
)
@click.option(
    "--with",
    "--fix",
    "fix",
    type=click.Choice(choices.FIXES),
    help="Dream through a repaired copy of the network; with --compare, in its last cell (backward-even).",
)
@click.option("--compare", is_flag=True, help="A grid of dreams instead, each with one thing changed, and its numbers.")
def dream(
    network: NetworkAsked,
    asked: StepsAsked,
    files: FilesAsked,
    photo: str | None,
    objectives: tuple[str, ...],
    fix: str | None,
    compare: bool,
) -> None:
    """Change PHOTO, or noise, so that a layer, a channel or a class responds more strongly, step by step."""
    from featvis.dream.middle import middle_layer
    from featvis.dream.objectives import parse_objective, several_channels

    channels = several_channels(objectives[0]) if len(objectives) == 1 else []
    sheet = len(channels) > 1
    if compare and sheet:
        raise FeatvisError("--compare takes one objective, not several channels; give LAYER:CHANNEL")
    files.check("--compare" if compare else "several channels" if sheet else "")
    if compare and asked.compensation.settings()["compensation"] != "none":
        raise FeatvisError("--compare shows what compensations do by itself; leave --compensate out")
    model = network.model()
    files.check_channels(model.input_size[0])
    text = " + ".join(objectives) or middle_layer(model)
    for part in channels or [text]:
        parse_objective(part, model)  # what it does not find is an error before the work
    start, notes = (None, []) if photo is None else _start(model, photo, network.size is not None)
    if not objectives:
        notes.append(f"the objective is {text}, a layer in the middle of the network; --objective gives another")
    recipe = _recipe(asked, network.seed, start is None, compare)
    fix = fix or ("backward-even" if compare else None)
    repaired = model if fix is None else _repaired(model, fix, network.seed)
    made = Made(
        start,
        f"{model.spec}, {text}",
        f"weights {Path(model.weights).name}, {Path(photo).name if photo else 'from noise'}",
        {**model.settings(), "photo": photo, "objective": text, "fix": fix, "seed": network.seed},
    )
    if compare:
        found = _compared(model, text, start, (str(fix), repaired), recipe)
        write_comparison(files, made, found, notes)
    elif sheet:
        found, left_out = _sheet(repaired, channels, start, recipe)
        notes += left_out
        write_sheet(files, made, found, notes)
    else:
        found = [_single(repaired, text, start, recipe, files.gif is not None)]
        write_dream(files, made, found[0], notes)
    written = ", ".join(files.given)
    print_dreams(written, found, sheet, [*model.notes, *notes])


def _start(model: Model, photo: str, sized: bool) -> tuple[Tensor, list[str]]:
    """The photograph's pixels (C, H, W) in [0, 1] and what a user should know about them."""
    from featvis.data.pictures import load_picture, prepare

    if sized:
        picture, pixels = model.load(photo)
        return pixels, list(picture.notes)
    picture = load_picture(photo, model.input_size[0])
    height, width = picture.size
    notes = list(picture.notes)
    resize = None
    if max(height, width) > LARGEST_SIDE:
        resize = max(1, round(min(height, width) * LARGEST_SIDE / max(height, width)))
        notes.append(f"{height} x {width} pixels reduced to {LARGEST_SIDE} along the longer side; --size gives others")
    return prepare(picture, resize, None, model.interpolation), notes


def _recipe(asked: StepsAsked, seed: int, from_noise: bool, compare: bool) -> Recipe:
    """The recipe that is asked for, with this command's defaults."""
    from featvis.dream.recipe import Recipe, usual_steps

    usual_octaves, usual_jitter = (OCTAVES, JITTER) if compare or not from_noise else (1, 0)
    octaves = asked.octaves or usual_octaves
    return Recipe(
        param=asked.param,
        steps=asked.steps or usual_steps(not from_noise, octaves),
        octaves=octaves,
        octave_scale=asked.octave_scale,
        jitter=usual_jitter if asked.jitter is None else asked.jitter,
        transforms=() if from_noise and (compare or asked.jitter is not None) else None,
        ascent=asked.ascent,
        rate=asked.rate,
        strength=asked.strength,
        schedule=asked.schedule,
        compensation=asked.compensation,
        seed=seed,
    )


def _repaired(model: Model, fix: str, seed: int) -> Model:
    """The network with a fix; where that has to be calibrated, at noise as strong as photographs are."""
    import torch

    from featvis.dream.parameterisations import natural_noise
    from featvis.dream.render import STRONG
    from featvis.repair.surgery import operate

    noise = natural_noise((CALIBRATION, *model.input_size), torch.Generator().manual_seed(seed), STRONG)
    module, _ = operate(model.module, fix, model.normalise(noise), seed)
    return replace(model, module=module)


def _single(model: Model, objective: str, start: Tensor | None, recipe: Recipe, animated: bool) -> Measured:
    from featvis.dream.comparison import timed_dream

    steps = (recipe.steps or 1) * recipe.octaves
    recipe = replace(recipe, frames_every=-(-steps // GIF_FRAMES) if animated else 0)
    with _bar() as progress:
        return timed_dream("dream", model, objective, start, progress=progress("dream"), **vars(recipe))


def _compared(
    model: Model, objective: str, start: Tensor | None, repaired: tuple[str, Model], recipe: Recipe
) -> list[Measured]:
    from featvis.dream.comparison import compare_dreams

    with _bar() as progress:
        return compare_dreams(model, objective, start, repaired, progress=progress, **vars(recipe))


def _sheet(
    model: Model, objectives: Sequence[str], start: Tensor | None, recipe: Recipe
) -> tuple[list[Measured], list[str]]:
    from featvis.dream.comparison import dream_sheet

    with _bar() as progress:
        return dream_sheet(model, objectives, start, progress=progress, **vars(recipe))


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str], Callable[[int, int, float], None]]]:
    """Progress bars that show the objective, on the terminal's error stream; nothing where that is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    value = TextColumn("objective {task.fields[value]:.4g}")
    with bars(*columns, value) as bar:

        def start(title: str) -> Callable[[int, int, float], None]:
            task = bar.add_task(title, value=float("nan"))
            return lambda done, total, value: bar.update(task, completed=done, total=total, value=value)

        yield start
