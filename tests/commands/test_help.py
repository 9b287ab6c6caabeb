"""The help of every command: options in groups, and examples that the command line takes."""

import shlex

import click
import pytest
from helpers.running import printed

from featvis.commands.cli import COMMANDS, main
from featvis.commands.help import GROUPS, grouped


def command_named(name):
    command = main.get_command(click.Context(main, info_name="featvis"), name)
    return command, click.Context(command, info_name=name)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_taken(name):
    command, _ = command_named(name)
    assert len(command.examples) >= 2
    text = printed(name, "--help")
    for example in command.examples:
        assert all(line in text for line in example.splitlines())
        words = shlex.split(example.replace("\\\n", " "))
        assert words[words.index("featvis") + 1] == name
        command.make_context(name, words[words.index("featvis") + 2 :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_one_group(name):
    command, context = command_named(name)
    groups = grouped(command, context)
    listed = [names for records in groups.values() for names, _ in records]
    assert len(listed) == len({*listed})
    assert len(listed) == sum(isinstance(parameter, click.Option) for parameter in command.get_params(context))
    assert any("--wide" in names for names, _ in groups["Output"])
    lines = printed(name, "--help").splitlines()
    assert [line[:-1] for line in lines if line[:-1] in GROUPS and line.endswith(":")] == list(groups)


def test_groups_name_what_there_is():
    known = {str(parameter.name) for name in COMMANDS for parameter in command_named(name)[0].params}
    assert {name for names in GROUPS.values() for name in names} <= known


def test_long_choices_stand_in_the_help():
    words = printed("fix", "--help").split()
    assert "NAME:" in words
    assert "backward-smooth-maxpool," in words


def test_the_whole_command_line_has_examples():
    assert printed("--help").count("\n    featvis ") == 2
