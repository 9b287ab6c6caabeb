"""Examples in docstrings show what happens; `torch`, `nn` and `featvis` are there without an import."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

import featvis

PACKAGE = Path(featvis.__file__).parent
GIVEN = {"torch": torch, "nn": nn, "featvis": featvis}
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples():
    """The examples of every module that has one."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
            found += [one for one in FINDER.find(importlib.import_module(name), extraglobs=GIVEN) if one.examples]
    return found


def faults(example):
    """What an example says that does not happen; numbers may go on where it ends in dots."""
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name.removeprefix("featvis."))
def test_an_example_shows_what_happens(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert faults(example) == ""


@pytest.mark.parametrize(("text", "said"), [(">>> 1 + 1\n3\n", "Got:\n    2"), (">>> nothing\n1\n", "NameError")])
def test_a_planted_fault_is_found(text, said):
    assert said in faults(doctest.DocTestParser().get_doctest(text, dict(GIVEN), "planted", None, 0))


def without_example():
    """The public classes and functions whose docstring shows none."""
    names = [name for name in featvis.__all__ if callable(getattr(featvis, name))]
    return {name for name in names if ">>> " not in (inspect.getdoc(getattr(featvis, name)) or "")}


def test_every_public_class_and_function_has_one():
    assert without_example() == set()
