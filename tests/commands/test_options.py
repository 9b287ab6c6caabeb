"""What the commands share: parameters, and places that can be written."""

import click
import pytest

from featvis.commands.options import (
    Numbers,
    Registry,
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


@pytest.mark.parametrize("text", ["", "x", "48x", "0", "0x5", "-3", "1.5", "3x4x5", "224px", "²"])
def test_no_sizes(text):
    with pytest.raises(click.BadParameter, match="is not a size; write 224, or 224x320"):
        Size().convert(text, None, None)


def test_a_registry_reads_the_keys_of_a_dict(tmp_path, monkeypatch):
    source = 'import nothing_like_this\nOTHER = {"z": 1}\nTHINGS: dict[str, int] = {"b": 1, "a": nothing_like_this.a}\n'
    (tmp_path / "registry_of_a_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(Registry("registry_of_a_test", "THINGS").choices) == ["b", "a"]


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
