"""`featvis audit`: how strong the checkerboard in a model's gradients is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from featvis.commands.options import (
    check_writable,
    format_estimate,
    gradient_options,
    model_from,
    model_options,
    pictures_from,
    print_table,
    progress_bar,
)

if TYPE_CHECKING:
    from featvis.audit import Audit


@click.command()
@model_options
@gradient_options
@click.option("--culprits", is_flag=True, help="Also find the layers that make it: the audit is repeated for each.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Pictures at a time.")
@click.option("--json", "json_path", type=click.Path(), help="Write the audit here.")
@click.option("--save-profile", "profile_path", type=click.Path(), help="Write the phase profile here, for equalise.")
def audit(culprits: bool, json_path: str | None, profile_path: str | None, **options: Any) -> None:
    """Measure the checkerboard in a model's input gradients at PICTURES (files, folders, globs), by period."""
    from featvis.audit import audit_pictures, save_profile
    from featvis.culprits import find_culprits
    from featvis.files import write_text

    check_writable(json_path, profile_path)
    paths = pictures_from(options)
    model = model_from(options)
    profile = profile_from(options)
    compensation = options.pop("compensate")
    with progress_bar("audit", len(paths)) as progress:
        result = audit_pictures(model, paths, compensation=compensation, profile=profile, progress=progress, **options)
    if culprits:
        with progress_bar("culprits", 2 * -(-len(paths) // options["batch_size"])) as progress:
            found, notes = find_culprits(model, paths, result, progress)
        result = replace(result, culprits=found, notes=(*result.notes, *notes))
    if json_path:
        write_text(json_path, result.to_json())
    if profile_path:
        save_profile(result, profile_path)
    print_audit(result, model.spec)
    if result.culprits:
        print_culprits(result)


def profile_from(options: dict[str, Any]) -> Any:
    """The measured profile that --profile names, taken out of the options; None where it names none."""
    from featvis.audit import load_profile

    path = options.pop("profile")
    return None if path is None else load_profile(path)[0]


def print_audit(result: Audit, name: str) -> None:
    """The verdict, the table by period, and what stands beside it."""
    from featvis.energy import white_flatness

    click.echo(verdict(result))
    rows = []
    for period in sorted({*result.energy, *result.controls}):
        control = period in result.controls
        rows.append(
            (
                f"{period}" + ("  control" if control else ""),
                format_estimate(result.controls[period] if control else result.energy[period]),
                "" if control else format_estimate(result.exact_periods[period]),
                "" if control else format_estimate(result.signed_comb.get(period)),
            )
        )
    title = f"{name}: {result.pictures} pictures, errors from {result.replicates}"
    print_table(title, ("period", "energy E", "of exactly this period", "signed comb S"), rows)
    click.echo(f"high-frequency share    {format_estimate(result.high_frequency_share)}  (white noise 0.75)")
    white = white_flatness(len(result.profile), len(result.profile[0]))
    click.echo(f"mean gradient flatness  {result.mean_gradient_flatness:.3f}  (white noise {white:.2f})")
    if result.skipped:
        click.echo(f"skipped {len(result.skipped)} pictures that could not be read; the first: {result.skipped[0]}")
    for note in result.notes:
        click.echo(f"note: {note}")


def verdict(result: Audit) -> str:
    """One sentence: the strongest period, or that there is none above the noise."""
    clear = {p: e for p, e in result.exact_periods.items() if e.error is None or e.value > 3 * e.error}
    total = result.energy.get(result.total_stride)
    if total is None:
        return "No layer has a stride, so there is no period in which a checkerboard could repeat."
    if not clear:
        return f"No checkerboard above the noise: E({result.total_stride}) = {format_estimate(total)}."
    strongest = max(clear, key=lambda period: clear[period].value)
    return (
        f"Period-{strongest} checkerboard: {format_estimate(clear[strongest])} of the energy "
        f"E({result.total_stride}) = {format_estimate(total)}."
    )


def print_culprits(result: Audit) -> None:
    """The layers that change the resolution, strongest first, and what their shares leave unexplained."""
    total = result.total_stride
    rows = [
        (
            culprit.layer,
            "x".join(map(str, dict.fromkeys(culprit.kernel))),
            "x".join(map(str, dict.fromkeys(culprit.stride))),
            "x".join(map(str, dict.fromkeys(culprit.remainder))),
            f"{culprit.period}",
            "-" if culprit.injected is None else f"{culprit.injected:.4f}",
            format_estimate(culprit.measured),
            format_estimate(culprit.left[total]),
            *(f"{share:+.0%}" for share in culprit.shares.values()),
            f"{culprit.share:+.0%}",
        )
        for culprit in result.culprits
    ]
    periods = [f"period {period}" for period in result.exact_periods]
    columns = (
        *("layer", "kernel", "stride", "k mod s", "period", "own E, predicted", "own E, measured", f"E({total}) left"),
        *periods,
        "share",
    )
    print_table("culprits: what is left when this layer alone passes its gradient back evenly", columns, rows)
    summed = [sum(culprit.shares[period] for culprit in result.culprits) for period in result.exact_periods]
    present = [estimate.value / result.energy[total].value for estimate in result.exact_periods.values()]
    for text, shares in (
        ("the shares add up to", summed),
        ("not explained by single layers", [all_ - known for all_, known in zip(present, summed, strict=True)]),
    ):
        by_period = ", ".join(
            f"{share:+.0%} of period {period}" for period, share in zip(result.exact_periods, shares, strict=True)
        )
        click.echo(f"{text}: {sum(shares):+.0%} of E({total}) ({by_period})")
