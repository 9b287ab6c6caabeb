"""The notebooks: each runs from start to end and holds its claim, and what is committed with it is whole and names no place."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

LARGEST = 400_000
"""Bytes of a notebook with its figures."""

PLACE = re.compile(r"(?<![\w.])/(?:work|home|root|Users|tmp|builds)/\w")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def runner():
    """The script that executes notebooks, as a module."""
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def faults(notebook):
    """What is wrong with the saved outputs of a notebook."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.execution_count is None:
            found.append("a cell was not run")
        for output in cell.get("outputs", ()):
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"{output.output_type}: {output.get('evalue') or output.get('text')}")
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        found.append("the cells were not run in order, in a fresh kernel")
    if place := PLACE.search(nbformat.writes(notebook)):
        found.append(f"names a place: {place.group()}")
    return found


def test_there_is_one_for_each_figure():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(1, 10)]


@pytest.fixture(scope="module")
def kernel():
    """One for all notebooks, emptied after each: most of a short one's time is the import of torch."""
    manager = KernelManager(kernel_name="python3")
    yield manager
    manager.shutdown_kernel(now=True)


@each_notebook
def test_it_runs_from_start_to_end(path, kernel):
    notebook = runner().executed(path, kernel)
    assert faults(notebook) == []


@each_notebook
def test_what_is_committed_is_whole(path):
    assert faults(nbformat.read(path, as_version=4)) == []
    assert path.stat().st_size < LARGEST


@each_notebook
def test_it_ends_with_the_number_that_the_claim_rests_on(path):
    last = nbformat.read(path, as_version=4).cells[-1]
    statements = [type(node) for node in ast.walk(ast.parse(last.source))]
    assert ast.Assert in statements
    assert any(character.isdigit() for character in last.outputs[-1].text)


def notebook_of(source, outputs=(), count=1):
    cell = nbformat.v4.new_code_cell(source, execution_count=count, outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[cell])


@pytest.mark.parametrize(
    ("notebook", "said"),
    [
        (notebook_of("1", [nbformat.v4.new_output("error", ename="E", evalue="it failed")]), "it failed"),
        (notebook_of("1", [nbformat.v4.new_output("stream", name="stderr", text="a warning")]), "a warning"),
        (notebook_of("1", count=None), "not run"),
        (notebook_of("1", count=3), "not run in order"),
        (notebook_of("1", [nbformat.v4.new_output("stream", name="stdout", text="/hom" + "e/me/x")]), "names a place"),
    ],
)
def test_planted_faults_are_found(notebook, said):
    assert any(said in fault for fault in faults(notebook))


def test_a_claim_that_fails_fails_the_notebook(tmp_path):
    path = tmp_path / "wrong.ipynb"
    path.write_text(nbformat.writes(notebook_of("assert 1 + 1 == 3, 'one and one'")), encoding="utf-8")
    with pytest.raises(Exception, match="one and one"):
        runner().executed(path)


def test_a_notebook_finds_nothing_of_another(tmp_path, kernel):
    path = tmp_path / "first.ipynb"
    path.write_text(nbformat.writes(notebook_of("given = 1")), encoding="utf-8")
    assert faults(runner().executed(path, kernel)) == []
    path.write_text(nbformat.writes(notebook_of("given")), encoding="utf-8")
    with pytest.raises(CellExecutionError, match="name 'given' is not defined"):
        runner().executed(path, kernel)
