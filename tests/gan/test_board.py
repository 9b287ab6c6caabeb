"""Findings as TensorBoard takes them."""

import sys
import types

import pytest
from helpers.pairs import pictures

from featvis.errors import FeatvisError
from featvis.gan import measure_pictures
from featvis.gan.board import scalars_of, write_board


class Board:
    def __init__(self, log_dir):
        self.log_dir, self.scalars, self.images, self.closed = log_dir, {}, {}, False
        Board.last = self

    def add_scalar(self, name, value, step):
        self.scalars[name] = value, step

    def add_image(self, name, image, step, dataformats):
        self.images[name] = image.shape, image.dtype.name, step, dataformats

    def close(self):
        self.closed = True


def test_tensorboard(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Board))
    audit = measure_pictures(pictures()).raw
    write_board(tmp_path / "board", scalars_of("real", audit), {"figure": Figure(figsize=(2, 1), dpi=100)}, step=7)
    assert Board.last.scalars["real/energy/2"] == (audit.energy[2].value, 7)
    assert Board.last.scalars["real/control/3"] == (audit.controls[3].value, 7)
    assert Board.last.images["figure"] == ((100, 200, 3), "uint8", 7, "HWC")
    assert Board.last.closed
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(FeatvisError, match="pip install tensorboard"):
        write_board(tmp_path / "board", {})
