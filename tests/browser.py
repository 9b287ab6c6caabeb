"""A real browser for the pages: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Tab:
    """A page opened from a file, with everything that it asked a network for and complained about."""

    def __init__(self, browser: Any, path: Path, width: int, height: int, address: str, **settings: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": height}, **settings)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{path.as_uri()}{address}")

    @property
    def from_elsewhere(self) -> list[str]:
        """What was asked for beside the file itself and what it holds."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]

    def serious_faults(self) -> list[str]:
        """What axe-core finds of serious or critical impact; skips where it is not installed."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
        found = axe.Axe().run(self.page).response["violations"]
        return [
            f"{fault['id']}: {fault['nodes'][0]['html']}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]

    @property
    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skips where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_file(browser: Any) -> Iterator[Any]:
    """Opens a file in a new tab: open_file(path, width, height, address, ...)."""
    tabs: list[Tab] = []

    def open_tab(path: Path, width: int = 1280, height: int = 900, address: str = "", **settings: Any) -> Tab:
        tabs.append(Tab(browser, path, width, height, address, **settings))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.page.close()
