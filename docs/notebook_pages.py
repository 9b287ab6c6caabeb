"""A page of the documentation for each notebook, from the outputs that are saved in it; nothing is run."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from markdown_it import MarkdownIt
from nbformat import NotebookNode
from sphinx.addnodes import download_reference
from sphinx.highlighting import PygmentsBridge

FOLDER = Path(__file__).parents[1] / "notebooks"


def output_html(output: NotebookNode, name: str, images: Path) -> str:
    """What a cell showed: text, or a picture that leads to itself in full size, written into the folder of images."""
    data = output.get("data", {})
    if "image/png" in data:
        images.mkdir(exist_ok=True)
        (images / name).write_bytes(base64.b64decode(data["image/png"]))
        source = f"../{images.name}/{name}"
        return (
            f'<p><a href="{source}"><img alt="A figure; what it shows is said above and below" src="{source}"></a></p>'
        )
    return f'<div class="highlight"><pre>{escape(output.get("text") or data.get("text/plain", ""))}</pre></div>'


def notebook_html(path: Path, images: Path) -> str:
    """The cells of a notebook and what they showed."""
    markdown, python = MarkdownIt("commonmark").enable("table"), PygmentsBridge()
    parts = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            # From a notebook to a page beside it, and to the pages of the documentation.
            text = re.sub(r"\]\(\.\./docs/(\w+)\.md", r"](../\1.html", cell.source)
            parts.append(markdown.render(text))
        else:
            parts.append(python.highlight_block(cell.source, "ipython3"))
            parts += [output_html(output, f"{path.stem}-{number}.png", images) for output in cell.outputs]
    return "\n".join(parts)


def notebook_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages, for Sphinx."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        title = nbformat.read(path, as_version=4).cells[0].source.partition("\n")[0].lstrip("# ")
        yield (
            f"notebooks/{path.stem}",
            {"title": title, "body": notebook_html(path, Path(app.outdir, "_images"))},
            "page.html",
        )


def link_to_pages(app: Any, doctree: nodes.document, page: str) -> None:
    """Let links to notebooks lead to their pages and not to the files."""
    for link in list(doctree.findall(download_reference)):
        target = Path(link["reftarget"])
        if target.suffix == ".ipynb" and app.builder.format == "html":
            uri = f"{'../' * page.count('/')}notebooks/{target.stem}{app.builder.out_suffix}"
            link.replace_self(nodes.reference("", "", *link.children, refuri=uri))


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-collect-pages", notebook_pages)
    app.connect("doctree-resolved", link_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
