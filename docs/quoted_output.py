"""What the README's commands print, run again: `python docs/quoted_output.py` puts it into the README.

A block begins with its command. Where it ends in `…` it holds the first LINES lines of what the command prints.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path

from click.testing import CliRunner

from featvis.commands.cli import main
from featvis.files import write_text

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"
BLOCK = re.compile(r"(?<=^```console\n)\$ featvis (.*?)\n(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)

LINES = 6
"""Lines of a block that does not show everything."""


def output_of(arguments: str) -> str:
    """What a command prints in an empty folder that holds nothing but the package."""
    result = CliRunner().invoke(main, shlex.split(arguments), catch_exceptions=False)
    if result.exit_code:
        raise RuntimeError(f"featvis {arguments} ended with {result.exit_code}: {result.output}")
    return "\n".join(line.rstrip() for line in result.stdout.splitlines() if line.strip())


def renewed(block: re.Match[str]) -> str:
    """A block with what its command prints now."""
    lines = output_of(block[1]).splitlines()
    shown = [*lines[:LINES], "…"] if block[2].endswith("…\n") and len(lines) > LINES else lines
    return "\n".join((f"$ featvis {block[1]}", *shown, ""))


def with_output(text: str) -> str:
    """A page with what its commands print now."""
    began = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "featvis").symlink_to(CHECKOUT / "featvis")
        os.chdir(folder)
        try:
            return BLOCK.sub(renewed, text)
        finally:
            os.chdir(began)


if __name__ == "__main__":
    write_text(README, with_output(README.read_text(encoding="utf-8")))
