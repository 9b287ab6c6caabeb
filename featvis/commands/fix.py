"""`featvis fix`: repair a model's architecture, and say what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featvis.commands.options import Registry, check_writable, format_estimate, model_from, model_options, print_table
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor

    from featvis.models import Model
    from featvis.repair import Repair


@click.command()
@model_options
@click.option(
    "--with",
    "names",
    multiple=True,
    required=True,
    type=Registry("featvis.surgery", "FIXES"),
    help="A fix; give it again for more, in the order in which they are applied.",
)
@click.option("--save", type=click.Path(), help="Write the copy's weights here, as .safetensors.")
@click.option(
    "--pictures",
    multiple=True,
    type=click.Path(),
    help="Files, folders or globs to compare outputs at, and to calibrate on; noise otherwise.",
)
@click.option(
    "--count", type=click.IntRange(1), default=8, show_default=True, help="Inputs: noise, or at most so many pictures."
)
def fix(names: tuple[str, ...], save: str | None, pictures: tuple[str, ...], count: int, **options: Any) -> None:
    """Apply fixes to a copy of MODEL: what changes layer by layer, in its outputs and in its checkerboard."""
    from featvis.repair import repair, save_repair

    check_writable(save)
    if save is not None and not save.endswith(".safetensors"):
        raise FeatvisError(
            f"--save {save!r}: weights are written as safetensors; give a name that ends in .safetensors"
        )
    seed = options["seed"]
    model = model_from(options)
    images = _inputs(model, pictures, count, seed)
    repaired = repair(model, names, images, seed)
    if save is not None:
        save_repair(repaired, save)
    _print_repair(repaired, f"{len(images)} {'pictures' if pictures else 'noise inputs'}")
    if save is not None:
        click.echo(f"weights written to {save}; load them into a copy that the same fixes were applied to")


def _inputs(model: Model, pictures: tuple[str, ...], count: int, seed: int) -> Tensor:
    """Prepared pictures, or white noise of unit variance, (B, C, H, W)."""
    import torch

    from featvis.images import find_pictures

    if pictures:
        return torch.stack([model.normalise(model.load(path)[1]) for path in find_pictures(pictures)[:count]])
    parameter = next(model.module.parameters(), torch.zeros(()))
    noise = torch.randn(count, *model.input_size, generator=torch.Generator().manual_seed(seed))
    return noise.to(parameter.device, parameter.dtype if parameter.is_floating_point() else torch.float32)


def _print_repair(repaired: Repair, inputs: str) -> None:
    from featvis.repair import judge
    from featvis.surgery import FIXES, KINDS

    click.echo(_verdict(repaired))
    for name, found in repaired.changes.items():
        layers = [(change.layer or "(network)", change.before, change.after, change.note) for change in found]
        click.echo(f"\n{name}, {FIXES[name].kind}: {KINDS[FIXES[name].kind]}")
        print_table(FIXES[name].description, ("layer", "before", "after", "note"), layers)
    drift = repaired.drift
    agreement = "" if drift.agreement is None else f"top class kept at {drift.agreement.value:.0%}, "
    relative = "" if drift.relative is None else f", {drift.relative:.4f} of their own deviation"
    click.echo(f"outputs at {inputs}: {agreement}root mean square change {drift.rmse:.4g}{relative}")
    for measure in repaired.measures:
        if measure.reason:
            click.echo(f"note: {measure.what} is not known: {measure.reason}")
        elif measure.before:
            rows = [
                (str(period), format_estimate(estimate), format_estimate(measure.after.get(period)))
                for period, estimate in measure.before.items()
            ]
            print_table(measure.what, ("period", "before", "after"), rows)
            period = max(measure.before)
            after = measure.after[period].value if period in measure.after else 0.0
            word, reason = judge(repaired.model.module, measure.before[period].value, after)
            if reason:
                click.echo(f"note: {measure.what}: E({period}) {word}: {reason}")


def _verdict(repaired: Repair) -> str:
    """One sentence: how many layers changed, and the first energy that is known before and after."""
    changes = [change for found in repaired.changes.values() for change in found]
    reached = sum(change.reached for change in changes)
    counted = f"{reached} layer{'s' if reached != 1 else ''} changed"
    if reached < len(changes):
        counted += f", {len(changes) - reached} not reached"
    energies = ""
    measure = next((measure for measure in repaired.measures if measure.before), None)
    if measure is not None:
        period = max(measure.before)
        before, after = (format_estimate(found.get(period)) for found in (measure.before, measure.after))
        energies = f"; {measure.what}: E({period}) {before} -> {after}"
    return f"{repaired.model.spec} with {', '.join(repaired.changes)}: {counted}{energies}."
