"""Archives are judged before they are read: names, kinds and sizes of their entries, and bombs of every kind that is read."""

import copy
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import bombs, hostile
from helpers.refusals import refusal

from featvis.models.archives import DAMAGED, opened

HELPERS = Path(bombs.__file__).parents[1]


def archive(*entries, kind=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as written:
        for name in entries:
            written.writestr(name, b"content")
    return stream


def names(stream):
    with opened(stream) as (read, entries):
        return {name: read.read(entry) for name, entry in entries.items()}


def test_entries_by_their_names():
    assert names(archive("a b (1)/data.pkl", "a b (1)/data/0", "a b (1)/.data/version")) == {
        "data.pkl": b"content",
        "data/0": b"content",
        ".data/version": b"content",
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: archive("a/x", kind=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
        (lambda: archive("a/x", "b/y"), "beside its one folder"),
        (lambda: archive("a/x", "x"), "beside its one folder"),
        (lambda: archive("x"), "is none"),
        (lambda: archive("a/../x"), "leaves its folder"),
        (lambda: archive("../x"), "leaves its folder"),
        (lambda: archive("/x"), "leaves its folder"),
        (lambda: archive("a/b//c"), "is none"),
        (lambda: archive("a/b\\c"), "is none"),
        (lambda: archive("a/\x1b[2J"), "is none"),
        (lambda: archive("a/x", "a/X"), "twice"),
        (lambda: archive("a/x", "a/x"), "twice"),
        (lambda: archive("a/constants.pkl"), "TorchScript"),
    ],
)
def test_what_is_refused(made, said):
    message = refusal(names, made())
    assert said in message
    assert message.isprintable()


def test_entries_over_one_another():
    """Many entries that share their bytes are larger together than the file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("a/x", b" " * 10_000)
        for letter in "bcdefg":
            entry = copy.copy(written.infolist()[0])
            entry.filename = entry.orig_filename = f"a/{letter}"
            written.filelist.append(entry)
    assert len(zipfile.ZipFile(stream).namelist()) == 7
    assert "larger together than the file" in refusal(names, stream)


def test_what_is_none():
    for content in (b"", b"text", b"PK\3\4", b"PK\5\6" + b"\0" * 18):
        with pytest.raises((*DAMAGED, KeyError)):
            names(io.BytesIO(content))["x"]


def test_bombs_are_refused_in_two_seconds_and_a_gigabyte(tmp_path):
    """Weights, exported programs and pictures, one after the other in a process of their own."""
    files = bombs.write_all(tmp_path, hostile.honest(tmp_path / "honest.pt2"))
    assert len(files) > 35
    done = subprocess.run(
        [sys.executable, "-m", "helpers.bombs", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HELPERS.parent, HELPERS)))},
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(files)
    for name, said, seconds, most in results:
        assert said, name
        assert said.isprintable(), name
        assert seconds < 2, (name, seconds)
        assert most < 1000, (name, most)
