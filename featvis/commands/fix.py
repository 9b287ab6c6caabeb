"""`featvis fix`: repair a model's architecture, and say what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featvis.commands import choices
from featvis.commands.help import command
from featvis.commands.options import check_writable, model_options
from featvis.commands.tables import print_notes, print_table, say
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor

    from featvis.audit.repairs import Judgement, Repair
    from featvis.commands.asked import NetworkAsked
    from featvis.models.model import Model


@command(
    short_help="Repair a network, and see what changes.",
    examples=(
        "featvis fix resnet50 --with blurpool --save fixed.safetensors",
        "featvis fix resnet50 --with backward-even --pictures photos/ --count 32",
    ),
)
@model_options
@click.option(
    "--with",
    "names",
    multiple=True,
    required=True,
    type=click.Choice(choices.FIXES),
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
def fix(network: NetworkAsked, names: tuple[str, ...], save: str | None, pictures: tuple[str, ...], count: int) -> None:
    """Apply fixes to a copy of MODEL: what changes layer by layer, in its outputs and in its checkerboard."""
    from featvis.audit.repairs import repair, save_repair

    check_writable(save)
    if save is not None and not save.endswith(".safetensors"):
        raise FeatvisError(
            f"--save {save!r}: weights are written as safetensors; give a name that ends in .safetensors"
        )
    model = network.model()
    images = _inputs(model, pictures, count, network.seed)
    repaired = repair(model, names, images, network.seed)
    if save is not None:
        save_repair(repaired, save)
    _print_repair(repaired, f"{len(images)} {'pictures' if pictures else 'noise inputs'}")
    if save is not None:
        say(f"wrote {save}; `{repaired.model.spec} --weights {save}` applies the fixes again and loads it")


def _inputs(model: Model, pictures: tuple[str, ...], count: int, seed: int) -> Tensor:
    """Prepared pictures, or white noise of unit variance, (B, C, H, W)."""
    import torch

    from featvis.audit.batches import Loader
    from featvis.data.pictures import find_pictures

    if pictures:
        return torch.cat([batch.images for batch in Loader(model, find_pictures(pictures)[:count])])
    parameter = next(model.module.parameters(), torch.zeros(()))
    noise = torch.randn(count, *model.input_size, generator=torch.Generator().manual_seed(seed))
    return noise.to(parameter.device, parameter.dtype if parameter.is_floating_point() else torch.float32)


def _print_repair(repaired: Repair, inputs: str) -> None:
    from featvis.repair.surgery import FIXES, KINDS

    say(_verdict(repaired))
    for name, found in repaired.changes.items():
        layers = [(change.layer or "(network)", change.before, change.after, change.note) for change in found]
        say()
        say(f"{name}, {FIXES[name].kind}: {KINDS[FIXES[name].kind]}")
        print_table(FIXES[name].description, ("layer", "it was", "it is now", "note"), layers)
    drift = repaired.drift
    agreement = "" if drift.agreement is None else f"top class kept at {drift.agreement.value:.0%}, "
    relative = "" if drift.relative is None else f", {drift.relative:.4f} of their own deviation"
    say(f"outputs at {inputs}: {agreement}root mean square change {drift.rmse:.4g}{relative}")
    for measure in repaired.measures:
        if measure.before:
            rows = [(str(period), estimate, measure.after.get(period)) for period, estimate in measure.before.items()]
            print_table(measure.what, ("period", "E before", "E after"), rows)
    print_notes(_notes(repaired))


def _notes(repaired: Repair) -> list[str]:
    """What could not be taken, why a checkerboard is not lowered, and where measure and expectation disagree."""
    notes = [*repaired.model.notes]
    notes += [f"{measure.what} is not known: {measure.reason}" for measure in repaired.measures if measure.reason]
    for judgement in repaired.judgements():
        measure, period = judgement.measure, judgement.period
        if judgement.reason:
            notes.append(f"{measure.what}: E({period}) {judgement.word}: {judgement.reason}")
        if judgement.contradicted:
            notes.append(
                f"from the weights E({period}) would be expected {judgement.contradicted}; what was measured counts, as the expectation "
                "takes weights for independent, which trained or resampled ones are not"
            )
    return notes


def _verdict(repaired: Repair) -> str:
    """One sentence: how many layers changed, and what became of each checkerboard."""
    changes = [change for found in repaired.changes.values() for change in found]
    reached = sum(change.reached for change in changes)
    said = f"{repaired.model.spec} with {', '.join(repaired.changes)}: {reached} layer{'s' if reached != 1 else ''} changed"
    if reached < len(changes):
        said += f", {len(changes) - reached} not reached"
    return "; ".join([said, *map(_sentence, repaired.judgements())]) + "."


def _sentence(judgement: Judgement) -> str:
    """What became of one checkerboard."""
    measure, period = judgement.measure, judgement.period
    before, after = (found[period] for found in (measure.before, measure.after))
    energies = f"{measure.kind} E({period}) {before} -> {after}"
    if judgement.word == "nothing to lower":
        return f"no checkerboard to lower in the {measure.subject}, {energies}"
    whose = {"gradient": "the gradient's", "outputs": "the outputs'"}[measure.subject]
    return f"{whose} checkerboard is {judgement.word}, {energies}"
