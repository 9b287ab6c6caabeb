"""`featvis images`: the checkerboard in picture files, without a network."""

from __future__ import annotations

import click

from featvis.commands.generator import print_pictures
from featvis.commands.help import command
from featvis.commands.options import check_writable
from featvis.commands.tables import print_notes, say


@command(
    short_help="The checkerboard in picture files, without a network.",
    examples=(
        "featvis images out/*.png",
        "featvis images dreams/ --period 32 --skip-bad --json -",
    ),
)
@click.argument("pictures", nargs=-1, required=True, type=click.Path())
@click.option(
    "--period",
    type=click.IntRange(2),
    default=8,
    show_default=True,
    help="The longest period; its divisors are measured too.",
)
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures.")
@click.option("--skip-bad", is_flag=True, help="Count pictures that cannot be read, and go on.")
@click.option("--json", "json_path", type=click.Path(), help="Write the numbers here.")
def images(pictures: tuple[str, ...], period: int, limit: int | None, skip_bad: bool, json_path: str | None) -> None:  # fmt: skip
    """Measure the checkerboard in PICTURES themselves (files, folders, globs), raw and high-passed, as they are."""
    from featvis.data.pictures import find_pictures
    from featvis.files import write_document
    from featvis.gan import audit_picture_files, fine_detail
    from featvis.measure.finding import counted

    check_writable(json_path)
    paths = find_pictures(pictures)[:limit]
    result = audit_picture_files(paths, period, skip_bad)
    if json_path:
        write_document(json_path, {"schema": "featvis.images/1", **result.content()})
    say(result.finding.sentence())
    print_pictures({"files": result}, f"{counted(result.pictures)}, errors from {result.raw.replicates}")
    say(f"share of power above 1/4 cycle per pixel: {fine_detail(result):.4f} (white noise 0.80)")
    print_notes(result.raw.notes)
