"""The page of an audit, of a comparison of variants, or of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from featvis.audit.comparison import Comparison, Row
from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.files import write_text
from featvis.measure.by_period import lines_by_period
from featvis.measure.change import least
from featvis.measure.spectra import white_flatness
from featvis.predict.overlap import Stack
from featvis.report.explorer import stack_of, stack_of_rows
from featvis.report.page import Parts, page_html
from featvis.report.sides import Side, at_period, sides_at, sides_of
from featvis.report.tables import Grid, Scale, audit_numbers, csv_of, profile_images, variant_numbers
from featvis.report.views import PictureView
from featvis.report.words import command_of, comparison_command_of
from featvis.tracing.layer_table import LayerRow


def write_report(
    path: str | Path,
    audit: Audit | None = None,
    comparison: Comparison | None = None,
    pictures: Sequence[PictureView] = (),
    command: str | None = None,
    layers: Sequence[LayerRow] = (),
) -> Path:
    """Write `report_html` to a file."""
    return write_text(path, report_html(audit, comparison, pictures, command, layers))


def report_html(
    audit: Audit | None = None,
    comparison: Comparison | None = None,
    pictures: Sequence[PictureView] = (),
    command: str | None = None,
    layers: Sequence[LayerRow] = (),
) -> str:
    """A page that needs no network: verdict, energies, gradients, culprits, variants, an explorer, and how it was measured.

    pictures: with their gradients, as many as fit into 5 MB; beside a comparison alone, those in each variant, in its order. command:
    what repeats the measurement, by default the settings as a command line. layers: those with a stride, which the explorer starts from;
    by default the culprits. Raises FeatvisError where neither finding is given.
    """
    if audit is not None:
        culprits = stack_of((culprit.period, culprit.kernel, culprit.stride) for culprit in audit.culprits)
        return _audit_html(audit, comparison, pictures, command, stack_of_rows(layers) if layers else culprits)
    if comparison is None:
        raise FeatvisError("a page needs an audit or a comparison; neither was given")
    return _comparison_html(comparison, pictures, command, stack_of_rows(layers))


def _audit_html(
    audit: Audit, comparison: Comparison | None, pictures: Sequence[PictureView], command: str | None, stack: Stack
) -> str:
    numbers = {"audit.json": audit.to_json()}
    subjects = [("audit", audit_numbers(audit))]
    lines = lines_by_period(audit)
    if comparison is not None:
        numbers["comparison.json"] = comparison.to_json()
        subjects += [(f"variant {row.name}", variant_numbers(row)) for row in comparison.rows]
    return page_html(
        "audit.html",
        Parts(
            title=f"Checkerboard audit of {audit.settings.get('model', 'a network')}",
            verdict=replace(audit.finding, remedy="" if comparison is None else comparison.remedy()).sentence(),
            numbers={**numbers, "numbers.csv": csv_of(subjects)},
            command=command or command_of(audit),
            settings=audit.settings if comparison is None else {**audit.settings, **comparison.settings},
            stack=stack,
            dims=1 if len(audit.profile) < audit.total_stride else 2,
            remarks=(*audit.notes, *(comparison.notes if comparison else ())),
            skipped=list(dict.fromkeys((*audit.skipped, *(comparison.skipped if comparison else ())))),
            views=pictures,
            period=audit.finding.spoken,
            gridded=audit.finding.period is not None,
            of_energy=True,
            sides=_sides_of(audit, pictures),
        ),
        audit=audit,
        comparison=comparison,
        variants=None if comparison is None else Grid.of(*_variants(comparison.rows)),
        scale=Scale.holding([line.energy for line in lines]),
        lines=lines,
        profiles=profile_images({"": at_period(audit.profile, audit.finding.spoken).tolist()}),
        white=white_flatness(len(audit.profile), len(audit.profile[0])),
    )


def _sides_of(audit: Audit, views: Sequence[PictureView]) -> dict[str, Side]:
    """What was measured, and the maps beside it at the pictures that are shown."""
    labels = list(dict.fromkeys(version.label for view in views for version in view.versions))
    plain = {audit.settings.get(name, given) for name, given in (("method", "vanilla"), ("compensation", "none"))}
    # Plain gradients come first, beside what was measured instead of them.
    own = labels[:1] if plain == {"vanilla", "none"} else labels[1:2]
    finding = audit.finding
    return sides_at(views, finding.spoken, audit.pictures) | sides_of(dict.fromkeys(own, audit), finding)


def _comparison_html(comparison: Comparison, pictures: Sequence[PictureView], command: str | None, stack: Stack) -> str:
    rows = comparison.rows
    best = least(comparison.changes)
    return page_html(
        "compare.html",
        Parts(
            title=f"Checkerboard of {comparison.settings.get('model', 'a network')} and its variants",
            verdict=comparison.verdict(),
            numbers={
                "comparison.json": comparison.to_json(),
                "numbers.csv": csv_of((f"variant {row.name}", variant_numbers(row)) for row in rows),
            },
            command=command or comparison_command_of(comparison),
            settings=comparison.settings,
            stack=stack,
            remarks=(*comparison.notes, *(note for row in rows for note in row.audit.notes)),
            skipped=comparison.skipped,
            views=pictures,
            period=comparison.finding.spoken,
            gridded=comparison.finding.period is not None,
            of_energy=True,
            sides=sides_of({row.name: row.audit for row in rows}, comparison.finding),
            chosen=(0, 1 if best is None else [row.name for row in rows].index(best.name)),
        ),
        comparison=comparison,
        variants=Grid.of(*_variants(rows)),
        profiles=profile_images(
            {row.name: at_period(row.audit.profile, comparison.finding.spoken).tolist() for row in rows}
        ),
    )


def _variants(rows: Sequence[Row]) -> tuple[dict[str, Audit], dict[str, str]]:
    """Audits and kinds by the variants' names."""
    return {row.name: row.audit for row in rows}, {row.name: row.kind for row in rows}
