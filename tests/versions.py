"""The demo and the tests under each Python that is here and that setup.cfg admits, each in an environment of its own.

    python tests/versions.py            all of them, `make demo test`
    python tests/versions.py --quick    the oldest and the newest, `make quick`; .venv's own Python is left to `make test`

Prints a line of counts for each Python, and ends with 1 where one failed. Environments and logs stay below build/.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

ASK = (
    "import ensurepip, sys, sysconfig; print(*sys.version_info[:3], sys.version_info.releaselevel, "
    "sys.implementation.name, sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)
"""What an interpreter is asked; one that cannot make environments fails to answer."""


def admitted() -> int:
    """The oldest Python 3.x that setup.cfg admits, as x."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    return int(setup["options"]["python_requires"].removeprefix(">=3."))


def candidates() -> list[Path]:
    """The interpreters of pyenv, those on PATH by name (python3.12), and the one that runs this."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = sorted(root.glob("versions/*/bin/python"))
    for folder in os.get_exec_path():
        found += [path for path in sorted(Path(folder).glob("python3.*")) if re.fullmatch(r"python3\.\d+", path.name)]
    return [*found, Path(sys.executable)]


def interpreters(paths: Iterable[Path]) -> dict[str, Path]:
    """The newest release of each 3.x that is admitted, by version, oldest first: of the ordinary build of CPython."""
    newest: dict[int, tuple[int, Path]] = {}
    for path in paths:
        asked = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False)
        if asked.returncode != 0:
            continue
        major, minor, patch, *kind = asked.stdout.split()
        if major != "3" or int(minor) < admitted() or kind != ["final", "cpython", "0"]:
            continue
        if int(minor) not in newest or int(patch) > newest[int(minor)][0]:
            newest[int(minor)] = (int(patch), path)
    return {f"3.{minor}.{patch}": path for minor, (patch, path) in sorted(newest.items())}


def counts(log: str) -> dict[str, int]:
    """How many tests passed, failed and were skipped, by the last line of pytest; an error counts as failed."""
    found = {name: int(number) for number, name in re.findall(r"(\d+) (passed|failed|skipped|error)", summary(log))}
    return {
        "passed": found.get("passed", 0),
        "failed": found.get("failed", 0) + found.get("error", 0),
        "skipped": found.get("skipped", 0),
    }


def summary(log: str) -> str:
    """The last line of pytest, or nothing."""
    lines = re.findall(r"^(?:=+ )?(\d+ (?:passed|failed|skipped|error).* in [\d.]+s.*)$", log, re.MULTILINE)
    return lines[-1] if lines else ""


def environment(version: str) -> str:
    """Where a Python's packages are: in .venv if that is of this Python, else in a folder of its own."""
    written = CHECKOUT / ".venv" / "pyvenv.cfg"
    if written.is_file() and f"version = {version}\n" in written.read_text(encoding="utf-8"):
        return ".venv"
    return f"build/python{version}"


def ends(found: dict[str, Path]) -> dict[str, Path]:
    """The oldest and the newest Python, but for the one of .venv."""
    versions = dict.fromkeys((*list(found)[:1], *list(found)[-1:]))
    return {version: found[version] for version in versions if environment(version) != ".venv"}


def tried(version: str, python: Path, targets: list[str]) -> bool:
    """Whether make's targets work under a Python; prints its line, and the end of the log where they do not."""
    log = CHECKOUT / "build" / f"python{version}.log"
    log.parent.mkdir(exist_ok=True)
    command = ["make", "--no-print-directory", *targets, f"PYTHON={python}", f"VENV={environment(version)}"]
    with log.open("w", encoding="utf-8") as file:
        code = subprocess.run(command, cwd=CHECKOUT, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    written = log.read_text(encoding="utf-8")
    number = counts(written)
    if code != 0:
        print("\n".join(written.splitlines()[-30:]))
        print(f"Python {version}: make {' '.join(targets)} failed; {log.relative_to(CHECKOUT)}")
    print(f"{version}: {', '.join(f'{count} {what}' for what, count in number.items())}", flush=True)
    return code == 0 and number["passed"] > 0


def main() -> int:
    """The exit code: 0 where every Python passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the quick tests, under the oldest and the newest Python")
    quick = parser.parse_args().quick
    found = interpreters(candidates())
    if not found:
        print(f"no Python 3.{admitted()} or newer is here")
        return 1
    targets = ["quick"] if quick else ["demo", "test"]
    chosen = ends(found) if quick else found
    failed = [version for version, python in chosen.items() if not tried(version, python, targets)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
