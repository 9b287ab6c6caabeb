"""A command gets what it was asked for as one value; nothing of it is left over, and nothing else is taken."""

from dataclasses import FrozenInstanceError, dataclass

import click
import pytest
from click.testing import CliRunner

from featvis.commands.asked import NetworkAsked, as_one
from featvis.models.specs import load_model


@dataclass(frozen=True)
class Place:
    row: int
    column: int


@pytest.fixture
def command():
    @click.command()
    @as_one("place", Place, click.option("--row", default=1), click.option("--column", default=2))
    @click.option("--other", default=3)
    @click.pass_context
    def show(context, place, other):
        assert context.params == {"row": place.row, "column": place.column, "other": other}
        with pytest.raises(FrozenInstanceError):
            place.row = 0
        click.echo(f"{place} {other}")

    return show


def test_options_become_one_value(command):
    result = CliRunner().invoke(command, ["--column", "7"], catch_exceptions=False)
    assert result.output == "Place(row=1, column=7) 3\n"


def test_options_are_listed_in_the_order_given(command):
    assert [parameter.name for parameter in command.params] == ["row", "column", "other"]


def test_a_network_is_the_one_that_load_model_gives():
    asked = NetworkAsked("none", 3, (0.5,), (0.25,), (32, 48), None, "cpu", spec="zoo:cifar-k3s2")
    model = asked.model()
    expected = load_model("zoo:cifar-k3s2", "none", 3, "cpu", mean=(0.5,), std=(0.25,), size=(32, 48))
    assert model.settings() == expected.settings()
    for name, value in expected.module.state_dict().items():
        assert model.module.state_dict()[name].equal(value)
    assert (model.mean, model.std, model.input_size) == ((0.5,), (0.25,), (3, 32, 48))
