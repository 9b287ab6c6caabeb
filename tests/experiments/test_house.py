"""A study imports what is shared, and no other study; what is shared imports no study."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = {"experiments": "shared", "benchmarks": "timing"}
"""The folders of scripts, and what is shared in each."""


def imported(source):
    """Every module or name that a source imports, at its top or later."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module or ''}.{alias.name}" for alias in node.names)
    return names


def across(files):
    """Each pair of a file and a script that it imports; files: path in its folder to source."""
    scripts = {Path(path).stem for path in files if "/" not in path} - set(SHARED.values())
    found = []
    for path, source in files.items():
        names = (re.sub(r"^(experiments|benchmarks)?\.", "", name) for name in imported(source))
        found += [(path, script) for script in sorted(scripts & {name.split(".")[0] for name in names})]
    return found


def missing(home, source):
    """Modules of the checkout that a script in `home` imports and that are not there."""
    modules = (name.split(".") for name in imported(source))
    paths = [
        ROOT.joinpath(*parts[:-1]) if parts[0] in SHARED else home.joinpath(*parts[:-1])
        for parts in modules
        if parts[0] in (*SHARED, *SHARED.values()) and len(parts) > 1
    ]
    return [
        path.relative_to(ROOT).as_posix() for path in paths if not (path.is_dir() or path.with_suffix(".py").is_file())
    ]


@pytest.mark.parametrize("folder", SHARED)
def test_no_script_imports_a_script(folder):
    home = ROOT / folder
    files = {path.relative_to(home).as_posix(): path.read_text(encoding="utf-8") for path in home.rglob("*.py")}
    assert len(files) > 5
    assert across(files) == []
    assert {path: found for path, source in files.items() if (found := missing(home, source))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import audio",
        "from audio import measure",
        "def f():\n    from audio import measure",
        "from experiments.audio import measure",
        "from experiments import audio",
        "from . import audio",
    ],
)
@pytest.mark.parametrize("path", ["fixes.py", "shared/gans.py"])
def test_a_planted_import_is_found(path, source):
    assert across({"audio.py": "", path: source}) == [(path, "audio")]


def test_what_is_shared_may_be_imported():
    source = "from shared.tables import rows\nfrom timing import medians\nfrom featvis.dream import dream"
    assert across({"shared/tables.py": "", "timing.py": "", "dream.py": "", "audio.py": source}) == []


def test_a_module_that_is_not_there_is_found():
    source = "from experiments.shared.tables import rows\nfrom experiments.tables import rows\nfrom shared.tables import rows"
    assert sorted(missing(ROOT / "benchmarks", source)) == ["benchmarks/shared/tables", "experiments/tables"]
