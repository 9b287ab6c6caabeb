"""`featvis compare --generator`: pictures of generators with random weights, by how they upsample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featvis.commands.options import check_writable, progress_bar
from featvis.commands.tables import print_table, say

if TYPE_CHECKING:
    from featvis.commands.asked import GeneratorsAsked
    from featvis.gan.upsampling import GeneratorComparison, UpsamplerEnergies

SAMPLES, SIZE = 64, (64, 64)
"""Networks of each variant and their pictures' size where nothing else is asked for."""

NEGLIGIBLE = 1e-3
"""An energy below this is no checkerboard, however well it is known."""


def run(
    asked: GeneratorsAsked, seed: int, size: tuple[int, int] | None, json_path: str | None, out: str | None
) -> None:
    """Measure, print, draw and write the comparison. size: (H, W). out: a folder."""
    from featvis.files import make_folder, write_text
    from featvis.gan.upsampling import compare_upsampling

    check_writable(json_path)
    folder = make_folder(out) if out else None
    names = [name.strip() for name in (asked.upsample or "").split(",") if name.strip()]
    samples = SAMPLES if asked.samples is None else asked.samples
    with progress_bar("networks", samples * len(names)) as progress:
        comparison = compare_upsampling(str(asked.generator), names, samples, size or SIZE, seed, progress)
    if json_path:
        write_text(json_path, comparison.to_json())
    _print(comparison)
    if folder:
        from featvis.plots import save_figure

        path = save_figure(figure_of(comparison), folder / "generators.png")
        say(f"wrote {path} and {write_text(folder / 'generators.json', comparison.to_json())}")


def figure_of(comparison: GeneratorComparison) -> Any:
    """The figure of a comparison: pictures, profiles and numbers, a row for each variant."""
    from featvis.plots.generators import GeneratorView, Value, generator_figure

    views = []
    for variant in comparison.variants:
        values = {
            **{f"E({p})": Value(*energy, variant.closed_form[p]) for p, energy in variant.energy.items()},
            **{f"own E({p})": Value(*energy) for p, energy in variant.own_energy.items() if p == max(variant.energy)},
            **{f"S({p})": Value(*comb) for p, comb in variant.signed_comb.items()},
            "E(3)": Value(*variant.controls[3]),
        }
        pictures, profile = variant.pictures.numpy(), variant.profile.numpy()
        views.append(GeneratorView(variant.name, description(variant), pictures, profile, values))
    settings = comparison.settings
    caption = (
        f"{settings['generator']}: {settings['samples']} networks a row, {settings['latents']} pictures each, before tanh; seed "
        f"{settings['seed']}. E: unevenness of the energy expected over networks, 0 is even. Own E: the mean over networks of each "
        "one's own. S: share of a picture's variance that repeats with the period. E(3): a control, no layer makes that period."
    )
    return generator_figure(views, "Pictures of generators before any training", caption)


def description(variant: UpsamplerEnergies) -> str:
    """Which layers upsample how, in words."""
    from featvis.models.zoo.generators import parse_upsampler

    layers, smoothing = parse_upsampler(variant.name)
    words = {
        "deconv3": "transposed convolution 3x3, stride 2",
        "deconv4": "transposed convolution 4x4, stride 2",
        "subpixel": "sub-pixel convolution, random",
        "icnr": "sub-pixel convolution, ICNR",
        "nearest": "nearest-neighbour resize, then convolution",
        "bilinear": "bilinear resize, then convolution",
    }
    where = "last two layers" if layers[-1] == layers[-2] else "last layer alone"
    after = f"; then a {smoothing}x{smoothing} layer of stride 1" if smoothing else ""
    return f"{where}: {words[layers[-1]]}{after}"


def verdict(comparison: GeneratorComparison) -> str:
    """One sentence: which ways of upsampling leave a checkerboard in all networks, in each one another, and which none, beyond 3 errors."""
    found: dict[str, list[str]] = {
        "a checkerboard by architecture": [],
        "one of its own in each network": [],
        "none": [],
    }
    for variant in comparison.variants:
        period = max(variant.energy)
        if any(value > max(NEGLIGIBLE, 3 * (error or 0)) for value, error in variant.energy.values()):
            kind = "a checkerboard by architecture"
        else:
            comb, error = variant.signed_comb[period]
            kind = "one of its own in each network" if comb > 3 * (error or 0) else "none"
        found[kind].append(variant.name)
    said = "; ".join(f"{kind} with {', '.join(names)}" for kind, names in found.items() if names)
    return f"Before any training: {said}."


def _print(comparison: GeneratorComparison) -> None:
    say(verdict(comparison))
    periods = list(comparison.variants[0].energy)
    rows = [
        (
            variant.name,
            *(variant.energy[period] for period in periods),
            *(f"{variant.closed_form[period]:.4f}" for period in periods),
            *(variant.own_energy[period] for period in periods),
            *(variant.signed_comb[period] for period in periods),
            variant.controls[3],
            variant.high_frequency_share,
        )
        for variant in comparison.variants
    ]
    columns = ("upsampling", *(f"{kind}({period})" for kind in ("E", "theory E", "own E", "S") for period in periods))
    settings = comparison.settings
    title = f"{settings['generator']}: {settings['samples']} networks with random weights each, {settings['latents']} pictures a network"
    print_table(title, (*columns, "control E(3)", "high-frequency share"), rows)
    say(
        "E: of the energy expected over networks. own E: the mean over networks of each one's own. S: signed comb of a picture."
    )
