"""The command lines of the studies: each shows its own docstring as help."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows the description as it is written."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def archive_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that asks for CIFAR-10's archive."""
    parser = parser_of(description)
    parser.add_argument("archive", type=Path)
    return parser


def archive_argument(description: str | None) -> Path:
    """The archive that the command line names, of a study that asks for nothing else."""
    return archive_parser(description).parse_args().archive


def mobilenet_arguments(description: str | None) -> argparse.Namespace:
    """Pictures and MobileNetV2's weights, of a study that asks for nothing else."""
    parser = parser_of(description)
    parser.add_argument("pictures")
    parser.add_argument(
        "--weights", required=True, help="MobileNetV2's, for inputs with mean .5 and standard deviation .5"
    )
    return parser.parse_args()


def folders_in(text: str) -> list[Path]:
    """The folders of a comma-separated list."""
    return [Path(folder) for folder in text.split(",") if folder]
