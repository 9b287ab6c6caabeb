"""`featvis report`: a page of what was measured before."""

from __future__ import annotations

import shlex
from typing import Any

import click

from featvis.commands.help import command
from featvis.commands.options import check_writable
from featvis.commands.tables import say
from featvis.errors import FeatvisError


@command(
    short_help="A page of what was measured before.",
    examples=(
        "featvis report audit.json --out page.html",
        "featvis report audit.json comparison.json",
    ),
)
@click.argument("saved", nargs=-1, required=True, metavar="JSON...", type=click.Path())
@click.option("--out", default="report.html", show_default=True, type=click.Path(dir_okay=False), help="The page.")
def report(saved: tuple[str, ...], out: str) -> None:
    """Write one self-contained page of what `audit --json` and `compare --json` saved.

    The page needs no network. It opens with the verdict, and holds every number for download. `featvis audit --html` also shows the
    gradients.
    """
    from featvis.files import read_saved
    from featvis.report import write_report

    check_writable(out)
    found: dict[str, Any] = {}
    for path in saved:
        kind, result = read_saved(path, "", _parsed)
        if kind in found:
            raise FeatvisError(
                f"{path!r} is a second {kind}; a page shows at most one audit and one comparison. "
                "`featvis compare A.json B.json --json C.json` joins comparisons"
            )
        found[kind] = result
    written = write_report(out, **found)
    say(f"wrote {written}")


def _parsed(text: str) -> tuple[str, Any]:
    """What a file holds, as its schema says, and its kind; raises FeatvisError for what no page can be made of."""
    import json

    from featvis.audit import comparison
    from featvis.audit import record as audit

    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema == audit.SCHEMA:
        return "audit", audit.Audit.from_json(text)
    if schema == comparison.SCHEMA:
        return "comparison", comparison.Comparison.from_json(text)
    raise FeatvisError(
        f"schema {schema!r}; expected {audit.SCHEMA!r} or {comparison.SCHEMA!r}, as `featvis audit --json` and "
        "`featvis compare --json` write. Other commands write their pages themselves, with --html"
    )


def command_line(context: click.Context) -> str:
    """The running command as it was given, with options by their long names."""
    parts = ["featvis", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            parts += [value] if isinstance(value, str) else value
            continue
        for one in value if parameter.multiple else [value]:
            parts += [parameter.opts[0], *([] if one is True else [_option_text(one, parameter.opts[0])])]
    return shlex.join(parts)


def _option_text(value: Any, option: str) -> str:
    """A value as the options that convert it read it: sizes of whole numbers with x, other numbers with commas, None for auto."""
    if option in ("--method", "--compensate"):
        return value.settings()["method" if option == "--method" else "compensation"]
    if isinstance(value, tuple):
        return ("x" if all(isinstance(part, int) for part in value) else ",").join(map(str, value))
    return "auto" if value is None else str(value)
