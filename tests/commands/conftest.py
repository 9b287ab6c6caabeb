"""Where a command runs, unless a test file has a place of its own."""

import pytest
from helpers.running import save_pictures


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a folder of twelve photos."""
    monkeypatch.chdir(tmp_path)
    save_pictures(tmp_path / "photos", 12)
    return tmp_path
