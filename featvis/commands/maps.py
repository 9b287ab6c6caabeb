"""`featvis maps`: the checkerboard in maps that any tool wrote, without a network."""

from __future__ import annotations

import os
from pathlib import Path

import click

from featvis.commands.audit import judge, print_audit
from featvis.commands.help import command
from featvis.commands.options import Finite, check_writable


@command(
    short_help="The checkerboard in maps from any tool, without a network.",
    examples=(
        "featvis maps gradcam/*.npy",
        "featvis maps saliency/ --layout bhwc --fail-above 0.05 --json -",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option(
    "--period", type=click.IntRange(2), help="The longest period measured; the strongest found, or 8, by default."
)
@click.option(
    "--layout",
    type=click.Choice(("hw", "chw", "hwc", "bhw", "bchw", "bhwc")),
    help="What the dimensions are: b maps, c channels, h rows, w columns; needed where the shape does not say.",
)
@click.option("--array", metavar="NAME", help="The array to take, where an .npz holds several.")
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many files.")
@click.option(
    "--fail-above", type=Finite(0), help="Exit with code 1 where E of a period is above this by more than two errors."
)
@click.option("--json", "json_path", type=click.Path(), help="Write the numbers here.")
@click.pass_context
def maps(
    context: click.Context,
    files: tuple[str, ...],
    period: int | None,
    layout: str | None,
    array: str | None,
    limit: int | None,
    fail_above: float | None,
    json_path: str | None,
) -> None:
    """Measure the checkerboard in FILES of maps (.npy, .npz; folders, globs), and find the periods in which they repeat."""
    from featvis.audit.maps import audit_maps
    from featvis.data.arrays import MapFiles, find_maps
    from featvis.files import write_text

    check_writable(json_path)
    paths = find_maps(files)[:limit]
    result = audit_maps(MapFiles(paths, layout, array), period, names=[Path(path).name for path in paths])
    if json_path:
        write_text(json_path, result.to_json())
    print_audit(result, os.path.commonpath(paths))
    judge(context, result, fail_above, None)
