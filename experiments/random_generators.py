"""Do generators paint a checkerboard before any training, and does a stride-1 last layer remove what theory says?

    python experiments/random_generators.py

First the article's figure with numbers: 64 networks with random weights for each way of upsampling, with batch norm as in DCGAN and
without. Then 256 networks for each width of a stride-1 last layer, beside the closed form. Writes
experiments/results/random_generators.csv and docs/random_generators.png.
"""

from __future__ import annotations

import torch
from shared.command_line import parser_of
from shared.tables import DOCS, RESULTS, write_rows

from featvis.commands.generator_comparison import figure_of
from featvis.gan.upsampling import GeneratorComparison, compare_upsampling
from featvis.plots import save_figure

TABLE, FIGURE = RESULTS / "random_generators.csv", DOCS / "random_generators.png"
ARTICLE = (
    "deconv3",
    "deconv3-last",
    "deconv4",
    "subpixel",
    "icnr",
    "nearest",
    "bilinear",
    "deconv3-smooth3",
    "deconv3-smooth4",
)
SMOOTHED = ("deconv3", "deconv3-last", "deconv3-smooth2", "deconv3-smooth3", "deconv3-smooth4", "deconv3-smooth5")


def rows_of(comparison: GeneratorComparison) -> list[dict[str, object]]:
    """A row for each variant and period."""
    return [
        {
            "generator": comparison.settings["generator"],
            "upsampling": variant.name,
            "networks": comparison.settings["samples"],
            "period": period,
            "energy": f"{energy.value:.4g}",
            "error": f"{energy.error:.4g}",
            "theory": f"{variant.closed_form[period]:.4g}",
            "errors_from_theory": f"{(energy.value - variant.closed_form[period]) / energy.error:.2f}",
            "exact_period": f"{variant.exact_periods[period].value:.4g}",
            "exact_period_error": f"{variant.exact_periods[period].error:.4g}",
            "own_energy": f"{variant.own_energy[period].value:.4g}",
            "own_energy_error": f"{variant.own_energy[period].error:.4g}",
            "signed_comb": f"{variant.signed_comb[period].value:.4g}",
            "signed_comb_error": f"{variant.signed_comb[period].error:.4g}",
            "control_3": f"{variant.controls[3].value:.4g}",
            "control_3_error": f"{variant.controls[3].error:.4g}",
            "high_frequency_share": f"{variant.high_frequency_share.value:.4f}",
        }
        for variant in comparison.variants
        for period, energy in variant.energy.items()
    ]


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for names, samples in ((ARTICLE, 64), (SMOOTHED, 256)):
        for family in ("dcgan", "dcgan-plain"):
            comparison = compare_upsampling(family, names, samples)
            rows += rows_of(comparison)
            if samples == 64 and family == "dcgan":
                save_figure(figure_of(comparison), FIGURE)
            write_rows(TABLE, list(rows[0]), rows)
            print(f"{family}: {', '.join(names)} at {samples} networks", flush=True)


if __name__ == "__main__":
    main()
