"""`featvis generator`: the checkerboard in the pictures that a generator makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featvis.commands.help import command
from featvis.commands.pairs import PairAsked, network_of, pair_options, real_from
from featvis.commands.report import command_line
from featvis.commands.tables import print_notes, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from featvis.gan import GeneratorAudit, PictureAudit


@command(
    short_help="The checkerboard in what a generator makes.",
    examples=(
        "featvis generator nets.py:Generator --weights netG.pth --samples 512",
        "featvis generator zoo:generator-deconv3 --real faces/ --html page.html",
    ),
)
@click.argument("spec", metavar="GENERATOR")
@pair_options
@click.option("--samples", type=click.IntRange(4), default=512, show_default=True, help="Pictures to make.")
@click.option("--period", type=click.IntRange(2), default=8, show_default=True, help="The longest period measured.")
def generator(
    spec: str,
    pair: PairAsked,
    samples: int,
    period: int,
) -> None:
    """Measure the checkerboard in the pictures that GENERATOR makes, with its weights, with random ones, and beside real pictures.

    GENERATOR is path/file.py:factory, package.module:factory, zoo:NAME, or `dcgan` for the family of PyTorch's tutorial.
    """
    from featvis.gan import audit_generator, jpeg_notes, limits_of, samples_of
    from featvis.models.model import Model

    pair.check_outputs("generator")
    module, _ = network_of(spec, pair.weights, "generator", pair.seed, pair.device)
    real_pictures: Tensor | None = None
    paths: list[Any] = []
    if pair.real:
        few = samples_of(module, 4, pair.latent, pair.category, pair.seed)
        low, high = limits_of(few)
        shape = (int(few.shape[1]), int(few.shape[2]), int(few.shape[3]))
        preprocessing = Model(module, spec, shape, (-low / (high - low),), (1 / (high - low),), resize=min(shape[1:]))
        real_pictures, paths = real_from(preprocessing, pair.real, samples)
    result = audit_generator(module, samples, pair.latent, pair.category, real_pictures, period, pair.seed, spec)
    notes = [*result.notes, *jpeg_notes(paths)]
    print_generator(result, spec)
    print_notes(notes)
    _save(result, spec, pair.out, pair.tensorboard, notes)
    if pair.html_path:
        from featvis.report import write_generator

        write_generator(pair.html_path, result, jpeg_notes(paths), command_line(click.get_current_context()))


def print_generator(result: GeneratorAudit, spec: str) -> None:
    """The tables of raw and high-passed pictures, and the fine detail beside that of real pictures."""
    from featvis.gan import fine_detail, power_beside

    trained = result.pictures["trained"]
    say(result.finding.sentence())
    print_pictures(result.pictures, spec)
    shares = ", ".join(f"{fine_detail(audit):.4f} {name}" for name, audit in result.pictures.items())
    say(f"share of power above 1/4 cycle per pixel: {shares} (white noise 0.80)")
    if "real" in result.pictures:
        ratios = power_beside(trained, result.pictures["real"])
        nearest = [min((abs(f - at), f, ratio) for f, ratio in ratios) for at in (0.125, 0.25, 0.5, 0.5**0.5)]
        said = ", ".join(f"{ratio:.2f} at {frequency:.2f}" for _, frequency, ratio in nearest)
        say(f"power beside real pictures, by cycles per pixel: {said}")


def print_pictures(pictures: Mapping[str, PictureAudit], title: str) -> None:
    """A row for each kind of pictures, raw and high-passed."""
    rows = []
    for name, audit in pictures.items():
        for kind, measured in (("raw", audit.raw), ("high-passed", audit.high_passed)):
            rows.append(
                (
                    f"{name}, {kind}",
                    str(audit.pictures),
                    f"{audit.height:.2g}" if kind == "high-passed" else "",
                    *measured.energy.values(),
                    *measured.controls.values(),
                    *measured.signed_comb.values(),
                )
            )
    first = next(iter(pictures.values())).raw
    columns = (
        *("pictures", "number", "grey levels"),
        *(f"E({period})" for period in first.energy),
        *(f"control {period}" for period in first.controls),
        *(f"S({period})" for period in first.signed_comb),
    )
    print_table(f"{title}: energy of the pictures themselves", columns, rows)


def _save(result: GeneratorAudit, spec: str, out: str | None, tensorboard: str | None, notes: list[str]) -> None:
    from featvis.files import write_document
    from featvis.gan.board import scalars_of, write_board
    from featvis.plots import save_figure
    from featvis.plots.gan import pictures_figure

    if not (out or tensorboard):
        return
    limits = result.settings["range"]
    views = [view_of(name, audit, result.examples[name], limits) for name, audit in result.pictures.items()]
    caption = "; ".join((f"{spec}: the pictures that it makes", *notes))
    figure = pictures_figure(views, result.finding.short(), caption)
    if out:
        write_document(f"{out}/generator.json", {**result.content(), "notes": notes})
        say(save_figure(figure, f"{out}/generator.png"))
    if tensorboard:
        scalars: dict[str, float] = {}
        for name, audit in result.pictures.items():
            scalars |= scalars_of(f"{name}/raw", audit.raw) | scalars_of(f"{name}/high_passed", audit.high_passed)
        say(write_board(tensorboard, scalars, {"generator": figure}))


def view_of(name: str, audit: PictureAudit, examples: Tensor, limits: Sequence[float]) -> Any:
    """What a figure shows of one kind of pictures; examples: (N, C, H, W), within limits."""
    from featvis.plots.gan import PicturesView

    low, high = limits
    return PicturesView(
        name,
        ((examples - low) / (high - low)).permute(0, 2, 3, 1).numpy(),
        audit.high_passed.profile,
        {period: (estimate.value, estimate.error) for period, estimate in audit.high_passed.energy.items()},
        {period: (estimate.value, estimate.error) for period, estimate in audit.high_passed.controls.items()},
        audit.spectrum,
    )
