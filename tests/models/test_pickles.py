"""Pickled tensors are judged by what their description asks for, before it is followed."""

import io
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch
from helpers.refusals import refusal

from featvis.models.pickles import load_tensors


def saved(content, zipped=True):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["file", "memory"])
def test_tensors_are_read(tmp_path, zipped, place):
    state = OrderedDict(weight=torch.arange(6.0).view(2, 3), count=torch.tensor(7))
    source = saved({"state_dict": state, "epoch": 3}, zipped)
    if place == "file":
        (tmp_path / "a.pth").write_bytes(source.getvalue())
        source = tmp_path / "a.pth"
    read = load_tensors(source)
    assert read["epoch"] == 3
    assert torch.equal(read["state_dict"]["weight"], state["weight"])
    # A mapped tensor is the reader's own: what is written to it does not reach the file.
    read["state_dict"]["weight"].zero_()
    assert torch.equal(load_tensors(source)["state_dict"]["weight"], state["weight"])


def described(pickled):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", b"3")
    return stream


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"\x80\x02" + b"]" * 600_000 + b".", "more than 500000 steps"),
        (pickle.dumps("x" * 5_000_000, 2), "more than 4194304 bytes"),
        (pickle.dumps(bytearray(8), 2), "memory without content"),
    ],
)
def test_descriptions_out_of_proportion(pickled, said):
    assert said in refusal(load_tensors, described(pickled))
    assert said in refusal(load_tensors, io.BytesIO(pickled))


def test_other_objects_are_not_run():
    with pytest.raises(pickle.UnpicklingError):
        load_tensors(saved({"a": print}))
