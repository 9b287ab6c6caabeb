"""Networks that flatten by `view`, which channels-last memory refuses, go through every command that takes gradients."""

import json

import pytest
from helpers.running import printed, refused, save_pictures

NETS = """
import torch
import torch.nn.functional as F
from torch import nn

class Tutorial(nn.Module):
    def __init__(self, flatten=lambda x: x.view(-1, 16 * 5 * 5), outputs=10):
        super().__init__()
        torch.manual_seed(0)
        self.pool, self.flatten = nn.MaxPool2d(2), flatten
        self.conv1, self.norm, self.conv2 = nn.Conv2d(3, 6, 5), nn.BatchNorm2d(6), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 20), nn.Linear(20, outputs)

    def forward(self, x):
        x = self.pool(F.relu(self.norm(self.conv1(x))))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(self.flatten(x))))

def reshaping():
    return Tutorial(lambda x: x.flatten(1))

def judge():
    return Tutorial(outputs=1)

def generator():
    torch.manual_seed(1)
    return nn.Sequential(nn.ConvTranspose2d(5, 6, 4), nn.ReLU(), nn.ConvTranspose2d(6, 3, 8, 8), nn.Tanh())
"""

SIZE = ("--size", "32", "--weights", "none")
SAID = "memory is not laid out channels last, as the network then fails: view size is not compatible"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    save_pictures(tmp_path / "photos", 3)
    return tmp_path


def record(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def test_an_audit_measures_what_it_does_of_a_network_that_reshapes():
    for name in ("Tutorial", "reshaping"):
        printed("audit", f"nets.py:{name}", "photos", *SIZE, "--culprits", "--json", f"{name}.json")
    viewing, reshaping = record("Tutorial.json"), record("reshaping.json")
    assert viewing["settings"]["prepared"]
    assert any(SAID in note for note in viewing["notes"])
    assert not any(SAID in note for note in reshaping["notes"])
    for period, estimate in reshaping["energy"].items():
        assert viewing["energy"][period]["value"] == pytest.approx(estimate["value"], rel=1e-3)


def test_grad():
    assert SAID in printed("grad", "nets.py:Tutorial", "photos/0.png", *SIZE, "--out", "made")


def test_compare():
    printed("compare", "nets.py:Tutorial", "photos", *SIZE, "--compensate", "jitter", "--json", "compare.json")
    rows = record("compare.json")["rows"]
    assert len(rows) == 2
    assert all(SAID in row["audit"]["notes"][0] for row in rows)


def test_discriminator():
    printed("discriminator", "nets.py:judge", "--generator", "nets.py:generator", "--samples", "8", "--out", "made")


@pytest.mark.parametrize("start", [("photos/0.png", "--octaves", "1"), ("--jitter", "4")])
def test_dream(start):
    chosen = ("--objective", "fc2:1", "--steps", "2")
    assert SAID in printed("dream", "nets.py:Tutorial", *start, *SIZE, *chosen)


def test_a_dream_whose_transforms_enlarge_the_picture_says_so():
    said = refused("dream", "nets.py:Tutorial", *SIZE, "--objective", "fc2:1", "--steps", "2")
    assert "the picture after its transforms, which may change its size: --jitter" in said
