"""What hostile exported programs would do, they do not: each is refused before torch's loader, sympy or a pickle is asked."""

import builtins
import contextlib
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sympy
import torch
from helpers import hostile, refusals
from helpers.hostile import Bomb, call_without_quotes, in_model, rewritten
from helpers.specs import refusal

from featvis.models.program import read_json, read_program
from featvis.models.specs import load_model

HELPERS = Path(hostile.__file__).parents[1]

STEP = 4
"""Of all variants, every so many are tried here; all of them by `experiments/exported_programs.py`."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def variants(home):
    """The honest archive, and hostile ones by name; a module that they name, which makes a file where it is imported."""
    canary = home / "canary"
    canary.mkdir()
    (home / "canary.py").write_text(f"open({str(canary / 'imported')!r}, 'w')\n")
    return hostile.write(home, canary / "mark", STEP)


def run_program(path):
    """Load a program as featvis does, and run it; code in it that goes unnoticed goes off here."""
    return load_model(str(path), device="cpu").module(torch.zeros(1, 3, 16, 16))


def test_hostile_programs_are_refused_without_effect(home, variants, monkeypatch):
    source, files = variants
    assert len(files) > 400
    assert run_program(source).shape == (1, 5)
    monkeypatch.chdir(home / "canary")
    monkeypatch.syspath_prepend(str(home))
    asked = []
    note = lambda name: lambda *_, **__: asked.append(name)  # noqa: E731
    monkeypatch.setattr(torch.export, "load", note("torch.export.load"))
    monkeypatch.setattr(sympy, "sympify", note("sympy.sympify"))
    monkeypatch.setattr(importlib, "import_module", note("importlib.import_module"))
    monkeypatch.setattr(builtins, "eval", note("eval"))
    monkeypatch.setattr(os, "system", note("os.system"))
    modules = set(sys.modules)
    for name, path in files.items():
        said = refusal(str(path))
        assert said.startswith(repr(str(path))), name
        assert said.isprintable(), name
        assert len(said) < 400 + len(str(path)), name
        assert asked == [], name
    assert list((home / "canary").iterdir()) == []
    assert "canary" not in sys.modules
    assert not {name for name in set(sys.modules) - modules if not name.startswith("encodings")}


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace here")
def test_the_operating_system_is_asked_for_nothing(home, variants):
    """Between the first refusal and the last, files are looked at and read; none is written, no program started, nothing sent."""
    trace = home / "trace.txt"
    watched = "%file,%process,%network,write,writev,pwrite64,sendmsg,ftruncate"
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", trace, "-e", f"trace={watched}", "-e", "signal=none"),
            *(sys.executable, "-m", "helpers.hostile", str(home)),
        ],
        capture_output=True,
        text=True,
        cwd=home,
        check=False,
        env={
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (HELPERS.parent, HELPERS, home))),
        },
    )
    if "ptrace" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("strace may not be used here")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    first, last = (
        next(n for n, line in enumerate(lines) if f"watched-{word}-here" in line) for word in ("from", "until")
    )
    assert last - first > len(variants[1])
    calls = [line.split(maxsplit=1)[1] for line in lines[first + 1 : last]]
    harmless = re.compile(
        r"(newfstatat|stat|lstat|statx|access|faccessat2?|readlink(at)?|getcwd)\(|open(at)?\(.*O_RDONLY"
    )
    assert [call for call in calls if not harmless.match(call)] == []
    # What the watcher would see: the same process makes files before.
    assert any("execve(" in line for line in lines[:first])
    assert list((home / "canary").iterdir()) == []


def test_the_bombs_are_live(tmp_path):
    """Torch itself runs what is planted, so that a refusal means something."""
    source, mark = hostile.honest(tmp_path / "honest.pt2"), tmp_path / "exploded"
    stream = io.BytesIO()
    torch.save({"weight": Bomb(open, str(mark), "w")}, stream)

    def evaluated(document):
        sizes = document["graph_module"]["graph"]["tensor_values"]["images"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = call_without_quotes(mark)

    def mapped(document):
        node = document["graph_module"]["graph"]["nodes"][-1]
        given = (("filename", {"as_string": str(mark)}), ("shared", {"as_bool": True}), ("size", {"as_int": 4}))
        node["inputs"] = [{"name": name, "arg": value, "kind": 1} for name, value in given]
        node["target"] = "torch.ops.aten.from_file.default"

    planted = {
        "pickle": rewritten(source, tmp_path / "p.pt2", add={"ROOT/data/weights/model.pt": stream.getvalue()}),
        "expression": rewritten(source, tmp_path / "e.pt2", in_model(evaluated)),
        "operator": rewritten(source, tmp_path / "o.pt2", in_model(mapped)),
    }
    for name, path in planted.items():
        said = refusal(str(path))
        assert not mark.exists(), said
        with contextlib.suppress(Exception):
            torch.export.load(path).module(check_guards=False)(torch.zeros(1, 3, 16, 16))
        assert mark.exists(), name
        mark.unlink()


def put_away(mark):
    """Code in the parts of a program that are not handed on."""
    code = f"open({str(mark)!r}, 'w') is not None"
    first = lambda document: document["graph_module"]["graph"]["nodes"][0]  # noqa: E731
    yield in_model(lambda document: document.update(guards_code=[code]))
    yield in_model(lambda document: document["graph_module"].update(metadata={"custom": code}))
    for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "custom", "from_node"):
        yield in_model(lambda document, key=key: first(document).update(metadata={key: code}))


def test_what_is_not_read_has_no_effect(tmp_path):
    source, mark = hostile.honest(tmp_path / "honest.pt2"), tmp_path / "exploded"
    expected = run_program(source)
    for number, edit in enumerate(put_away(mark)):
        path = rewritten(source, tmp_path / f"{number}.pt2", edit, {"ROOT/extra/code.py": f"open({str(mark)!r}, 'w')"})
        assert torch.equal(run_program(path), expected)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text", ["[1, 2", "", "NaN", '{"a": 1, "a": 1}', '{"a": [{"b": 1, "b": 2}]}', "[" * 10_000, b"\xff"]
)
def test_json_is_read_strictly(text):
    assert refusals.refusal(read_json, text)
    assert read_json('{"a": [1, 2.5, null, "b"]}') == {"a": [1, 2.5, None, "b"]}


def test_a_program_is_handed_on_without_what_is_not_read():
    program = {
        "graph_module": {"metadata": {"custom": "x"}, "module_call_graph": [{"fqn": "", "signature": None}]},
        "guards_code": ["x"],
        "range_constraints": {"2*s0": {"min_val": 2, "max_val": None}},
    }
    read = read_program(program)
    assert read["guards_code"] == []
    assert read["graph_module"]["metadata"] == {}
    assert read["range_constraints"] == program["range_constraints"]
