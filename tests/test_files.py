"""Files are written whole or not at all, and a refusal is one line."""

import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.refusals import refusal

from featvis.errors import FeatvisError
from featvis.files import (
    check_file,
    document_text,
    make_folder,
    plain,
    read_document,
    write_atomically,
    write_document,
    write_text,
)
from featvis.measure.estimates import Estimate


def test_text_is_written_whole(tmp_path):
    path = write_text(tmp_path / "a.txt", "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    write_text(str(path), "second")
    assert path.read_text() == "second"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    path = write_text(tmp_path / "a.json", "before")

    def write(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises((FeatvisError, type(error))) as caught:
        write_atomically(path, write)
    assert isinstance(caught.value, FeatvisError) == isinstance(error, OSError)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    seen = []
    write_atomically(tmp_path / "a.tar.npz", lambda temporary: (seen.append(temporary), temporary.write_bytes(b"")))
    assert seen[0].suffix == ".npz"
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".")


def test_folders_are_made_with_their_parents(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_file_in_the_folders_place(tmp_path):
    taken = write_text(tmp_path / "taken", "")
    for folder in (taken, taken / "below"):
        message = refusal(make_folder, folder)
        assert repr(str(folder)) in message
        assert "give another" in message


def test_a_file_is_checked_before_it_is_written(tmp_path):
    path = check_file(tmp_path / "new" / "a.json")
    assert path == tmp_path / "new" / "a.json"
    assert os.listdir(tmp_path / "new") == []
    write_text(path, "before")
    check_file(path)
    assert path.read_text() == "before"
    assert "is a folder" in refusal(check_file, tmp_path)
    for bad in (path / "a.json", tmp_path / ("a" * 300)):
        assert "cannot write" in refusal(check_file, bad)
    assert os.listdir(tmp_path) == ["new"]


def test_places_that_cannot_be_written(tmp_path):
    taken = write_text(tmp_path / "taken", "")
    for path in (taken / "a.txt", tmp_path / "missing" / "a.txt", tmp_path):
        assert repr(str(path)) in refusal(write_text, path, "text")
    assert os.listdir(tmp_path) == ["taken"]
    assert os.listdir(tmp_path.parent).count(f".{tmp_path.name}.{os.getpid()}.part") == 0


@dataclass(frozen=True)
class Inner:
    numbers: tuple[int, ...]
    by_period: dict[int, Estimate]


@dataclass(frozen=True)
class Outer:
    inner: Inner
    hidden: object

    def content(self):
        return {"schema": "featvis.outer/1", "inner": plain(self.inner)}


def test_values_are_plain_in_a_record():
    inner = Inner((1, 2), {4: Estimate(0.5, None)})
    expected = {"numbers": [1, 2], "by_period": {"4": {"value": 0.5, "error": None}}}
    assert plain(inner) == expected
    assert plain([Outer(inner, object()), None, "a", True]) == [
        {"schema": "featvis.outer/1", "inner": expected},
        None,
        "a",
        True,
    ]
    assert plain({"array": np.eye(2), "tensor": torch.zeros(1)}) == {"array": [[1, 0], [0, 1]], "tensor": [0]}


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = write_document(tmp_path / "a.json", {"schema": "featvis.a/1", "of": (1, 2.5)})
    assert path.read_text() == document_text({"schema": "featvis.a/1", "of": [1, 2.5]})
    assert path.read_text().endswith("}\n")
    assert read_document(path.read_text(), "featvis.a/1", "an a") == {"of": [1, 2.5]}
    with pytest.raises(FeatvisError, match=r"schema 'featvis\.a/1'; expected 'featvis\.b/1', a b"):
        read_document(path.read_text(), "featvis.b/1", "a b")


def test_what_json_does_not_know_is_refused():
    with pytest.raises(TypeError):
        document_text({"schema": "featvis.a/1", "of": object()})
