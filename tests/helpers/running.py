"""Run the command line within a test, and expect that it works or that it refuses in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from featvis.commands.cli import main

ZOO = "zoo:cifar-k3s2"


def run(*arguments: Any) -> Result:
    """What `featvis` with these arguments did; what it does not catch is raised here."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def printed(*arguments: Any) -> str:
    """The standard output of a run that works; nothing may be on the error stream."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def refused(*arguments: Any) -> str:
    """The one line on the error stream of a run that is refused with exit code 2, without "featvis: "."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    line, end = result.stderr[:-1], result.stderr[-1:]
    assert end == "\n"
    assert "\n" not in line
    assert line.startswith("featvis: ")
    assert not line.startswith("featvis: a fault of featvis")
    return line.removeprefix("featvis: ")


def save_pictures(folder: Path, count: int, size: tuple[int, int] = (64, 48), digits: int = 1) -> list[Path]:
    """Small pictures of noise, always the same, of (width, height); names have at least that many digits."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:0{digits}}.png" for number in range(count)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def files_below(folder: Path) -> set[str]:
    """Every file below a folder, by its relative path."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
