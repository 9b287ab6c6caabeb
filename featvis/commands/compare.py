"""`featvis compare`: variants of a model side by side, at the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featvis.commands import choices
from featvis.commands.asked import GeneratorsAsked, NetworkAsked, as_one, picture_files, with_profile
from featvis.commands.comparison_table import print_comparison, score_words
from featvis.commands.help import command
from featvis.commands.options import (
    COMPENSATION,
    METHOD,
    check_writable,
    network_options,
    progress_bar,
)
from featvis.commands.report import command_line
from featvis.commands.tables import say
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor

    from featvis.audit.batches import Measured
    from featvis.audit.comparison import Comparison
    from featvis.audit.variants import Variant
    from featvis.gradients.attributions import Attribution
    from featvis.models.model import Model
    from featvis.report import Gathered

CALIBRATED = 32
"""At most so many pictures are held out unless --calibrate asks for more; as many of noise where none is."""


class Chain(click.Choice):
    """Names, joined by +."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        for part in str(value).split("+"):
            super().convert(part, parameter, context)
        return str(value)


@dataclass(frozen=True)
class VariantsAsked:
    """Which variants are made, and of what they are measured; fixes: names joined by +. profile: a file. labels: see `known_classes`.

    calibrate: pictures that are held out for backward fixes, None for the usual number.
    """

    fixes: tuple[str, ...]
    methods: tuple[Attribution, ...]
    compensations: tuple[Attribution, ...]
    also: tuple[str, ...]
    score: str
    profile: str | None
    labels: str | None
    calibrate: int | None
    limit: int | None
    skip_bad: bool
    batch_size: int


@command(
    short_help="Variants of a network side by side: effect and price.",
    examples=(
        "featvis compare resnet50 photos/ --with blurpool --with backward-even",
        "featvis compare resnet50 photos/ --with even-kernel --compensate jitter \\\n    --html compare.html",
        "featvis compare --generator dcgan --upsample deconv3,deconv4,icnr,nearest",
    ),
)
@as_one("asked", VariantsAsked)
@as_one("generators", GeneratorsAsked)
@click.argument("given", metavar="MODEL PICTURES... | JSON...", nargs=-1)
@network_options
@click.option(
    "--with",
    "fixes",
    multiple=True,
    type=Chain(choices.FIXES),
    help="A variant with this fix, or with several joined by +.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=METHOD,
    help="A variant with this attribution.",
)
@click.option(
    "--compensate",
    "compensations",
    multiple=True,
    type=COMPENSATION,
    help="A variant whose gradient is treated.",
)
@click.option(
    "--also", multiple=True, metavar="MODEL[=WEIGHTS]", help="Another network as a variant, at the same pixels."
)
@click.option(
    "--score",
    default="top",
    show_default=True,
    help="top (the unchanged model's, for all), a class index or label, layer:channel, seeds or seeds:layer.",
)
@click.option("--profile", type=click.Path(), help="A profile of `audit --save-profile`, for equalise.")
@click.option(
    "--labels", metavar="CSV|names", help="Right classes: a file of picture,label, or names: of files or folders."
)
@click.option(
    "--calibrate",
    type=click.IntRange(0),
    help="Hold out the first so many pictures for backward fixes; 0: noise. [default: a quarter, at most 32]",
)
@click.option("--limit", type=click.IntRange(1), help="Take only the first so many pictures.")
@click.option("--skip-bad", is_flag=True, help="Count pictures that cannot be read, and go on.")
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Pictures at a time.")
@click.option("--json", "json_path", type=click.Path(), help="Write the comparison here.")
@click.option("--out", type=click.Path(), help="Folder for the figures.")
@click.option("--html", "html_path", type=click.Path(), help="Write a page with verdict, gradients and numbers here.")
@click.option("--generator", help="Compare upsampling in a generator of random weights instead of MODEL at PICTURES.")
@click.option(
    "--upsample",
    metavar="NAME,...",
    help="With --generator: deconv3, deconv4, subpixel, icnr, nearest or bilinear in the last two layers, or with -last in the last "
    "one; -smooth2 to -smooth5 add a stride-1 layer of that width.",
)
@click.option("--samples", type=click.IntRange(1), help="Random networks for each variant, with --generator.")
def compare(
    given: tuple[str, ...],
    network: NetworkAsked,
    asked: VariantsAsked,
    generators: GeneratorsAsked,
    json_path: str | None,
    out: str | None,
    html_path: str | None,
) -> None:
    """Measure MODEL and its variants side by side at PICTURES: energies, outputs, steadiness and cost.

    --with, --method, --compensate and --also each add a variant, and can be given again. With names of JSON files instead,
    comparisons of the same pictures and settings that --json wrote become one table.
    """
    from featvis.files import make_folder, write_text

    if generators != GeneratorsAsked():
        compare_generators(given, generators, network, json_path, out)
        return
    saved = bool(given) and all(name.endswith(".json") for name in given)
    if len(given) < 2 and not saved:
        raise FeatvisError(
            "give a MODEL and PICTURES, or JSON files of comparisons; `featvis compare --help` says more"
        )
    if saved and (foreign := given_options("json_path", "out", "html_path")):
        raise FeatvisError(f"files of comparisons are only joined, nothing is measured; leave out {foreign[0]!r}")
    check_writable(json_path, html_path)
    folder = make_folder(out) if out else None
    sketches: Any = None
    gathered: Gathered | None = None
    if saved:
        result = joined_from(given)
    else:
        network, paths = replace(network, spec=given[0]), picture_files(given[1:], asked.limit)
        result, sketches, gathered = compared(network, paths, asked, folder is not None, html_path is not None)
    if json_path:
        write_text(json_path, result.to_json())
    if html_path:
        from featvis.report import write_report

        views, layers = ((), ()) if gathered is None else (gathered.views(), gathered.layers)
        command = command_line(click.get_current_context())
        write_report(html_path, comparison=result, pictures=views, command=command, layers=layers)
    print_comparison(result)
    if folder:
        for path in draw_comparison(result, sketches, folder):
            say(path)


def compare_generators(
    given: Sequence[str], asked: GeneratorsAsked, network: NetworkAsked, json_path: str | None, out: str | None
) -> None:
    """Hands over to the comparison of generators, which takes neither a model nor pictures."""
    from featvis.commands.generator_comparison import run

    if asked.generator is None:
        raise FeatvisError("--upsample and --samples go with --generator; give it, for example --generator dcgan")
    foreign = [*given, *given_options("generator", "upsample", "samples", "seed", "size", "json_path", "out")]
    if foreign:
        raise FeatvisError(
            f"--generator compares networks of random weights without a model or pictures; leave out {foreign[0]!r}"
        )
    run(asked, network.seed, network.size, json_path, out)


def given_options(*but: str) -> list[str]:
    """Options that stand on the command line, apart from some of these names."""
    context = click.get_current_context()
    return [
        parameter.opts[0]
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and parameter.name not in but
        and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    ]


def joined_from(names: Sequence[str]) -> Comparison:
    """The comparisons of several files as one."""
    from featvis.audit.comparison import Comparison
    from featvis.files import read_saved

    found: Comparison | None = None

    def with_those_before(text: str) -> Comparison:
        read = Comparison.from_json(text)
        return read if found is None else found.joined(read)

    for name in names:
        found = read_saved(name, "the comparison ", with_those_before)
    assert found is not None
    return found


def compared(
    network: NetworkAsked, paths: list[Path], asked: VariantsAsked, draws: bool, pages: bool
) -> tuple[Comparison, Any, Gathered | None]:
    """The comparison that is asked for, what its figures show where draws is true, and what a page does likewise."""
    from featvis.audit.request import Request, Watching
    from featvis.audit.variants import CROPS, compare_variants
    from featvis.data.labels import known_classes

    model = network.model()
    variants, paths = variants_from(model, network, paths, asked)
    classes = None if asked.labels is None else known_classes(paths, model.labels, asked.labels)
    request = Request(asked.score, seed=network.seed, batch_size=asked.batch_size, skip_bad=asked.skip_bad)
    sketches, gathered = None, None
    watchers: list[Callable[[str, Measured, int], None]] = []
    if draws:
        from featvis.plots.compare import Sketches

        sketches = Sketches()
        watchers.append(_sketching(sketches, model))
    if pages:
        from featvis.report import Gathered

        gathered = Gathered(model)
        watchers.append(gathered.add)

    def seen(name: str, batch: Measured, total_stride: int) -> None:
        for watcher in watchers:
            watcher(name, batch, total_stride)

    with progress_bar("compare", len(paths)) as progress:
        watching = Watching(progress=progress, seen=seen)
        result = compare_variants(variants, paths, request, classes, CROPS, watching)
    return result, sketches, gathered


def _sketching(sketches: Any, model: Model) -> Callable[[str, Measured, int], None]:
    """Hands what a figure shows on as arrays, pictures as pixels in [0, 1]."""
    from featvis.measure.phases import interior

    def watch(name: str, batch: Measured, total_stride: int) -> None:
        picture = model.pixels_shown(batch.images[0]).permute(1, 2, 0).squeeze(2).cpu().numpy()
        height, width = batch.images.shape[-2:]
        border = interior(height, total_stride).start, interior(width, total_stride).start
        sketches.add(name, picture, batch.gradients.double().cpu().numpy(), border)

    return watch


def variants_from(
    model: Model, network: NetworkAsked, paths: list[Path], asked: VariantsAsked
) -> tuple[dict[str, Variant], list[Path]]:
    """The variants that are asked for, the model itself first, and the pictures that are left to measure them at."""
    from featvis.audit.variants import Variant, fixed_variants

    variants = {"original": Variant(model)}
    calibration, held, note = calibration_from(model, network.seed, paths, asked)
    fixed = fixed_variants(model, list(dict.fromkeys(asked.fixes)), calibration, network.seed)
    for name, variant in fixed.items():
        notes = (*variant.notes, note) if "backward" in variant.kind else variant.notes
        variants[name] = replace(variant, notes=notes)
    for method in asked.methods:
        if method.text != "vanilla":
            variants[method.text] = Variant(model, method)
    for compensation in asked.compensations:
        name = compensation.settings()["compensation"]
        if name != "none":
            variants[name] = Variant(model, with_profile(compensation, asked.profile))
    for name in asked.also:
        spec, _, weights = name.partition("=")
        other = replace(network, spec=spec, weights=weights or None).model()
        # Presets differ in the margin around the crop; all networks get the same pixels.
        other = replace(other, resize=model.resize, interpolation=model.interpolation)
        variants[_short(name, weights)] = Variant(other)
    return variants, paths[held:]


def _short(name: str, weights: str) -> str:
    """The spec, with only the file's name of its weights."""
    return f"{name.partition('=')[0]}={Path(weights).name}" if weights else name


def calibration_from(
    model: Model, seed: int, paths: list[Path], asked: VariantsAsked
) -> tuple[Tensor | None, int, str]:
    """Input that fixes calibrate on, how many pictures are held out for it, and what to say of it."""
    import torch

    from featvis.audit.batches import Loader
    from featvis.repair.surgery import FIXES

    names = {name for chain in asked.fixes for name in chain.split("+")}
    backward = any(name in FIXES and FIXES[name].kind == "backward" for name in names)
    held = asked.calibrate
    if held is None:
        held = min(CALIBRATED, len(paths) // 4) if backward else 0
    if not names:
        return None, held, ""
    if held >= len(paths):
        raise FeatvisError(f"--calibrate {held} leaves none of {len(paths)} pictures to measure; give a smaller number")
    if held == 0:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(CALIBRATED if backward else 1, *model.input_size, generator=generator).to(model.device)
        return noise, 0, "backward fixes that calibrate do so on noise; --calibrate holds out pictures for them"
    batch = next(iter(Loader(model, paths[:held], held, asked.skip_bad)), None)
    if batch is None:
        raise FeatvisError(f"none of the {held} pictures held out for calibration could be read; choose others")
    note = f"the first {held} pictures are held out for backward fixes that calibrate, and measured for no variant"
    return batch.images, held, note


def draw_comparison(result: Comparison, sketches: Any, folder: Path) -> list[Path]:
    """The figures of a comparison, in a folder; without sketches only that of its numbers."""
    import numpy as np

    from featvis.measure.finding import counted
    from featvis.plots import save_figure
    from featvis.plots.compare import ComparedView, comparison_figure, energies_figure

    views = [
        ComparedView(
            title=row.name,
            energies=row.audit.energy,
            controls=row.audit.controls,
            profile=np.array(row.audit.profile),
            differences=row.difference,
        )
        for row in result.rows
    ]
    title, period = result.finding.short(), result.period
    caption = f"{result.settings.get('model')}: {len(views)} variants at the same {counted(result.pictures)}, {score_words(result)}"
    paths = [save_figure(energies_figure(views, period, title), folder / "energies.png")]
    if sketches is not None:
        figure = comparison_figure(sketches, views, period, title, caption)
        paths.append(save_figure(figure, folder / "comparison.png"))
    return paths
