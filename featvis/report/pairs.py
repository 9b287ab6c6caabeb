"""The pages of a discriminator and of a generator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featvis.files import document_text, write_text
from featvis.gan import DiscriminatorAudit, GeneratorAudit, NeutralAudit, PictureAudit, Verdict, fine_detail, high_pass
from featvis.measure.spectra import white_flatness
from featvis.report.charts import spectrum_chart
from featvis.report.explorer import stack_of, stack_of_rows
from featvis.report.gallery import gallery
from featvis.report.page import Parts, page_html
from featvis.report.sides import sides_of
from featvis.report.tables import Grid, Number, audit_numbers, csv_of, profile_images
from featvis.report.views import SHOWN, PictureView, Version, channels_last


def write_discriminator(
    path: str | Path, result: DiscriminatorAudit, notes: Sequence[str] = (), command: str = ""
) -> Path:
    """Write `discriminator_html` to a file."""
    return write_text(path, discriminator_html(result, notes, command))


def discriminator_html(result: DiscriminatorAudit, notes: Sequence[str] = (), command: str = "") -> str:
    """A page that needs no network: verdict, gradients at each source of pictures, energies, resolutions, and how it was measured.

    notes: of the command, beside the result's own. command: what repeats the measurement.
    """
    source = result.sources[result.main]
    audits = {name: found.audit for name, found in result.sources.items()}
    remarks = (*notes, *result.notes)
    resolutions = {layer.layer: layer for found in result.sources.values() for layer in found.resolutions}
    return page_html(
        "discriminator.html",
        Parts(
            title=f"Gradients of the discriminator {result.settings.get('model', '')}",
            verdict=result.finding.sentence(),
            numbers={
                "discriminator.json": document_text({**result.content(), "notes": remarks}),
                "numbers.csv": csv_of([*_source_numbers(result), *_neutral_numbers(result.neutral)]),
            },
            command=command,
            settings=result.settings,
            stack=stack_of((-layer.size[0], layer.kernel, layer.stride) for layer in resolutions.values()),
            remarks=remarks,
            views=_sample_views(result),
            period=result.finding.spoken,
            gridded=result.finding.period is not None,
            of_energy=True,
            sides=sides_of({result.main: source.audit, **audits}, result.finding),
        ),
        result=result,
        audit=source.audit,
        audits=audits,
        grid_of=Grid.of(audits, {name: f"{audit.pictures} pictures" for name, audit in audits.items()}),
        outputs={name: found.output for name, found in result.sources.items()},
        **_judged({name: found.verdict for name, found in result.sources.items()}),
        samples=gallery(_samples(result)),
        agreement_heads=[head for kind in result.agreements for head in (f"{kind} agrees", "other places as good")],
        profiles=profile_images(
            {name: found.verdict.shown(found.audit.profile) for name, found in result.sources.items()}
        ),
        white=white_flatness(len(source.audit.profile), len(source.audit.profile[0])),
        resolutions=list(resolutions.values()),
        resolved={
            (name, layer.layer): layer.energy for name, found in result.sources.items() for layer in found.resolutions
        },
        agreed=sorted({period for found in result.agreements.values() for period in found}),
        free=None if result.neutral is None else Grid.of(result.neutral.high_passed),
    )


def _judged(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """What the table of chances reads."""
    judged = sorted({period for verdict in verdicts.values() for period in verdict.chances})
    return {"verdicts": verdicts, "judged": judged, "chance_heads": [f"chance, period {period}" for period in judged]}


def _samples(result: DiscriminatorAudit) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Pictures and their gradients: real and generated ones, as far as there are any, else the first source's."""
    mean, std = result.settings["mean"][0], result.settings["std"][0]
    names = [name for name in ("real", "generated") if name in result.examples] or list(result.examples)[:1]
    return {
        name: [
            (channels_last(picture * std + mean), gradient.numpy())
            for picture, gradient in zip(*result.examples[name], strict=True)
        ]
        for name in names
    }


def _sample_views(result: DiscriminatorAudit) -> list[PictureView]:
    """The first of them, real and generated ones as two sides, and what free pixels became."""
    samples = _samples(result)
    views = [
        PictureView(f"sample {number + 1}", tuple(Version(name, *pairs[number]) for name, pairs in samples.items()))
        for number in range(min([SHOWN, *map(len, samples.values())]))
    ]
    if result.neutral is not None:
        example = result.neutral.example.cpu()
        detail = high_pass(example.unsqueeze(0))[0].numpy()
        if detail.any():
            shown = channels_last(example * result.settings["std"][0] + result.settings["mean"][0])
            views.append(PictureView("free pixels", (Version("free pixels", shown, detail),)))
    return views


def _source_numbers(result: DiscriminatorAudit) -> Iterator[tuple[str, list[Number]]]:
    for name, source in result.sources.items():
        numbers = [Number("logit", *source.output), *audit_numbers(source.audit)]
        numbers += [Number("chance", chance, period=period) for period, chance in source.verdict.chances.items()]
        for layer in source.resolutions:
            numbers.append(Number("energy at the layer's own stride", *layer.energy, layer=layer.layer))
        yield name, numbers
    for kind, found in result.agreements.items():
        for period, agreement in found.items():
            yield (
                f"agreement, {kind}",
                [
                    Number("cosine", agreement.cosine, period=period),
                    Number("share of shifts as good", agreement.chance, period=period),
                ],
            )


def _neutral_numbers(neutral: NeutralAudit | None) -> Iterator[tuple[str, Iterator[Number]]]:
    for name, audit in (neutral.high_passed if neutral is not None else {}).items():
        yield f"free pixels, {name}", audit_numbers(audit)


def write_generator(path: str | Path, result: GeneratorAudit, notes: Sequence[str] = (), command: str = "") -> Path:
    """Write `generator_html` to a file."""
    return write_text(path, generator_html(result, notes, command))


def generator_html(result: GeneratorAudit, notes: Sequence[str] = (), command: str = "") -> str:
    """A page that needs no network: verdict, pictures and their fine detail side by side, energies, spectra, how it was measured.

    notes: of the command, beside the result's own. command: what repeats the measurement.
    """
    trained = next(iter(result.pictures.values()))
    remarks = (*result.notes, *notes)
    kinds = {"high-passed": "high_passed", "raw": "raw"}
    grids = {
        kind: Grid.of(
            {name: getattr(audit, field) for name, audit in result.pictures.items()},
            {name: f"{audit.pictures} pictures" for name, audit in result.pictures.items()},
        )
        for kind, field in kinds.items()
    }
    return page_html(
        "generator.html",
        Parts(
            title=f"Pictures of the generator {result.settings.get('generator', '')}",
            verdict=result.finding.sentence(),
            numbers={
                "generator.json": document_text({**result.content(), "notes": remarks}),
                "numbers.csv": csv_of(_picture_numbers(result.pictures)),
            },
            command=command,
            settings=result.settings,
            stack=stack_of_rows(result.enlarging),
            remarks=remarks,
            views=_generated_views(result),
            period=result.finding.spoken,
            gridded=result.finding.period is not None,
            sides=sides_of({name: audit.high_passed for name, audit in result.pictures.items()}, result.finding),
            chosen=(0, len(result.pictures) - 1),
        ),
        result=result,
        grids=grids,
        **_judged({name: audit.verdict for name, audit in result.pictures.items()}),
        longest=trained.high_passed.total_stride,
        profiles=profile_images({name: audit.high_passed.profile for name, audit in result.pictures.items()}),
        chart=spectrum_chart(
            {name: audit.spectrum for name, audit in result.pictures.items()}, trained.high_passed.total_stride
        ),
        shares={name: fine_detail(audit) for name, audit in result.pictures.items()},
    )


def _generated_views(result: GeneratorAudit) -> list[PictureView]:
    """The first pictures of each kind with their fine detail; those without any are left out."""
    low, high = result.settings["range"]
    views = []
    for number in range(min([SHOWN, *map(len, result.examples.values())])):
        versions = []
        for name, pictures in result.examples.items():
            picture = ((pictures[number] - low) / (high - low)).cpu()
            detail = high_pass(picture.unsqueeze(0))[0].numpy()
            if detail.any():
                versions.append(Version(name, channels_last(picture), detail))
        if versions:
            views.append(PictureView(f"picture {number + 1}", tuple(versions)))
    return views


def _picture_numbers(pictures: Mapping[str, PictureAudit]) -> Iterator[tuple[str, list[Number]]]:
    for name, audit in pictures.items():
        yield f"{name}, raw", list(audit_numbers(audit.raw))
        numbers = list(audit_numbers(audit.high_passed))
        numbers += [Number("chance", chance, period=period) for period, chance in audit.verdict.chances.items()]
        yield f"{name}, high-passed", numbers
        yield (
            name,
            [
                Number("share of power above 1/4 cycle per pixel", fine_detail(audit)),
                *(Number(f"power at {frequency:g} cycles per pixel", power) for frequency, power in audit.spectrum),
            ],
        )
