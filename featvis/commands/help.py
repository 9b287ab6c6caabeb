"""Commands whose help stands in groups, with examples, and which all take --wide."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import click

from featvis.commands.tables import wrapped
from featvis.commands.terminal import WIDE

GROUPS = {
    "Network": ("weights", "seed", "mean", "std", "size", "channels", "device", "output", "category", "latent"),
    "Pictures": ("score", "limit", "skip_bad", "labels", "calibrate", "real", "pictures", "count", "batch_size", "workers"),
    "Options": (),
    "Output": ("out", "figure", "json_path", "html_path", "gif", "save", "profile_path", "tensorboard", "wide"),
}  # fmt: skip
"""Which parameters stand together; "Options" has all that no other group names."""

COLUMN = 28
"""Where the help of an option begins."""

LONGEST = 40
"""Characters of an option with its choices; where they are more, the choices stand in the help."""


class Command(click.Command):
    """examples: command lines, of which each command shows at least two."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = tuple(examples)
        self.params.append(
            click.Option(
                ["--wide"], is_flag=True, expose_value=False, callback=_widen, help="Print all columns, however wide."
            )
        )

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        # Not as click does it, which breaks names at their hyphens.
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            formatter.write("\n")
            _write(formatter, " ".join(paragraph.split()), "  ", "  ")
        formatter.write("\nExamples:\n")
        formatter.write("".join(f"  {line}\n" for example in self.examples for line in example.splitlines()))

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for title, records in grouped(self, context).items():
            formatter.write(f"\n{title}:\n")
            for names, said in records:
                beside = f"  {names}".ljust(COLUMN)
                if len(f"  {names}") > COLUMN - 2:
                    formatter.write(f"  {names}\n")
                    beside = " " * COLUMN
                _write(formatter, said, beside, " " * COLUMN)


def _write(formatter: click.HelpFormatter, text: str, first: str, later: str) -> None:
    formatter.write("".join(f"{line}\n" for line in wrapped(text, formatter.width, first, later)))


def _widen(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[WIDE] = value


def command(*, examples: Sequence[str], **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Makes a function a command of `featvis`; settings: those of click."""
    return click.command(cls=Command, examples=examples, **settings)


def grouped(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Each option of a command, by group: its names, and what it says."""
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in GROUPS}
    home = {name: title for title, names in GROUPS.items() for name in names}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            groups[home.get(str(parameter.name), "Options")].append(_short(parameter, record))
    return {title: records for title, records in groups.items() if records}


def _short(parameter: click.Parameter, record: tuple[str, str]) -> tuple[str, str]:
    """An option whose choices are too many to stand beside its name has them at the end of its help."""
    names, said = record
    if not isinstance(parameter.type, click.Choice) or len(names) <= LONGEST:
        return record
    text, mark, extra = said.partition("  [")
    return f"{names.partition(' [')[0]} NAME", f"{text} NAME: {', '.join(parameter.type.choices)}.{mark}{extra}"
