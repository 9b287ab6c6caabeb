"""Pictures of the pages for the documentation: `python docs/page_pictures.py ../shared/data`, from the checkout.

Chromium and Playwright take them, as in the tests of the pages.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import sync_playwright

from featvis.commands.cli import main

DOCS = Path(__file__).resolve().parent

WIDTH = 1000
"""Pixels of a page."""

POINT = "place => { for (const key of place) document.getElementById('windows').dispatchEvent(new KeyboardEvent('keydown', { key })); }"
"""Points at a place of the explorer, by keys."""


def page_of(folder: str, *arguments: str) -> str:
    """The address of the page that a command writes into a folder."""
    page = Path(folder, "page.html")
    result = CliRunner().invoke(main, [*arguments, "--html", str(page)], catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(result.output)
    return page.as_uri()


def save(shot: bytes, name: str) -> None:
    Image.open(io.BytesIO(shot)).convert("RGB").save(DOCS / name, optimize=True)
    print(f"wrote {DOCS / name}: {(DOCS / name).stat().st_size:,} bytes")


def top_of(tab: Any, last: str) -> bytes:
    """The page from its top to the end of a part."""
    box = tab.locator(last).bounding_box()
    return bytes(
        tab.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": box["y"] + box["height"] + 4})
    )


def draw_explorer(tab: Any, folder: str) -> None:
    tab.goto(page_of(folder, "overlap", "3,2,1", "3,2,1"))
    tab.evaluate(POINT, ["ArrowRight", "ArrowUp", "ArrowUp"])
    save(tab.locator("#explorer").screenshot(), "explorer.png")


def draw_discriminator(tab: Any, folder: str, data: str) -> None:
    faces, weights = "tests/helpers/faces.py", f"{data}/weights/face_"
    pair = (
        f"{faces}:FaceDiscriminator",
        "--weights",
        f"{weights}discriminator.pt",
        "--generator",
        f"{faces}:FaceGenerator",
    )
    rest = ("--generator-weights", f"{weights}generator.pt", "--latent", "uniform", "--samples", "512", "--culprits")
    tab.goto(page_of(folder, "discriminator", *pair, *rest))
    save(top_of(tab, "#pane-gradient"), "page_discriminator.png")


def run(data: str | None) -> None:
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder, contextlib.chdir(DOCS.parent):
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900})
        draw_explorer(tab, folder)
        if data is not None:
            draw_discriminator(tab, folder, data)
        browser.close()


if __name__ == "__main__":
    run(sys.argv[1] if len(sys.argv) > 1 else None)
