"""`featvis linear`: upsampling layers as matrices, along one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featvis.commands.help import command
from featvis.commands.options import check_writable
from featvis.commands.tables import print_table, say

if TYPE_CHECKING:
    from fractions import Fraction

    from featvis.predict.linear import LinearView


@command(
    short_help="Upsampling layers as matrices.",
    examples=(
        "featvis linear deconv3 nearest3",
        "featvis linear deconv4 subpixel3 icnr3 --weights random --png linear.png",
    ),
)
@click.argument("layers", nargs=-1, required=True, metavar="LAYER...")
@click.option("--length", type=click.IntRange(1, 512), default=8, show_default=True, help="Values of the input.")
@click.option(
    "--weights",
    type=click.Choice(["ones", "random"]),
    default="ones",
    show_default=True,
    help="All weights 1, or normal ones.",
)
@click.option("--seed", default=0, show_default=True, help="For random weights.")
@click.option("--png", type=click.Path(dir_okay=False), help="Also draw the matrices to this file.")
def linear(layers: tuple[str, ...], length: int, weights: str, seed: int, png: str | None) -> None:
    """Write upsampling layers of one channel, along one axis, as matrices, and compare them.

    Each LAYER is deconv, nearest, linear, subpixel or icnr, then the kernel and, where it is not 2, the stride: deconv3,
    nearest3, deconv9s4. nearest and linear are resize-convolutions, icnr is a sub-pixel convolution whose phases start
    alike.
    """
    from featvis.predict.linear import linear_view

    check_writable(png)
    views = [linear_view(layer, length, weights, seed) for layer in layers]
    harmonics = sorted({harmonic for view in views for harmonic in view.harmonics})
    columns = ["layer", "size", "weights", "different", "rank", "largest", "smallest", "constant"]
    columns += [f"{text}{harmonic}" for harmonic in harmonics for text in ("at ", "rms at ")] + ["E"]
    drawn = f"random, seed {seed}" if weights == "random" else "all 1"
    print_table(f"Upsampling {length} values, weights {drawn}", columns, [_row(view, harmonics) for view in views])
    say("size: outputs x inputs. weights: free ones. different: different combinations of them among the entries.")
    say("largest, smallest: singular values. constant: one period of what an input of 1 becomes, far from the borders.")
    say("at k/s: amplitude at that harmonic of the stride, in cycles per output, over the mean of that constant.")
    say("rms at k/s: the same for any independent random weights. E: checkerboard energy expected with them.")
    if png is not None:
        from featvis.plots import save_figure
        from featvis.plots.linear import linear_figure

        title = f"Upsampling layers as matrices, weights {drawn}"
        say(f"wrote {save_figure(linear_figure(views, title), png)}")


def _row(view: LinearView, harmonics: list[Fraction]) -> list[str]:
    outputs, inputs = view.matrix.shape
    constant = " ".join(f"{value:.3g}" for value in view.constant)
    values = view.singular_values
    row = [view.name, f"{outputs} x {inputs}", str(len(view.weights)), str(len(view.ties[1])), str(view.rank)]
    smallest = values[-1] if view.rank == len(values) else 0.0
    row += [f"{values[0]:.4g}", f"{smallest:.4g}", constant]
    for harmonic in harmonics:
        known = harmonic in view.harmonics
        row += [f"{of[harmonic]:.4f}" if known else "-" for of in (view.harmonics, view.expected_harmonics)]
    return [*row, f"{view.energy:.4f}"]
