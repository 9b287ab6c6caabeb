"""Options that several commands share."""

from __future__ import annotations

import contextlib
import importlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featvis.commands import choices
from featvis.commands.asked import GradientAsked, NetworkAsked, as_one
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


class Attributions(click.Choice):
    """A key of a registry of attributions, with parameters as in smoothgrad:samples=50,noise=.1; several joined by +. Gives the object."""

    def __init__(self, what: str, names: Sequence[str], module: str, registry: str) -> None:
        super().__init__(names)
        self.what, self.module, self.registry = what, module, registry

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        for part in value.split("+"):
            super().convert(part.partition(":")[0], parameter, context)
        from featvis.gradients.attributions import named

        try:
            return named(getattr(importlib.import_module(self.module), self.registry), self.what, value)
        except FeatvisError as error:
            self.fail(str(error), parameter, context)


class Numbers(click.ParamType):
    """One number, or comma-separated numbers, one for each channel."""

    name = "number[,number...]"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number, or numbers separated by commas", parameter, context)
        if not all(map(math.isfinite, numbers)):
            self.fail(f"{value!r} holds what is no finite number", parameter, context)
        return numbers


class Finite(click.FloatRange):
    """A number within a range, and neither NaN nor infinite."""

    name = "number"

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        number: float = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", parameter, context)
        return number


class Size(click.ParamType):
    """Pixels of a square, or HEIGHTxWIDTH."""

    name = "pixels|HxW"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() and len(part) < 10 and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size; write 224, or 224x320 for height x width", parameter, context)
        return int(parts[0]), int(parts[-1])


class BatchSize(click.ParamType):
    """Pictures at a time, or None for "auto"."""

    name = "number|auto"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if not str(value).isdecimal() or len(str(value)) > 9 or int(value) < 1:
            self.fail(f"{value!r:.40} is not a batch size; give a number from 1 on, or auto", parameter, context)
        return int(value)


METHOD = Attributions("method", choices.METHODS, "featvis.gradients.attributions", "METHODS")
COMPENSATION = Attributions("compensation", choices.COMPENSATIONS, "featvis.gradients.compensations", "COMPENSATIONS")


NETWORK = (
    click.option("--weights", help="A torchvision enum name, DEFAULT, none (random), or a .pth / .safetensors file."),
    click.option("--seed", default=0, show_default=True, help="For random weights and every other random draw."),
    click.option("--mean", type=Numbers(), help="Mean of the input, for pixels in [0, 1]; one, or one a channel."),
    click.option("--std", type=Numbers(), help="Standard deviation of the input, likewise."),
    click.option("--size", type=Size(), help="Input size, where it is not the network's own."),
    click.option("--channels", type=click.IntRange(1), help="Input channels, where they are not the network's own."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
    click.option("--output", help="Name or number of the output to take, where the network returns several."),
)

network_options = as_one("network", NetworkAsked, *NETWORK)
"""Everything about a network but its name, as `network`."""

model_options = as_one("network", NetworkAsked, click.argument("spec", metavar="MODEL"), *NETWORK)
"""The model argument and everything else about a network, as `network`."""

gradient_options = as_one(
    "gradient",
    GradientAsked,
    click.argument("pictures", nargs=-1, required=True, type=click.Path()),
    click.option(
        "--score",
        default="top",
        show_default=True,
        help="top, a class index or label, layer:channel, seeds or seeds:layer.",
    ),
    click.option(
        "--method",
        type=METHOD,
        default=("vanilla",),
        show_default="vanilla",
        multiple=True,
        help="How the gradient becomes an attribution; smoothgrad:samples=50,noise=.1 sets parameters.",
    ),
    click.option(
        "--compensate",
        type=COMPENSATION,
        default="none",
        show_default=True,
        help="How the attribution is treated; jitter:shifts=32 sets a parameter.",
    ),
    click.option("--profile", type=click.Path(), help="A profile of `audit --save-profile`, for equalise."),
    click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures."),
    click.option("--skip-bad", is_flag=True, help="Count pictures that cannot be read, and go on."),
)
"""Pictures, and the score, method and compensation of the gradient at them, as `gradient`."""


def check_writable(*paths: str | None) -> None:
    """Raises FeatvisError before the work where a file could not be written after it, or would replace another one of them."""
    from featvis.files import check_file, is_standard_output

    given = [path for path in paths if path is not None]
    if len({Path(path).resolve() for path in given}) < len(given):
        raise FeatvisError(f"{given[0]!r} is given twice; give each file a name of its own")
    for path in given:
        check_file(path)
        if is_standard_output(path):
            # What the command prints itself would stand within the file.
            click.get_current_context().with_resource(contextlib.redirect_stdout(sys.stderr))


@contextlib.contextmanager
def bars(*columns: ProgressColumn, shown: bool = True) -> Iterator[Progress]:
    """Rich's progress bars on the terminal's error stream; nothing where that is not a terminal. columns: rich's own by default."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        yield bar


@contextlib.contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """One such bar, which is told how much of the total is done."""
    with bars() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
