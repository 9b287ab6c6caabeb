"""`featvis maps`: from files to a verdict, a record and an exit code."""

import json

import numpy as np
import pytest
from helpers.energies import comb
from helpers.running import printed, refused, run

from featvis.measure.estimates import Estimate
from featvis.models.zoo import PHOTOGRAPH as PICTURE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maps").mkdir()
    for number, one in enumerate(comb(64, 64, 4, 4, 0.5, count=10).sqrt().numpy()):
        np.save(tmp_path / "maps" / f"{number}.npy", one)
    return tmp_path


def test_a_folder_of_maps(folder):
    said = printed("maps", "maps/", "--json", "maps.json")
    record = json.loads((folder / "maps.json").read_text())
    assert said.startswith(f"Period 4, E(4) = {Estimate(**record['energy']['4'])}: visible up close.")
    assert "maps: 10 maps, errors from maps" in said
    assert (record["found"][0]["period"], record["settings"]) == ([4, 4], {"maps": True})


def test_a_gate(folder):
    result = run("maps", "maps/", "--fail-above", "0.05")
    assert result.exit_code == 1
    assert "is above 0.05" in result.output
    assert run("maps", "maps/", "--fail-above", "1").exit_code == 0


def test_what_grad_writes_is_read(folder):
    printed("grad", "zoo:cifar-k3s2", "--weights", "none", "--size", "64", str(PICTURE), "--out", "out")
    assert "1 map, errors from tiles" in printed("maps", "out/cat.npz")


def test_mistakes(folder):
    np.save(folder / "flat.npy", np.zeros((64, 64)))
    assert "nothing but zeros" in refused("maps", "flat.npy")
    assert "no map file" in refused("maps", "none.npy")
    assert "'xyz' is not one of" in refused("maps", "maps/", "--layout", "xyz")
