"""The page of a dream, or of dreams side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from featvis.audit.record import Audit
from featvis.dream.comparison import Measured, fine_detail, record_of
from featvis.dream.verdict import changes, verdict
from featvis.errors import FeatvisError
from featvis.files import document_text, write_text
from featvis.measure.change import Change, least
from featvis.report.explorer import stack_of_rows
from featvis.report.page import Parts, page_html
from featvis.report.sides import sides_of
from featvis.report.tables import Grid, Number, audit_numbers, csv_of, profile_images
from featvis.report.views import PictureView, Version, channels_last

PHOTOGRAPH = "photograph"
"""What the start of a dream is called beside it."""


def write_dreams(
    path: str | Path,
    found: Sequence[Measured],
    start: Tensor | None = None,
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    command: str = "",
) -> Path:
    """Write `dreams_html` to a file."""
    return write_text(path, dreams_html(found, start, settings, notes, command))


def dreams_html(
    found: Sequence[Measured],
    start: Tensor | None = None,
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    command: str = "",
) -> str:
    """A page that needs no network: verdict, dreams and photograph side by side, energies, and how they were made.

    found: one dream, or several of one size, the first of which the others are held against. start: the photograph, (C, H, W) in
    [0, 1]. settings: what is not in a dream's own, such as the photograph's name. command: what repeats it. Raises FeatvisError
    where there is no dream.
    """
    if not found:
        raise FeatvisError("a page of dreams needs at least one; none was given")
    first = found[0].dream
    common = {
        name: value
        for name, value in first.settings.items()
        if all(one.dream.settings.get(name) == value for one in found)
    }
    everything = {**common, **(settings or {})}
    energies = {
        "picture": {one.title: Audit.of(one.picture) for one in found if one.picture is not None},
        "gradient": {one.title: Audit.of(one.gradient) for one in found if one.gradient is not None},
    }
    best = least(changes(found))
    finding = None if found[0].picture is None else Audit.of(found[0].picture).finding
    views = _views(found, start)
    return page_html(
        "dream.html",
        Parts(
            title=f"Dream of {first.settings.get('model', 'a network')}",
            verdict=verdict(found),
            numbers={
                "dream.json": document_text(record_of(found, everything, notes)),
                "numbers.csv": csv_of((one.title, _numbers(one)) for one in found),
            },
            command=command,
            settings=everything,
            stack=stack_of_rows(first.strided),
            remarks=(*notes, *(note for one in found for note in one.notes)),
            views=views,
            period=first.total_stride if finding is None else finding.spoken,
            gridded=finding is not None and finding.period is not None,
            sides={} if finding is None else sides_of(energies["picture"], finding),
            chosen=_chosen([version.label for view in views for version in view.versions], found, best),
        ),
        found=found,
        photograph=PHOTOGRAPH if start is not None else None,
        grids={what: Grid.of(audits) for what, audits in energies.items() if audits},
        profiles={
            what: profile_images({title: audit.profile for title, audit in audits.items()})
            for what, audits in energies.items()
        },
    )


def _views(found: Sequence[Measured], start: Tensor | None) -> list[PictureView]:
    """The photograph and every dream that has any detail, as versions of one picture."""
    shown = [] if start is None else [(PHOTOGRAPH, start, fine_detail(start))]
    shown += [(one.title, one.dream.picture, one.detail) for one in found]
    versions = tuple(
        Version(title, channels_last(picture), detail.numpy())
        for title, picture, detail in shown
        if bool(detail.any()) and bool(detail.isfinite().all())
    )
    return [PictureView("dream", versions)] if versions else []


def _chosen(labels: Sequence[str], found: Sequence[Measured], best: Change | None) -> tuple[int, int]:
    """The versions to begin with: the first dream and the evenest, or the photograph and a single dream."""
    if len(found) == 1 or found[0].title not in labels:
        return 0, 1
    first = labels.index(found[0].title)
    evenest = "" if best is None else best.name.strip("“”")
    return first, labels.index(evenest) if evenest in labels else first + 1


def _numbers(one: Measured) -> list[Number]:
    numbers = [Number("objective", one.objective), Number("seconds", one.seconds)]
    numbers += [Number("objective by step", value, row=step) for step, value in enumerate(one.dream.history)]
    for what, energies in (("gradient", one.gradient), ("fine detail", one.picture)):
        if energies is not None:
            numbers += [
                number._replace(measure=f"{what}: {number.measure}") for number in audit_numbers(Audit.of(energies))
            ]
    return numbers
