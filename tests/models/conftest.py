"""A user's files, for every test of models that reads networks from them."""

import pytest

NETS = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn
from blocks import block

@dataclass
class Config:
    width: int = 4

class Net(nn.Module):
    def __init__(self, channels=3, width=Config().width):
        super().__init__()
        self.first, self.norm, self.head = block(channels, width), nn.BatchNorm2d(width), nn.Linear(width, 5)

    def forward(self, images):
        return self.head(self.norm(self.first(images)).mean((2, 3)))

def lazy():
    import late
    return late.make()

def grey(): return Net(1)
def four(): return Net(4)
def signals(): return nn.Sequential(nn.Conv1d(2, 3, 3, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
def unshaped(): return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten())
def flat(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
def needs(width): return Net(width)
def text(): return "no network"
def leaves(): raise SystemExit(3)
def fails(): raise KeyError("width")
class Odd(BaseException): pass
def odd(): raise Odd("a\\nb")
def silent(): raise Odd
def generator(): raise GeneratorExit("no")
def stopped(): raise KeyboardInterrupt
def on_meta():
    torch.set_default_device("meta")
    return Net()
def in_meta():
    with torch.device("meta"):
        return Net()
def odd_on_meta():
    torch.set_default_device("meta")
    raise Odd("on meta")
def in_double():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    return Net()
def poisoned():
    net = Net()
    net.norm.running_var[0] = float("nan")
    return net
instance = Net()
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a user's file and what it imports."""
    home = tmp_path / "nets"
    home.mkdir()
    (home / "mynets.py").write_text(NETS)
    (home / "blocks.py").write_text("from torch import nn\ndef block(a, b): return nn.Conv2d(a, b, 3, 2, 1)\n")
    (home / "late.py").write_text("from torch import nn\ndef make(): return nn.Conv2d(3, 7, 3)\n")
    monkeypatch.chdir(tmp_path)
    return home
