"""`featvis report`: a page of what was measured before."""

from __future__ import annotations

import shlex

import click

from featvis.commands.options import check_writable
from featvis.errors import FeatvisError


@click.command()
@click.argument("saved", nargs=-1, required=True, metavar="JSON...", type=click.Path())
@click.option("--out", default="report.html", show_default=True, type=click.Path(dir_okay=False), help="The page.")
def report(saved: tuple[str, ...], out: str) -> None:
    """Write one self-contained page of what `audit --json` and `compare --json` saved.

    The page needs no network. It opens with the verdict, and holds every number for download. `featvis audit --html` also shows the
    gradients.
    """
    from featvis.audit import SCHEMA, Audit
    from featvis.comparison import Comparison
    from featvis.files import read_saved
    from featvis.report import write_report

    check_writable(out)
    audits, comparisons = [], []
    for path in saved:
        result = read_saved(
            path, "", lambda text: (Audit if f'"{SCHEMA}"' in text[:200] else Comparison).from_json(text)
        )
        if isinstance(result, Audit):
            audits.append(result)
        else:
            comparisons.append(result)
    if len(audits) > 1 or len(comparisons) > 1:
        raise FeatvisError(
            f"{len(audits)} audits and {len(comparisons)} comparisons; a page shows at most one of each. "
            "`featvis compare A.json B.json --json C.json` joins comparisons"
        )
    written = write_report(out, audits[0] if audits else None, comparisons[0] if comparisons else None)
    click.echo(f"wrote {written}")


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
        else:
            parts += [parameter.opts[0], *([] if value is True else [_option_text(value)])]
    return shlex.join(parts)


def _option_text(value: object) -> str:
    """A value as the options that convert it read it: sizes of whole numbers with x, other numbers with commas, None for auto."""
    if isinstance(value, tuple):
        return ("x" if all(isinstance(part, int) for part in value) else ",").join(map(str, value))
    return "auto" if value is None else str(value)
