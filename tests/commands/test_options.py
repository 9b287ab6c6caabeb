"""What the commands share: parameters, and places that can be written."""

import importlib

import click
import pytest

from featvis.commands import choices
from featvis.commands.options import (
    BatchSize,
    Numbers,
    Size,
    check_writable,
    progress_bar,
)
from featvis.errors import FeatvisError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(".5", (0.5,)), ("1", (1.0,)), ("0.1,0.2,0.3", (0.1, 0.2, 0.3)), ("1e-3, 2", (0.001, 2.0)), ("-1", (-1.0,))],
)
def test_numbers(text, numbers):
    assert Numbers().convert(text, None, None) == numbers


@pytest.mark.parametrize("text", ["", "a", "1;2", "1,", ",", "1 2"])
def test_no_numbers(text):
    with pytest.raises(click.BadParameter, match="is not a number, or numbers separated by commas"):
        Numbers().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"), [("224", (224, 224)), ("48x64", (48, 64)), ("48X64", (48, 64)), ("1", (1, 1))]
)
def test_sizes(text, size):
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "x", "48x", "0", "0x5", "-3", "1.5", "3x4x5", "224px", "²", "9" * 5000])
def test_no_sizes(text):
    with pytest.raises(click.BadParameter, match="is not a size; write 224, or 224x320"):
        Size().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "all", "1" + "0" * 30, "9" * 5000])
def test_no_batch_sizes(text):
    with pytest.raises(click.BadParameter, match="is not a batch size; give a number from 1 on, or auto"):
        BatchSize().convert(text, None, None)


@pytest.mark.parametrize(
    ("names", "module"),
    [
        ("METHODS", "featvis.gradients.attributions"),
        ("COMPENSATIONS", "featvis.gradients.compensations"),
        ("FIXES", "featvis.repair.surgery"),
        ("PARAMETERISATIONS", "featvis.dream.parameterisations"),
        ("ASCENTS", "featvis.dream.ascent"),
        ("SCHEDULES", "featvis.dream.ascent"),
        ("LATENTS", "featvis.gan.networks"),
    ],
)
def test_choices_are_the_keys_of_their_registry(names, module):
    assert getattr(choices, names) == tuple(getattr(importlib.import_module(module), names))


def test_places_are_checked(tmp_path):
    check_writable(None)
    check_writable(str(tmp_path / "new" / "a.json"), None, str(tmp_path / "b.json"))
    assert (tmp_path / "new").is_dir()
    assert not list(tmp_path.rglob("*.json"))
    for paths, said in (
        ([tmp_path], "is a folder"),
        ([tmp_path / "a.json", tmp_path / "new" / ".." / "a.json"], "is given twice"),
    ):
        with pytest.raises(FeatvisError, match=said):
            check_writable(*map(str, paths))


def test_progress_is_for_terminals(capsys):
    with progress_bar("work", 3) as progress:
        progress(1)
        progress(3)
    assert capsys.readouterr() == ("", "")
