"""A real browser for the pages: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


class Tab:
    """A file that is opened, with everything that its page asks a network for and complains about."""

    def __init__(self, page: Any, path: Path, width: int, height: int, address: str, color_scheme: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = page
        # Otherwise another address within the same file would leave its page as it is.
        page.goto("about:blank")
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(media="screen", color_scheme=color_scheme)
        self.listeners = {
            "console": lambda message: self.complaints.append(message.text),
            "pageerror": lambda error: self.complaints.append(str(error)),
            "request": lambda request: self.requests.append(request.url),
        }
        for event, listener in self.listeners.items():
            page.on(event, listener)
        page.goto(f"{path.as_uri()}{address}")

    def leave(self) -> None:
        """Listens no more."""
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)

    @property
    def from_elsewhere(self) -> list[str]:
        """What was asked for beside the file itself and what it holds."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]

    def serious_faults(self, *rules: str) -> list[str]:
        """What axe-core finds of serious or critical impact, by all its rules or by these; skips where it is not installed."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = axe.Axe().run(self.page, options=options).response["violations"]
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
    """Opens a file in the one tab that all tests of a module share: open_file(path, width, height, address, color_scheme)."""
    tabs: list[Tab] = []

    def open_tab(
        path: Path, width: int = 1280, height: int = 900, address: str = "", color_scheme: str = "light"
    ) -> Tab:
        page = browser.contexts[0].pages[0] if browser.contexts else browser.new_page()
        tabs.append(Tab(page, path, width, height, address, color_scheme))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.leave()
