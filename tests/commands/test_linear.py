"""`featvis linear` prints a line for each layer, draws a figure, and refuses what it does not know in one line."""

import pytest
from helpers.running import printed, refused

from featvis import files


def rows(output):
    return {line.split()[0]: line.split() for line in output.splitlines() if line.startswith("  ") and " x " in line}


def test_a_table_of_layers():
    table = rows(printed("linear", "deconv3", "icnr3", "nearest3"))
    assert " ".join(table["deconv3"]) == "deconv3 16 x 8 3 3 8 2.206 1.017 1 2 0.3333 1.0000 0.1111"
    assert table["icnr3"][4:8] == ["3", "3", "7", "4.072"]
    assert table["icnr3"][8] == "0"
    assert table["nearest3"][-3:] == ["0.0000"] * 3


def test_strides_that_differ_and_random_weights():
    table = rows(printed("linear", "deconv3", "deconv4s4", "--weights", "random", "--seed", 3, "--length", 5))
    assert table["deconv3"][-5:-3] == ["-", "-"]
    assert table["deconv4s4"][-1] == "0.0000"
    assert float(table["deconv4s4"][-3]) > 0
    assert table != rows(printed("linear", "deconv3", "deconv4s4", "--weights", "random", "--seed", 4, "--length", 5))


def test_a_figure(tmp_path):
    output = printed("linear", "deconv3", "nearest3", "--png", tmp_path / "linear.png")
    assert output.endswith(f"wrote {tmp_path / 'linear.png'}\n")
    assert (tmp_path / "linear.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deconv",), "no upsampling layer 'deconv'"),
        (("deconv3", "--weights", "twos"), "'twos' is not one of"),
        (("deconv3", "--length", 0), "--length"),
    ],
)
def test_refusals(arguments, said):
    assert said in refused("linear", *arguments)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_temporary", lambda path: path / "nowhere")
    assert "cannot write" in refused("linear", "deconv3", "--png", tmp_path / "linear.png")
