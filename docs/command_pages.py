"""The directive `command`: what a command takes, with its help, read from the command line itself."""

from __future__ import annotations

from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive

from featvis.commands.cli import main
from featvis.commands.help import grouped


def command_named(name: str) -> tuple[click.Command, click.Context]:
    """A command of `featvis`, and a context that knows its name."""
    context = click.Context(main, info_name="featvis")
    command = main.get_command(context, name)
    if command is None:
        raise ValueError(f"there is no command {name!r}; there are {', '.join(main.list_commands(context))}")
    return command, click.Context(command, info_name=name, parent=context)


def described(name: str) -> tuple[list[str], str, str, dict[str, list[tuple[str, str]]]]:
    """What a command does, by paragraph, how it is called, its examples, and each option with its help, by group."""
    command, context = command_named(name)
    usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    paragraphs = [" ".join(paragraph.split()) for paragraph in (command.help or "").strip().split("\n\n")]
    return paragraphs, usage, "\n".join(getattr(command, "examples", ())), grouped(command, context)


def code(text: str) -> nodes.Node:
    """Text as it is."""
    return nodes.literal_block(text, text, language="text")


class CommandDirective(Directive):
    """```{command} NAME"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        paragraphs, usage, examples, groups = described(self.arguments[0])
        found: list[nodes.Node] = [code(examples), *(nodes.paragraph(text, text) for text in paragraphs), code(usage)]
        for title, options in groups.items():
            entries = nodes.definition_list()
            for names, said in options:
                term = nodes.term("", "", nodes.literal(names, names))
                entries += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(said, said)))
            found += [nodes.rubric(title, title), entries]
        return found


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
