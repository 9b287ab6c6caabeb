"""`featvis grad`: gradient maps of single pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featvis.commands.help import command
from featvis.commands.options import gradient_options, model_options
from featvis.commands.tables import print_notes, say

if TYPE_CHECKING:
    from torch import Tensor

    from featvis.commands.asked import GradientAsked, NetworkAsked
    from featvis.gradients.engine import GradientEngine
    from featvis.measure.finding import Finding
    from featvis.models.model import Model
    from featvis.plots import GradientView


@command(
    short_help="Gradient maps of single pictures.",
    examples=(
        "featvis grad resnet50 cat.png --out out/",
        "featvis grad resnet50 *.png --method smoothgrad --compensate jitter",
    ),
)
@model_options
@gradient_options
@click.option("--out", default="out", show_default=True, type=click.Path(), help="Folder for the pictures and arrays.")
def grad(network: NetworkAsked, gradient: GradientAsked, out: str) -> None:
    """Draw the gradient at each of PICTURES beside its phase profile and spectrum, and save it as .npz."""
    from featvis.files import make_folder

    paths = gradient.paths()
    folder = make_folder(out)
    draw_gradients(network.model(), paths, folder, gradient, network.seed)


def draw_gradients(model: Model, paths: list[Path], folder: Path, asked: GradientAsked, seed: int) -> None:
    """A figure and an array for each picture; prints a line for each."""
    import numpy as np

    from featvis.audit.record import check_gradients
    from featvis.errors import FeatvisError
    from featvis.files import write_atomically
    from featvis.gradients.attributions import PLAIN
    from featvis.gradients.engine import GradientEngine
    from featvis.plots import gradient_figure, save_figure

    attribution = asked.attribution()
    engine = GradientEngine(model, asked.score, seed)
    versions = {"gradient": PLAIN} if attribution == PLAIN else {"gradient": PLAIN, str(attribution): attribution}
    finished = 0
    skipped: list[str] = []
    # A picture that is read from the folder is not written over.
    taken = [path.stem for path in paths if path.resolve().parent == folder.resolve()]
    for number, path in enumerate(paths):
        try:
            picture, pixels = model.load(path)
        except FeatvisError as error:
            if not asked.skip_bad:
                raise
            skipped.append(str(error))
            continue
        images = model.normalise(pixels.unsqueeze(0))
        views, arrays = [], {}
        for title, version in versions.items():
            gradients = version(engine, images, [number])
            check_gradients(gradients, [path.name], asked.score)
            views.append(view_of(title, gradients, engine))
            arrays[title] = gradients[0].cpu().numpy()
        name = _free_name(path.stem, taken)
        taken.append(name)
        seen = pixels.permute(1, 2, 0).squeeze(2).numpy()
        finding = found_in(views)
        caption = f"{path.name}, score {asked.score}; {model.spec}, weights {model.weights}"
        figure = gradient_figure(seen, views, finding.short(), caption)
        save_figure(figure, folder / f"{name}.png")
        names = {name: attribution.settings()[name] for name in ("method", "compensation")}
        settings = {"score": asked.score, "total_stride": engine.total_stride, **names}
        settings |= {"period": finding.spoken, "finding": finding.short()}
        saved = {"gradient": list(arrays.values())[-1], "vanilla": arrays["gradient"], "picture": seen, **settings}
        write_atomically(folder / f"{name}.npz", partial(np.savez_compressed, **saved))
        finished += 1
        said = replace(finding, step="").sentence()
        say(f"{folder / name}.png  {said}" + "".join(f" Note: {note}." for note in picture.notes))
    print_notes((), skipped)
    if not finished:
        raise FeatvisError(f"none of {len(paths)} pictures could be read")
    print_notes((*model.notes, *engine.notes))


def found_in(views: Sequence[GradientView]) -> Finding:
    """What the plain gradient shows, and what the other one leaves of it."""
    from featvis.measure.change import Change
    from featvis.measure.estimates import Estimate
    from featvis.measure.finding import Finding

    first, *others = views
    finding = first.finding or Finding(first.total_stride, first.total_stride, None)
    left = {view.title: view.energies.get(period) for view in others if isinstance(period := finding.spoken, int)}
    leaves = [Change(title, Estimate(*energy)).leaves() for title, energy in left.items() if energy is not None]
    return replace(finding, remedy="".join(leaves) if finding.period is not None else "")


def view_of(title: str, attribution: Tensor, engine: GradientEngine) -> GradientView:
    """What a figure shows of one picture's attribution, (1, C, H, W)."""
    from featvis.audit.record import Audit
    from featvis.measure.periods import measurable
    from featvis.measure.phases import interior
    from featvis.measure.sums import EnergySums
    from featvis.plots import GradientView

    height, width = attribution.shape[-2:]
    total_stride = measurable(engine.total_stride, min(height, width))
    sums = EnergySums(total_stride, size=(height, width))
    sums.update(attribution)
    measured = sums.compute(find=True)
    return GradientView(
        title=title,
        gradient=attribution[0].cpu().numpy(),
        profile=measured.profile.numpy(),
        energies={period: (estimate.value, estimate.error) for period, estimate in measured.energy.items()},
        controls={period: (estimate.value, estimate.error) for period, estimate in measured.controls.items()},
        total_stride=total_stride,
        border=(interior(height, total_stride).start, interior(width, total_stride).start),
        finding=Audit.traced_by(engine, measured).finding,
    )


def _free_name(stem: str, taken: list[str]) -> str:
    """The stem, numbered where it is taken."""
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
