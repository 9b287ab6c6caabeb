"""Pictures of noise, for every test of audits that has none of its own."""

from pathlib import Path

import pytest
from helpers.running import save_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return save_pictures(tmp_path / "pictures", 11, (44, 40), digits=2)
