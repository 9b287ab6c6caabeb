"""`featvis layers` shows what a network does to the resolution, without a download."""

import json
import urllib.error

import pytest
import torch
from helpers.running import ZOO, printed


def table(output):
    """The rows of a table by their first column; columns are separated by at least two blanks."""
    lines = [line.strip() for line in output.splitlines()]
    rule = next(number for number, line in enumerate(lines) if line and set(line) == {"─"})
    end = lines.index("", rule)
    return {cells[0]: cells[1:] for line in lines[rule + 1 : end] if (cells := line.split("  ")) != [""]}


def cells(row):
    return [cell.strip() for cell in row if cell.strip()]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*arguments, **keywords):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)


def test_the_networks_layers():
    output = printed("layers", ZOO)
    assert output.startswith("zoo:cifar-k3s2 at 32: total stride 8")
    rows = table(output)
    assert cells(rows["stem.0"]) == ["Conv2d", "3", "2", "1", "1", "2", "32x16x16", "strided, uneven"]
    assert cells(rows["stage1.body.0.0"]) == ["Conv2d", "3", "1", "1", "2", "32x16x16"]
    assert cells(rows["down3.0"]) == ["Conv2d", "3", "2", "1", "1", "8", "128x4x4", "strided, uneven"]
    assert cells(rows["pool"]) == ["AdaptiveAvgPool2d", "128x1x1", "global"]
    assert cells(rows["head"]) == ["Linear", "10"]


def test_only_marked_ones():
    assert list(table(printed("layers", ZOO, "--marked"))) == ["stem.0", "down2.0", "down3.0", "pool"]


def test_what_is_uneven_is_counted_and_the_stack_is_as_overlap_takes_it():
    output = printed("layers", ZOO, "--marked")
    assert "3 layers read pixels unevenly" in output
    command = output.splitlines()[-1].split()
    assert command == ["featvis", "overlap", *("3,2,1", "3,1,1", "3,1,1") * 3]
    assert "total stride 8" in printed(*command[1:])


def test_a_network_whose_windows_overlap_evenly(nets):
    output = printed("layers", f"{nets}:even", "--size", "16")
    assert "no layer reads pixels unevenly" in output
    assert "uneven" not in output.replace("unevenly", "")


def test_no_stack_where_overlap_could_not_tell(nets):
    assert "featvis overlap" not in printed("layers", f"{nets}:enlarging", "--size", "16")


def test_json(nets, tmp_path):
    printed("layers", f"{nets}:Functional", "--size", "48", "--json", tmp_path / "layers.json")
    content = json.loads((tmp_path / "layers.json").read_text())
    assert content["schema"] == "featvis.layers/1"
    assert (content["total stride"], content["stack"]) == (12, ["3x5,2x1,1x2", "2,2", "1,3x1"])
    assert content["layers"][0]["padding"] == [1, 2]
    assert content["layers"][0]["remainder"] == [1, 0]
    assert content["layers"][0]["total_stride"] == ["2", "1"]


def test_sizes():
    output = printed("layers", ZOO, "--size", "48x80")
    assert "at 48x80: total stride 8" in output
    assert cells(table(output)["stem.0"])[-2] == "32x24x40"


def test_a_torchvision_network_needs_no_weights():
    output = printed("layers", "shufflenet_v2_x0_5", "--marked", "--size", "64")
    assert "total stride 32" in output
    assert cells(table(output)["maxpool"]) == ["MaxPool2d", "3", "2", "1", "1", "4", "24x16x16", "pooling, uneven"]


NETS = """
import torch.nn.functional as F
from torch import nn

class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, (3, 5), (2, 1), (1, 2))

    def forward(self, images):
        return F.max_pool2d(self.first(images), 2)[:, :, ::3]

class Long(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module("a_part_with_a_very_long_name" * 7, nn.Conv2d(3, 3, 3))

    def forward(self, images):
        return next(self.children())(images)

net = nn.Conv2d(3, 3, 3, 2)

even = nn.Conv2d(3, 3, 4, 2, 1)

enlarging = nn.ConvTranspose2d(3, 3, 3, 2)
"""


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


def test_functions_and_axes_that_differ(nets):
    output = printed("layers", f"{nets}:Functional", "--size", "48")
    assert "total stride 12" in output
    lines = [line.split() for line in output.splitlines() if "strided" in line or "pooling" in line]
    assert lines == [
        ["first", "Conv2d", "3x5", "2x1", "1x2", "1x0", "2x1", "4x24x48", "strided,", "uneven"],
        ["(network)", "(max_pool2d_with_indices)", "2", "2", "0", "0", "4x2", "4x12x24", "pooling"],
        ["(network)", "(slice)", "1", "3", "0", "1", "12x2", "4x4x24", "strided,", "uneven"],
    ]


def test_a_single_layer_is_a_network(nets):
    assert cells(table(printed("layers", f"{nets}:net"))["(network)"]) == [
        "Conv2d",
        "3",
        "2",
        "0",
        "1",
        "2",
        "3x111x111",
        "strided, uneven",
    ]


def test_long_names_stay_whole(nets):
    """They are there to be copied into --score."""
    assert "a_part_with_a_very_long_name" * 7 in printed("layers", f"{nets}:Long", "--size", "16")


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_exported_program(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.MaxPool2d(2))
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, 16, 16),)), tmp_path / "net.pt2")
    output = printed("layers", tmp_path / "net.pt2")
    assert "at 16: total stride 4" in output
    assert "strided" in output
    assert "pooling" in output
