"""`featvis overlap` prints the article's figures and refuses what it cannot count."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from featvis.commands.overlap import overlap
from featvis.errors import FeatvisError


def printed(*arguments):
    result = CliRunner().invoke(overlap, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def block(output, heading):
    """The lines below a heading, up to the next empty line; a table begins after one."""
    lines = output.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(heading)) + 1
    start += not lines[start]
    stop = next((index for index in range(start, len(lines)) if not lines[index]), len(lines))
    return lines[start:stop]


def test_one_dimension():
    output = printed("3,2", "--dims", "1")
    assert output.startswith("From the pixels to the score: k3 s2; total stride 2.")
    assert block(output, "Windows") == ["  1 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 1"]
    assert block(output, "One period") == ["  2 1"]
    assert block(output, "Checkerboard energy")[2].split() == ["2", "0.1111", "0.1111"]
    assert block(output, "How to balance") == [
        "  1. k3 s2: E 0.1111 alone; the stack would have 0.0000 with kernel 2, 0.0000 with kernel 4"
    ]


def test_two_dimensions():
    grid = [line.split() for line in block(printed("3,2", "--positions", "6x4"), "Windows")]
    numbers = np.array(grid, dtype=int)
    assert numbers.shape == (13, 9)
    assert [(numbers == count).sum() for count in (1, 2, 4)] == [48, 54, 15]


def test_energies_by_period():
    table = block(printed("3,2,1", "3,2,1"), "Checkerboard energy")
    assert [line.split() for line in table[2:]] == [["2", "0.2346", "0.2346"], ["4", "0.2900", "0.0555"]]


def test_axes_that_differ():
    output = printed("3x5,2x3,1x2", "3,2,1,2x1", "--positions", "2")
    assert "k3 s2 p1 by k5 s3 p2, k3 s2 p1 d2 by k3 s2 p1; total stride 4 by 6." in output
    advice = block(output, "How to balance")
    assert [line.split()[:2] for line in advice] == [[n, axis] for n in ("1.", "2.") for axis in ("rows", "columns")]
    assert "no kernel is even while stride 2 and dilation 2 share a factor" in advice[2]
    assert len(block(output, "One period")) == 4


def test_large_pictures_are_shortened():
    output = printed("11,4,2", "3,2", "3,2")
    rows, columns, note = block(output, "Windows")
    assert rows.split()[1:] == columns.split()[1:]
    assert "... 79 more ..." in rows
    assert "product" in note
    assert all(len(line) < 200 for line in output.splitlines())


def test_without_a_stride():
    assert "expected with random weights: 0, since nothing is strided" in printed("3,1", "--dims", "1")
    assert block(printed("3,1"), "How to balance") == ["  1. k3 s1: even"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("three",),
        ("3,0",),
        ("3,2", "--positions", "0"),
        ("3,2", "--positions", "x"),
        ("3,2,5", "--positions", "1"),
        ("3x5,2", "--dims", "1"),
        ("3,2", "--dims", "1", "--positions", "6x4"),
        ("3,2",) * 40,
    ],
)
def test_bad_input_is_one_line(arguments):
    with pytest.raises(FeatvisError) as caught:
        CliRunner().invoke(overlap, arguments, catch_exceptions=False)
    assert "give" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dims", [1, 2])
def test_png_hands_counts_and_energies_to_the_plot(dims, monkeypatch, tmp_path):
    """The figure itself is drawn elsewhere; here only what it is given."""
    given = {}
    plots = ModuleType("featvis.plots")
    plots.overlap_figure = lambda *arguments: given.update(drawn=arguments) or "figure"
    plots.save_figure = lambda figure, path: given.update(saved=(figure, path)) or Path(path)
    monkeypatch.setitem(sys.modules, "featvis.plots", plots)
    monkeypatch.setattr("featvis.plots", plots, raising=False)
    path = str(tmp_path / "overlap.png")
    assert f"wrote {path}" in printed("3,2", "3,2", "--dims", str(dims), "--positions", "1", "--png", path)
    row, picture, energies, title = given["drawn"]
    assert row.tolist() == [1, 1, 2, 1, 2, 1, 1]
    assert (picture is None) if dims == 1 else (picture == np.outer(row, row)).all()
    assert energies == pytest.approx({2: 1 / 9, 4: 11 / 81} if dims == 1 else {2: 19 / 81, 4: (92 / 81) ** 2 - 1})
    assert title == "Overlap of k3 s2, k3 s2"
    assert given["saved"] == ("figure", path)


def test_help_loads_neither_numpy_nor_torch():
    code = (
        "import sys; from click.testing import CliRunner; from featvis.commands.overlap import overlap\n"
        "assert CliRunner().invoke(overlap, ['--help']).exit_code == 0\n"
        "assert not {'numpy', 'torch', 'rich', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("arguments", [("3,2,1", "3,2,1"), ("3,2", "--dims", "1"), ("3,1",)])
def test_png_is_a_picture(arguments, tmp_path):
    """Also without any stride, where there is no energy to draw."""
    path = tmp_path / "overlap.png"
    printed(*arguments, "--positions", "3", "--png", str(path))
    assert path.read_bytes().startswith(b"\x89PNG")
