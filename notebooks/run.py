"""Execute notebooks in place, each in a fresh kernel, and leave out what would change from run to run.

python notebooks/run.py                      # all of them
python notebooks/run.py 01_overlap.ipynb     # some
"""

from __future__ import annotations

import base64
import io
import os
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from featvis.files import write_text

FOLDER = Path(__file__).parent
TIMEOUT = 300
"""Seconds for one cell."""


def executed(path: Path, kernel: KernelManager | None = None) -> NotebookNode:
    """The notebook with the outputs of a run from start to end; raises CellExecutionError where a cell fails.

    kernel: one that goes on with the next notebook, emptied after each, where modules need not be imported again; else a fresh one.
    """
    # One thread gives the same sums on every machine that has the same instructions.
    os.environ["OMP_NUM_THREADS"] = "1"
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": FOLDER}}
    client = NotebookClient(notebook, kernel, timeout=TIMEOUT, kernel_name="python3", resources=place)
    try:
        client.execute()
    finally:
        if kernel is not None:
            _empty(kernel)
    return without_traces(notebook)


EMPTY = """
import matplotlib.pyplot
matplotlib.pyplot.close("all")
matplotlib.rcdefaults()
get_ipython().reset()
"""
"""Takes away a notebook's names and figures, and counts its cells from 1 again."""


def _empty(kernel: KernelManager) -> None:
    client = kernel.blocking_client()
    client.start_channels()
    client.wait_for_ready(TIMEOUT)
    client.execute(EMPTY, silent=True, reply=True, timeout=TIMEOUT)
    client.stop_channels()


def without_traces(notebook: NotebookNode) -> NotebookNode:
    """The notebook without times, versions of the machine's Python, and numbers that only count what was run."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [with_few_colours(output) for output in whole_streams(cell.outputs)]
    return notebook


def whole_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs with what was printed in one piece, however it came in."""
    whole: list[NotebookNode] = []
    for output in outputs:
        if whole and output.output_type == "stream" and whole[-1].get("name") == output.name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def with_few_colours(output: NotebookNode) -> NotebookNode:
    """The output with its picture in 256 colours, a third of the size, pixel by pixel the same otherwise."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        if picture.mode != "P":
            shrunk = io.BytesIO()
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(shrunk, "PNG", optimize=True)
            data["image/png"] = base64.b64encode(shrunk.getvalue()).decode()
    return output


def main() -> None:
    chosen = [FOLDER / name for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    for path in chosen:
        start = time.perf_counter()
        text = nbformat.writes(executed(path)) + "\n"
        write_text(path, text)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, {len(text) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
