"""`featvis grad`: gradient maps of single pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featvis.commands.help import command
from featvis.commands.options import bars, gradient_options, model_options
from featvis.commands.tables import print_notes, say

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from featvis.commands.asked import GradientAsked, NetworkAsked
    from featvis.gradients.engine import GradientEngine
    from featvis.measure.finding import Finding, Period
    from featvis.models.model import Model
    from featvis.plots import GradientView


@command(
    short_help="Gradient maps of single pictures.",
    examples=(
        "featvis grad resnet50 cat.png --out out/",
        "featvis grad resnet50 *.png --method smoothgrad --overlay 0.7",
    ),
)
@model_options
@gradient_options
@click.option("--out", default="out", show_default=True, type=click.Path(), help="Folder for the pictures and arrays.")
@click.option(
    "--overlay", type=click.FloatRange(0, 1), metavar="OPACITY", help="Also draw the map over the photograph: 0 to 1."
)
def grad(network: NetworkAsked, gradient: GradientAsked, out: str, overlay: float | None) -> None:
    """Draw the gradient at each of PICTURES: the map alone, its absolute value, and a figure that explains it.

    NAME.png is the figure, NAME_gradient.png and NAME_absolute.png are the map in whole pixels, NAME.npz holds the numbers. Given more
    than once, --method draws one below the other; the map alone is that of the first.
    """
    from featvis.files import make_folder

    paths = gradient.paths()
    folder = make_folder(out)
    draw_gradients(network.model(), paths, folder, gradient, network.seed, overlay)


def draw_gradients(
    model: Model, paths: list[Path], folder: Path, asked: GradientAsked, seed: int, opacity: float | None
) -> None:
    """The files of each picture; prints a line for each. opacity: of the map over the photograph, None for no such file."""
    from featvis.audit.record import check_gradients
    from featvis.errors import FeatvisError
    from featvis.gradients.attributions import PLAIN
    from featvis.gradients.engine import GradientEngine

    attributions = asked.attributions()
    engine = GradientEngine(model, asked.score, seed)
    versions = {"gradient": PLAIN, **{str(one): one for one in attributions if one != PLAIN}}
    finished, skipped = 0, list[str]()
    # A picture that is read from the folder is not written over.
    taken = [path.stem for path in paths if path.resolve().parent == folder.resolve()]
    with bars() as bar:
        task = bar.add_task("gradients", total=None)
        for number, path in enumerate(paths):
            try:
                picture, pixels = model.load(path)
            except FeatvisError as error:
                if not asked.skip_bad:
                    raise
                skipped.append(str(error))
                continue
            images = model.normalise(pixels.unsqueeze(0))
            views: list[GradientView] = []
            arrays = {}
            for title, version in versions.items():
                gradients = version(engine, images, [number], passed=lambda: bar.advance(task))
                check_gradients(gradients, [path.name], asked.score)
                spoken = views[0].finding.spoken if views and views[0].finding else None
                views.append(view_of(title, gradients, engine, spoken))
                arrays[title] = gradients[0].cpu().numpy()
                if not finished and title == "gradient":
                    # The total stride, which some shifts go through, is known from here on.
                    each = {its: one.cost(engine.total_stride) for its, one in versions.items()}
                    bar.update(task, total=len(paths) * sum(each.values()))
                    if sum(each.values()) > len(each):
                        say(
                            f"{sum(each.values())} gradients a picture: {', '.join(f'{n} of {its}' for its, n in each.items())}"
                        )
            name = _free_name(path.stem, taken)
            taken += _outputs(name)
            finding = found_in(views)
            settings = {"score": asked.score, "total_stride": engine.total_stride}
            settings |= {key: attributions[0].settings()[key] for key in ("method", "compensation")}
            settings |= {"period": finding.spoken, "finding": finding.short()}
            first = "gradient" if attributions[0] == PLAIN else str(attributions[0])
            made = _Made(path.name, f"{model.spec}, weights {model.weights}", views, arrays, first, settings)
            _write(folder / name, made, pixels.permute(1, 2, 0).squeeze(2).numpy(), finding, opacity)
            finished += 1
            said = replace(finding, step="").sentence()
            say(f"{folder / name}.png  {said}" + "".join(f" Note: {note}." for note in picture.notes))
    print_notes((), skipped)
    if not finished:
        raise FeatvisError(f"none of {len(paths)} pictures could be read")
    print_notes((*model.notes, *engine.notes))


@dataclass(frozen=True)
class _Made:
    """What was computed at a picture. arrays: the maps, (C, H, W), by title; first: the title of the one that is drawn alone."""

    picture: str
    network: str
    views: Sequence[GradientView]
    arrays: dict[str, np.ndarray]
    first: str
    settings: dict[str, Any]


def _write(base: Path, made: _Made, seen: np.ndarray, finding: Finding, opacity: float | None) -> None:
    """The files of a picture, (H, W, 3) or (H, W) in [0, 1]; base: their place and the beginning of their names."""
    import numpy as np

    from featvis.files import write_atomically
    from featvis.plots import gradient_figure, save_figure
    from featvis.plots.maps import absolute_map, enlarged, overlay, signed_map

    caption = f"{made.picture}, score {made.settings['score']}; {made.network}"
    save_figure(gradient_figure(seen, made.views, finding.short(), caption), base.with_name(f"{base.name}.png"))
    gradient = made.arrays[made.first]
    alone = {"gradient": signed_map(gradient), "absolute": absolute_map(gradient)}
    if opacity is not None:
        alone["overlay"] = overlay(seen, gradient, opacity)
    for kind, values in alone.items():
        save_map(enlarged(values), base.with_name(f"{base.name}_{kind}.png"))
    others = {title: array for title, array in made.arrays.items() if title not in ("gradient", made.first)}
    saved: dict[str, Any] = {
        "gradient": gradient,
        "vanilla": made.arrays["gradient"],
        "picture": seen,
        **made.settings,
        **others,
    }
    write_atomically(base.with_name(f"{base.name}.npz"), partial(np.savez_compressed, **saved))


def save_map(values: np.ndarray, path: Path) -> None:
    """A map (H, W, 3) or (H, W) in [0, 1] as a picture."""
    import torch

    from featvis.data.pictures import save_picture

    save_picture(torch.from_numpy(values if values.ndim == 3 else values[..., None]).permute(2, 0, 1), path)


def found_in(views: Sequence[GradientView]) -> Finding:
    """What the plain gradient shows, and what the other one leaves of it."""
    from featvis.measure.change import Change
    from featvis.measure.estimates import Estimate
    from featvis.measure.finding import Finding

    first, *others = views
    finding = first.finding or Finding(first.total_stride, first.total_stride, None)
    spoken = finding.spoken
    left = {view.title: view.energies.get(spoken) if isinstance(spoken, int) else view.spoken for view in others}
    leaves = [Change(title, Estimate(*energy)).leaves() for title, energy in left.items() if energy is not None]
    return replace(finding, remedy="".join(leaves) if finding.period is not None else "")


def view_of(title: str, attribution: Tensor, engine: GradientEngine, spoken: Period | None = None) -> GradientView:
    """What a figure shows of one picture's attribution, (1, C, H, W). spoken: the period that it speaks of, its own by default."""
    from featvis.audit.record import Audit
    from featvis.measure.maps import energy_of
    from featvis.measure.periods import measurable
    from featvis.measure.phases import interior
    from featvis.measure.sums import EnergySums
    from featvis.plots import GradientView

    height, width = attribution.shape[-2:]
    total_stride = measurable(engine.total_stride, min(height, width))
    sums = EnergySums(total_stride, size=(height, width))
    sums.update(attribution)
    measured = sums.compute(find=True)
    finding = Audit.traced_by(engine, measured).finding
    period, energy = spoken or finding.spoken, finding.energy if spoken is None else None
    if spoken is not None and isinstance(period, tuple) and sums.maps is not None:
        energy = energy_of(sums.maps.means(), period)
    return GradientView(
        title=title,
        gradient=attribution[0].cpu().numpy(),
        profile=measured.profile.numpy(),
        energies={period: (estimate.value, estimate.error) for period, estimate in measured.energy.items()},
        controls={period: (estimate.value, estimate.error) for period, estimate in measured.controls.items()},
        total_stride=total_stride,
        border=(interior(height, total_stride).start, interior(width, total_stride).start),
        finding=finding,
        spoken=energy if isinstance(period, tuple) else None,
    )


def _outputs(name: str) -> list[str]:
    """The stems of all files that may be made of a picture."""
    return [name, *(f"{name}_{kind}" for kind in ("gradient", "absolute", "overlay"))]


def _free_name(stem: str, taken: Sequence[str]) -> str:
    """The stem, numbered where it is taken, or where a file that is made of it would be."""
    name, number = stem, 2
    while not set(taken).isdisjoint(_outputs(name)):
        name, number = f"{stem}-{number}", number + 1
    return name
