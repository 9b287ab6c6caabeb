"""The command line: each command is a file in `featvis/commands/`, loaded when it is asked for."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from featvis import __version__
from featvis.commands.terminal import show_everywhere
from featvis.errors import FeatvisError, shown

COMMANDS = (
    "layers",
    "grad",
    "audit",
    "overlap",
    "linear",
    "predict",
    "fix",
    "compare",
    "dream",
    "discriminator",
    "generator",
    "images",
    "maps",
    "report",
    "zoo",
    "demo",
)


class _Commands(click.Group):
    """Loads a command's module on demand, and turns what a user can mend into one line and exit code 2."""

    def main(self, *arguments: Any, **settings: Any) -> Any:
        # Read when torch loads: threads that spin while they wait take several times the work of a short command.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        show_everywhere()
        try:
            return super().main(*arguments, **settings)
        finally:
            _flush()

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"featvis.commands.{name}"), name)

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        with _one_line(context):
            return super().parse_args(context, arguments)

    def invoke(self, context: click.Context) -> Any:
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        with _one_line(context):
            return super().invoke(context)


def _flush() -> None:
    """Print what is left while a full device is still one line; Python itself would do so when nobody can answer."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _cannot_print(error)
        raise SystemExit(2) from None


def _cannot_print(error: OSError) -> None:
    """Say so once; what is left goes nowhere."""
    click.echo(f"featvis: cannot print: {error.strerror or error}", file=sys.stderr)
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@contextlib.contextmanager
def _one_line(context: click.Context) -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except (FeatvisError, click.UsageError) as error:
        said = str(error)
        if isinstance(error, click.UsageError):
            command = (error.ctx or context).command_path
            said = f"{error.format_message().rstrip('.')}; `{command} --help` lists what it takes"
        click.echo(f"featvis: {shown(' '.join(said.split()))}", file=sys.stderr)
        context.exit(2)
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EIO):
            _cannot_print(error)
            context.exit(2)
        # Exit code 1 would say that a checkerboard was found.
        click.echo(f"featvis: {_fault(error)}", file=sys.stderr)
        context.exit(2)


def _fault(error: Exception) -> str:
    """What to say of an error that nobody foresaw: a fault of featvis, until somebody has looked."""
    package = str(Path(__file__).parent.parent)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(package)]
    where = f" ({Path(frames[-1].filename).relative_to(package)}, line {frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    return f"a fault of featvis, not of what it was given: {type(error).__name__}: {said}{where}; please report it"


EXAMPLES = """\b
Examples:
  featvis demo
  featvis audit resnet50 photos/ --culprits --html page.html
"""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="featvis")
def main() -> None:
    """Measure the checkerboard in the gradients of convolutional networks, and find, compensate and remove its cause."""
