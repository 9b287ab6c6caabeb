"""Files are written whole or not at all, and a refusal is one line."""

import os
import shlex
import stat
import subprocess
import sys
import threading
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


def run(command, tmp_path, **options):
    """A command line in a shell of its own, as output to a device cannot be captured."""
    line = f"{shlex.quote(sys.executable)} -m featvis {command}"
    return subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=120, **options)


OVERLAP = "overlap 3,2 --html"


@pytest.mark.skipif(sys.platform == "win32", reason="devices, pipes and links are POSIX's")
class TestOddTargets:
    def test_a_link_stays_and_leads_to_the_new_content(self, tmp_path):
        real = tmp_path / "real.json"
        real.write_text("before")
        real.chmod(0o640)
        (tmp_path / "folder").mkdir()
        for name in ("link.json", "folder/link.json"):
            link = tmp_path / name
            link.symlink_to(real)
            write_text(link, name)
            assert link.is_symlink()
            assert real.read_text() == name
            assert real.stat().st_mode & 0o777 == 0o640
        dangling = tmp_path / "dangling.json"
        dangling.symlink_to(tmp_path / "new.json")
        write_text(check_file(dangling), "new")
        assert (tmp_path / "new.json").read_text() == "new"
        assert sorted(os.listdir(tmp_path)) == ["dangling.json", "folder", "link.json", "new.json", "real.json"]

    def test_a_pipe_gets_the_content_and_stays(self, tmp_path):
        pipe = tmp_path / "pipe.json"
        os.mkfifo(pipe)
        check_file(pipe)
        received = []
        reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
        reader.start()
        write_text(pipe, "content" * 20_000)
        reader.join()
        assert received == ["content" * 20_000]
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
    def test_devices_stay_what_they_are(self):
        before = [os.stat(device) for device in ("/dev/null", "/dev/full")]
        write_text("/dev/null", "nothing")
        assert "No space left" in refusal(write_text, "/dev/full", "something")
        after = [os.stat(device) for device in ("/dev/null", "/dev/full")]
        assert [(one.st_mode, one.st_ino) for one in before] == [(one.st_mode, one.st_ino) for one in after]

    @pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
    @pytest.mark.parametrize("into", ["| cat", "> page.html && cat page.html"])
    def test_the_standard_output_holds_the_file_alone(self, tmp_path, target, into):
        if not os.path.exists(target) and target != "-":
            pytest.skip(f"no {target} here")
        done = run(f"{OVERLAP} {target} {into}", tmp_path)
        assert done.returncode == 0
        assert done.stdout.lower().startswith("<!doctype html>")
        assert done.stdout.rstrip().endswith("</html>")
        assert "wrote" in done.stderr

    def test_a_reader_that_leaves_is_no_error(self, tmp_path):
        for command in ("zoo", f"{OVERLAP} -"):
            done = run(f"{command} | head -c 1; exit ${{PIPESTATUS[0]}}", tmp_path)
            assert (done.returncode, "Traceback" in done.stderr) == (0, False)

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
    def test_a_full_device_is_one_line(self, tmp_path):
        for command in (f"{OVERLAP} /dev/full", "zoo > /dev/full"):
            done = run(command, tmp_path)
            assert done.returncode == 2
            assert done.stderr.splitlines()[-1].startswith("featvis: cannot ")
            assert "Traceback" not in done.stderr
