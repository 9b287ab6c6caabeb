"""`featvis discriminator`: the checkerboard in a discriminator's gradients, at each kind of picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featvis.commands.audit import print_culprits
from featvis.commands.help import command
from featvis.commands.options import Size, progress_bar
from featvis.commands.pairs import PairAsked, network_of, pair_options, real_from
from featvis.commands.report import command_line
from featvis.commands.tables import print_notes, print_table, say
from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from featvis.gan import DiscriminatorAudit, NeutralAudit
    from featvis.models.model import Model

RANGES = ("-1,1", "0,1")

EVEN_OVERLAP = (
    "Every kernel here is divisible by its stride, so the windows overlap evenly; the gradient is uneven all the same. "
    "Even overlap does not mean even gradients: the learned weights of a window need not give each of its phases the same energy."
)

GUESSES = (64, 32, 28, 128, 256)


@command(
    short_help="The checkerboard in a discriminator's gradients.",
    examples=(
        "featvis discriminator dcgan --weights netD.pth --real faces/ --out out/",
        "featvis discriminator zoo:discriminator-k3s2 --culprits \\\n    --generator zoo:generator-deconv3",
    ),
)
@click.argument("spec", metavar="DISCRIMINATOR")
@pair_options
@click.option("--generator", help="Its generator: a spec, or `dcgan`.")
@click.option("--generator-weights", help="A .pth or .safetensors file.")
@click.option("--size", type=Size(), help="Input size; by default that of the generator's pictures.")
@click.option(
    "--range", "limits", type=click.Choice(RANGES), help="Of the pixels; by default the generator's, or -1,1."
)
@click.option("--score", default="0", show_default=True, help="0 (the logit, a map's mean), seeds, or layer:channel.")
@click.option("--samples", type=click.IntRange(1), default=128, show_default=True, help="Pictures of each source.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Pictures at a time.")
@click.option("--culprits", is_flag=True, help="Also find the layers that make it.")
@click.option("--neutral", is_flag=True, help="Also let free pixels follow the gradient, and measure them.")
def discriminator(
    spec: str,
    pair: PairAsked,
    generator: str | None,
    generator_weights: str | None,
    size: tuple[int, int] | None,
    limits: str | None,
    score: str,
    samples: int,
    batch_size: int,
    culprits: bool,
    neutral: bool,
) -> None:
    """Measure the checkerboard in the gradient of DISCRIMINATOR's logit, at real, generated and mixed pictures and at noise.

    DISCRIMINATOR is path/file.py:factory, package.module:factory, zoo:NAME, or `dcgan` for the family of PyTorch's tutorial.
    """
    from featvis.audit.request import Request
    from featvis.gan import audit_discriminator, jpeg_notes, samples_of, sources_of

    pair.check_outputs("discriminator")
    category, seed = pair.category, pair.seed
    notes: list[str] = []
    if generator_weights and not generator:
        raise FeatvisError("--generator-weights without a generator; give --generator path/file.py:factory, or dcgan")
    generated = None
    if generator:
        maker, _ = network_of(generator, generator_weights, "generator", seed, pair.device)
        maker_category = category if takes_class(maker) else None
        generated = samples_of(maker, samples, pair.latent, maker_category, seed)
    pixels = _limits(limits, generated, spec, notes)
    module, its_size = network_of(spec, pair.weights, "discriminator", seed, pair.device)
    if generator and not takes_class(module):
        category = None
    channels = _channels(module)
    shape = _shape(module, channels, size, its_size, generated, category, notes)
    model = _model(module, spec, shape, pixels, pair.weights)
    real_pictures, paths = real_from(model, pair.real, samples)
    notes += jpeg_notes(paths)
    if not generator and not pair.real:
        notes.append("no --generator and no --real pictures were given: noise alone says little of training")
    sources = sources_of(real_pictures, generated, shape, samples, pixels, seed)
    with progress_bar("discriminator", sum(map(len, sources.values()))) as progress:
        request = Request(score, seed=seed, batch_size=batch_size, culprits=culprits)
        result = audit_discriminator(model, sources, request, category, pixels if neutral else None, progress)
    print_discriminator(result, spec, notes)
    save_discriminator(result, spec, pair.out, pair.tensorboard, notes)
    if pair.html_path:
        from featvis.report import write_discriminator

        write_discriminator(pair.html_path, result, notes, command_line(click.get_current_context()))


def takes_class(module: nn.Module) -> bool:
    """Whether a network is called with something beside pictures or latent values."""
    import inspect

    return len(inspect.signature(module.forward).parameters) > 1


def _limits(given: str | None, generated: Tensor | None, spec: str, notes: list[str]) -> tuple[float, float]:
    from featvis.gan import limits_of

    if given is not None:
        low, high = given.split(",")
        return float(low), float(high)
    if generated is None:
        if not spec.startswith("zoo:"):
            notes.append("pixels are taken to be in the range -1 to 1; --range 0,1 says otherwise")
        return -1.0, 1.0
    return limits_of(generated)


def _channels(module: nn.Module) -> int:
    from torch import nn

    return next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), 3)


def _shape(
    module: nn.Module,
    channels: int,
    size: tuple[int, int] | None,
    its_size: int | None,
    generated: Tensor | None,
    category: int | None,
    notes: list[str],
) -> tuple[int, int, int]:
    """Channels, height and width at which a discriminator is asked: as given, as generated, as its weights say, or as it accepts."""
    import torch

    from featvis.gan.networks import conditioned, outputs_of

    if size is not None:
        return channels, *size
    if generated is not None:
        made = tuple(generated.shape[1:])
        try:
            outputs_of(conditioned(module, category), generated[:2], "generated", 2)
        except FeatvisError as error:
            raise FeatvisError(f"the generator's pictures do not fit the discriminator: {error}") from None
        return made[0], made[1], made[2]
    if its_size is not None:
        return channels, its_size, its_size
    for guess in GUESSES:
        try:
            outputs_of(conditioned(module, category), torch.zeros(2, channels, guess, guess), "", 2)
        except FeatvisError:
            continue
        notes.append(f"no --size was given; the discriminator accepts pictures of {guess} x {guess} pixels")
        return channels, guess, guess
    return channels, GUESSES[0], GUESSES[0]


def _model(
    module: nn.Module, spec: str, shape: tuple[int, int, int], limits: tuple[float, float], weights: str | None
) -> Model:
    from featvis.models.model import Model

    low, high = limits
    return Model(
        module,
        spec,
        shape,
        mean=(-low / (high - low),),
        std=(1 / (high - low),),
        resize=min(shape[1:]),
        weights=weights or "as the factory made it",
    )


def print_discriminator(result: DiscriminatorAudit, spec: str, notes: list[str]) -> None:
    """A verdict and a row for each source, the energy at each resolution, and who teaches whom."""
    sources = result.sources
    main = result.main
    say(result.finding.sentence())
    if result.meaning:
        say(result.meaning)
    audits = {name: source.audit for name, source in sources.items()}
    periods = sorted({period for audit in audits.values() for period in audit.energy})
    controls = sorted({period for audit in audits.values() for period in audit.controls})
    columns = (
        *("pictures", "number", "logit"),
        *(f"E({period})" for period in periods),
        *(f"control {period}" for period in controls),
        *(f"S({period})" for period in periods[-1:]),
        "high-frequency share",
    )
    rows = [
        (
            name,
            str(audit.pictures),
            sources[name].output,
            *(audit.energy.get(period) for period in periods),
            *(audit.controls.get(period) for period in controls),
            *(audit.signed_comb.get(period) for period in periods[-1:]),
            audit.high_frequency_share,
        )
        for name, audit in audits.items()
    ]
    print_table(f"{spec}: gradient of the logit, by the pictures it is taken at", columns, rows)
    _print_resolutions(result)
    if sources[main].verdict.standing_out and result.even_overlap:
        say(EVEN_OVERLAP)
    if audits[main].culprits:
        print_culprits(audits[main])
    if result.agreements:
        _print_agreements(result)
    if result.neutral is not None:
        _print_neutral(result.neutral)
    print_notes((*notes, *result.notes))


def _print_resolutions(result: DiscriminatorAudit) -> None:
    layers = {layer.layer: layer for source in result.sources.values() for layer in source.resolutions}
    energies = {
        (name, layer.layer): layer.energy for name, source in result.sources.items() for layer in source.resolutions
    }
    rows = [
        (
            name,
            "x".join(map(str, layer.size)),
            "x".join(map(str, dict.fromkeys(layer.kernel))),
            "x".join(map(str, dict.fromkeys(layer.stride))),
            "x".join(str(k % s) for k, s in dict.fromkeys(zip(layer.kernel, layer.stride, strict=True))),
            *(energies.get((source, name)) for source in result.sources),
        )
        for name, layer in layers.items()
    ]
    columns = ("layer", "its input", "kernel", "stride", "k mod s", *(f"E at {source}" for source in result.sources))
    if rows:
        print_table(
            "each resolution: E at the layer's own stride of the gradient that it sends to its input", columns, rows
        )


def _print_agreements(result: DiscriminatorAudit) -> None:
    periods = sorted({period for found in result.agreements.values() for period in found})
    rows = []
    for period in periods:
        cells = [str(period)]
        for kind in result.agreements:
            found = result.agreements[kind].get(period)
            cells += (
                ["-", "-"] if found is None else [f"{found.cosine:+.2f}", f"{found.others(period)} of {period**2 - 1}"]
            )
        rows.append(cells)
    columns = (
        "exact period",
        *(word for kind in result.agreements for word in (f"{kind} agrees", "other places as good")),
    )
    print_table(
        "the gradient's profile beside that of the generated pictures' fine detail: 1 is the same, -1 the opposite",
        columns,
        rows,
    )
    if result.taught:
        say(result.taught)


def _print_neutral(neutral: NeutralAudit) -> None:
    measured = neutral.high_passed
    periods = sorted(measured["what was added"].energy)
    rows = [
        (
            name,
            *(audit.energy[period] for period in periods),
            *(audit.signed_comb.get(period) for period in periods),
        )
        for name, audit in measured.items()
    ]
    columns = ("free pixels", *(f"E({period})" for period in periods), *(f"S({period})" for period in periods))
    print_table(
        f"{neutral.before.pictures} pictures of free pixels after {neutral.steps} steps along the gradient alone, high-passed; "
        f"logit {neutral.output_before:.3g} to {neutral.output_after:.3g}",
        columns,
        rows,
    )


def save_discriminator(
    result: DiscriminatorAudit, spec: str, out: str | None, tensorboard: str | None, notes: list[str]
) -> None:
    """The numbers as JSON and the figure, and both for TensorBoard, where they were asked for."""
    from featvis.files import write_document
    from featvis.gan.board import scalars_of, write_board
    from featvis.plots import save_figure
    from featvis.plots.gan import discriminator_figure

    if not (out or tensorboard):
        return
    caption = "; ".join((f"{spec}: gradient of the logit", *notes))
    figure = discriminator_figure(views_of(result), result.finding.short(), caption)
    if out:
        content = {**result.content(), "notes": [*notes, *result.notes]}
        write_document(f"{out}/discriminator.json", content)
        say(save_figure(figure, f"{out}/discriminator.png"))
    if tensorboard:
        scalars: dict[str, float] = {}
        for name, source in result.sources.items():
            scalars |= scalars_of(name, source.audit) | {f"{name}/logit": source.output.value}
        say(write_board(tensorboard, scalars, {"discriminator": figure}))


def views_of(result: DiscriminatorAudit) -> list[Any]:
    """What a figure shows of each source."""
    from featvis.plots.gan import SourceView

    views = []
    mean, std = result.settings["mean"][0], result.settings["std"][0]
    for name, source in result.sources.items():
        picture, gradient = (examples[0] for examples in result.examples[name])
        audit = source.audit
        views.append(
            SourceView(
                name,
                (picture * std + mean).permute(1, 2, 0).numpy(),
                gradient.numpy(),
                source.verdict.shown(audit.profile),
                {period: (estimate.value, estimate.error) for period, estimate in audit.energy.items()},
                {period: (estimate.value, estimate.error) for period, estimate in audit.controls.items()},
            )
        )
    return views
