"""Which interpreters `make versions` takes, and what it reads from their logs; no environment is made here."""

import sys

import pytest
import versions


def interpreter(folder, name, answer, code=0):
    """A file that answers as an interpreter would."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def planted(tmp_path):
    least = versions.admitted()
    answers = {
        "old": f"3 {least - 1} 9 final cpython 0",
        "newer": f"3 {least + 1} 1 final cpython 0",
        "first": f"3 {least} 0 final cpython 0",
        "patched": f"3 {least} 7 final cpython 0",
        "beta": f"3 {least + 2} 0 beta cpython 0",
        "other": f"3 {least + 2} 0 final pypy 0",
        "unlocked": f"3 {least + 2} 0 final cpython 1",
    }
    return [*(interpreter(tmp_path, *pair) for pair in answers.items()), interpreter(tmp_path, "shim", "no", 127)]


def test_the_newest_release_of_each_admitted_python_is_taken(planted):
    least = versions.admitted()
    found = versions.interpreters(planted)
    assert [(version, path.name) for version, path in found.items()] == [
        (f"3.{least}.7", "patched"),
        (f"3.{least + 1}.1", "newer"),
    ]


def test_this_python_is_among_them():
    found = versions.interpreters(versions.candidates())
    assert any(version.startswith(f"3.{sys.version_info.minor}.") for version in found)


@pytest.mark.parametrize(
    ("log", "numbers"),
    [
        ("===== 3782 passed, 12 skipped in 200.51s (0:03:20) =====", (3782, 0, 12)),
        ("SKIPPED [1] a.py: 2 skipped in 3s\n1 failed, 2 passed, 1 warning, 3 errors in 2.00s", (2, 4, 0)),
        ("make: *** No rule", (0, 0, 0)),
    ],
)
def test_counts_are_those_of_the_last_line(log, numbers):
    assert tuple(versions.counts(log).values()) == numbers


def test_the_ends_are_the_oldest_and_the_newest_but_for_the_one_that_the_tests_ran_under(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "CHECKOUT", tmp_path)
    found = dict.fromkeys(["3.9.20", "3.10.1", "3.11.7"], sys.executable)
    assert list(versions.ends(found)) == ["3.9.20", "3.11.7"]
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.9.20\n")
    assert list(versions.ends(found)) == ["3.11.7"]
    assert versions.ends({}) == {}
