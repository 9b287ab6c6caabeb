"""The tables that commands print, and terminals of every width and encoding."""

import os
import subprocess
import sys

import pytest
import torch
from helpers.running import ZOO, run, save_pictures
from safetensors.torch import save_file

from featvis.commands.tables import print_table, table_lines

HEADS = ["layer", "kernel size", "own E, measured", "share of it"]
ROWS = [["backbone.body.layer1.0.conv1", "3x3", "0.2900 ± 0.0040", "+95 %"], ["b", "1x1", "-", "-"]]


def test_tables_keep_what_they_are_given(capsys):
    print_table(
        "[red]title[/red]", ("first", "second"), [("[bold]a", 1), ("b" * 150, "ü" * 40), ("", None), ("a\x1b\n", "")]
    )
    output = capsys.readouterr().out
    for text in ("[red]title[/red]", "[bold]a", "b" * 150, "ü" * 40, "-", r"a\x1b\n"):
        assert text in output
    assert "\x1b" not in output


def test_in_a_pipe_nothing_is_cut():
    lines = table_lines(HEADS, ROWS, None)
    assert [line.split() for line in lines[1:2]] == [" ".join(HEADS).split()]
    assert lines[3].split() == " ".join(ROWS[0]).split()


@pytest.mark.parametrize("width", [80, 66, 60, 50, 40, 20])
def test_names_and_numbers_are_never_broken(width):
    lines = table_lines(HEADS, ROWS, width)
    text = "\n".join(lines)
    assert ROWS[0][0] in text
    assert max(map(len, lines)) <= max(width, len(ROWS[0][0]) + 4)
    told = "have no room for" in " ".join(text.split())
    assert told == (ROWS[0][2] not in text or ROWS[0][3] not in text)
    for head in HEADS:
        assert all(word in text for word in head.split())


def test_a_wide_table_is_turned_on_its_side():
    heads, row = ["variant", *(f"number {n}" for n in range(20))], ["original", *map(str, range(20))]
    lines = table_lines(heads, [row], 80)
    assert lines[1].split() == ["variant", "original"]
    assert lines[-2].split() == ["number", "19", "19"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_encoding_takes_every_text(encoding):
    code = (
        "from featvis.commands.tables import print_table; from featvis.commands.terminal import show_everywhere; "
        "show_everywhere(); "
        "print_table('a ± b × c √ 中', ('one',), [('→ ½',)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert run.returncode == 0, run.stderr
    if encoding == "cp1252":
        assert run.stdout.decode("cp1252").splitlines()[0] == "a ± b × c sqrt ?"


ODD = "a\x1b[2J\x07\u202e\r\nb"
"""What clears a terminal, rings its bell, turns the reading direction and begins a line."""

NETWORK = f"""
from torch import nn

def net():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    wrapped = nn.Module()
    wrapped.forward = network.forward
    wrapped.add_module({ODD!r}, network)
    return wrapped

def fails():
    raise ValueError({ODD!r})
"""


def test_text_of_others_does_not_steer_the_terminal(tmp_path, monkeypatch):
    """Names of pictures and layers, what a user's code raises, and metadata of weights, on standard output and error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    picture = save_pictures(tmp_path / "pictures", 2)[0]
    picture.rename(picture.with_name(f"{ODD}.png"))
    (tmp_path / "pictures" / f"{ODD}2.png").write_bytes(b"broken")
    weight = {"0.weight": torch.zeros(1)}
    save_file(weight, tmp_path / "spec.safetensors", {"fixes": "backward-even", "spec": ODD})
    save_file(weight, tmp_path / "fixes.safetensors", {"fixes": ODD})
    save_file({ODD: torch.zeros(1)}, tmp_path / "names.safetensors")
    small = ("--size", "32", "--skip-bad")
    commands = {
        "grad": ("grad", ZOO, "pictures", *small, "--out", f"out{ODD}"),
        "audit": ("audit", "net.py:net", "pictures", *small, "--culprits"),
        "layers": ("layers", "net.py:net"),
        "missing": ("grad", ZOO, f"missing{ODD}.png"),
        "broken": ("grad", ZOO, f"pictures/{ODD}2.png"),
        "factory": ("layers", "net.py:fails"),
        "spec": ("layers", ODD),
        **{name: ("grad", ZOO, "pictures", "--weights", f"{name}.safetensors") for name in ("spec", "fixes", "names")},
    }
    seen = 0
    for name, arguments in commands.items():
        result = run(*arguments)
        said = result.stdout + result.stderr
        assert said, name
        for letter in ("\x1b", "\x07", "\u202e", "\r"):
            assert letter not in said, (name, letter)
        seen += "x1b[2J" in said
    assert seen == len(commands)
