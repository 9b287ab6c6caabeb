"""What several commands were asked for, as values that travel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from featvis.gradients.attributions import Attribution
    from featvis.models.model import Model

Command = TypeVar("Command", bound=Callable[..., Any])


def as_one(name: str, kind: type, *parameters: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Gives a command these click parameters, in this order, and hands it what they say as one value of a dataclass.

    name: under which the command takes the value. kind: the dataclass; its fields have the parameters' names.
    """
    parts = {part.name for part in fields(kind)}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def taking_one(*arguments: Any, **options: Any) -> Any:
            its = {option: value for option, value in options.items() if option in parts}
            others = {option: value for option, value in options.items() if option not in parts}
            return command(*arguments, **{name: kind(**its)}, **others)

        decorated: Any = taking_one
        for parameter in reversed(parameters):
            decorated = parameter(decorated)
        return decorated

    return decorate


@dataclass(frozen=True)
class NetworkAsked:
    """A network and its input. The fields are as `load_model` takes them; spec is empty where the command's arguments do not tell it."""

    weights: str | None
    seed: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    size: tuple[int, int] | None
    channels: int | None
    device: str
    output: str | None = None
    spec: str = ""

    def model(self) -> Model:
        """The Model, loaded."""
        from featvis.models.specs import load_model

        preprocessing = {name: getattr(self, name) for name in ("mean", "std", "size", "channels")}
        return load_model(self.spec, self.weights, self.seed, self.device, output=self.output, **preprocessing)


@dataclass(frozen=True)
class GradientAsked:
    """Pictures, and what is made of the gradient at them; profile: a file. method: one or several, in the order that they were given."""

    pictures: tuple[str, ...]
    score: str
    method: tuple[Attribution, ...]
    compensate: Attribution
    profile: str | None
    limit: int | None
    skip_bad: bool

    def paths(self) -> list[Path]:
        """The picture files."""
        return picture_files(self.pictures, self.limit)

    def attribution(self) -> Attribution:
        """The method with its compensation, and with the profile where one is given; raises FeatvisError for several methods."""
        if len(self.method) > 1:
            raise FeatvisError(
                f"{len(self.method)} methods are given; give --method once, or draw several with `featvis grad`"
            )
        return self.attributions()[0]

    def attributions(self) -> list[Attribution]:
        """The same of each method, each once."""
        return [with_profile(self.compensate.around(method), self.profile) for method in dict.fromkeys(self.method)]


@dataclass(frozen=True)
class GeneratorsAsked:
    """Ways of upsampling in a generator; upsample: names with commas between them. None where an option was not given."""

    generator: str | None = None
    upsample: str | None = None
    samples: int | None = None


def picture_files(given: tuple[str, ...], limit: int | None) -> list[Path]:
    """The picture files of files, folders and globs, at most so many."""
    from featvis.data.pictures import find_pictures

    return find_pictures(given)[:limit]


def with_profile(attribution: Attribution, path: str | None) -> Attribution:
    """The same with the measured profile in a file, where it needs one."""
    from featvis.audit.record import load_profile

    return attribution if path is None else attribution.with_profile(load_profile(path)[0])
