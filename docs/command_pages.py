"""The directive `command`: what a command takes, with its help, read from the command line itself."""

from __future__ import annotations

import inspect
from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive

from featvis.commands.cli import main

AS_IT_IS = "\b\n"


def command_named(name: str) -> tuple[click.Command, click.Context]:
    """A command of `featvis`, and a context that knows its name."""
    context = click.Context(main, info_name="featvis")
    command = main.get_command(context, name)
    if command is None:
        raise ValueError(f"there is no command {name!r}; there are {', '.join(main.list_commands(context))}")
    return command, click.Context(command, info_name=name, parent=context)


def described(name: str) -> tuple[list[str], str, list[tuple[str, str]]]:
    """What a command does, by paragraph, how it is called, and each option with its help.

    Paragraphs that click leaves as they are, examples, begin with click's mark for them.
    """
    command, context = command_named(name)
    options = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    records = [record for option in options if (record := option.get_help_record(context)) is not None]
    usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    return (command.help or "").strip().split("\n\n"), usage, records


def shown(paragraph: str) -> nodes.Node:
    """A paragraph of text, or examples as they are."""
    if paragraph.startswith(AS_IT_IS):
        code = inspect.cleandoc(paragraph.removeprefix(AS_IT_IS))
        return nodes.literal_block(code, code, language="text")
    text = " ".join(paragraph.split())
    return nodes.paragraph(text, text)


class CommandDirective(Directive):
    """```{command} NAME"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        paragraphs, usage, options = described(self.arguments[0])
        entries = nodes.definition_list()
        for names, said in options:
            term = nodes.term("", "", nodes.literal(names, names))
            entries += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(said, said)))
        call = nodes.literal_block(usage, usage, language="text")
        return [*map(shown, paragraphs), call, entries]


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
