"""Are the layers that are named for a period those whose evening lowers it? E(4) of a trained thin ResNet-50, paired by picture.

    python experiments/period_culprits.py ../shared/data

Each strided layer's backward pass is made even in turn, as `featvis audit --culprits` does. E(4) is computed here anew, on the inner
160 x 160 pixels, with errors of the difference from leaving out a 25th of the pictures at a time. Writes
experiments/results/period_culprits.csv and a table of docs/prediction.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from shared.command_line import parser_of
from shared.tables import DOCS, RESULTS, estimate_in, markdown_table, put_table, row_of, write_rows
from torch import Tensor

from featvis.audit.culprits import Suspects
from featvis.data.pictures import find_pictures
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate, words
from featvis.models.specs import load_model

TABLE, PAGE = RESULTS / "period_culprits.csv", DOCS / "prediction.md"
COLUMNS = ("layer", "left", "left_error", "falls", "falls_error", "share")
PERIOD, BORDER, BATCH, PARTS = 4, 32, 10, 25


def deviations(gradients: Tensor) -> Tensor:
    """Each picture's phase profile minus 1, (N, 4, 4)."""
    energy = gradients.double().square().sum(1)[:, BORDER:-BORDER, BORDER:-BORDER]
    phases = energy.unflatten(2, (-1, PERIOD)).unflatten(1, (-1, PERIOD)).mean((1, 3))
    return phases / phases.mean((1, 2), keepdim=True) - 1


def energy_of(pictures: Tensor) -> float:
    """E without bias of pictures' deviations (N, 4, 4)."""
    count = len(pictures)
    alone = pictures.square().sum()
    return float((pictures.sum(0).square().sum() - alone) / (count * (count - 1) * PERIOD**2))


def with_error(number: Callable[[Tensor], float], count: int) -> Estimate:
    """A number of the pictures with these indices, and its error by leaving out one part after the other."""
    indices = torch.arange(count)
    left = torch.tensor([number(indices[indices % PARTS != part]) for part in range(PARTS)], dtype=torch.float64)
    return Estimate(number(indices), float(((PARTS - 1) * left.var(correction=0)).sqrt()))


def measured(folder: Path) -> list[dict[str, str]]:
    """A row for the network as it is, and one for each layer, the one whose evening lowers E(4) most first."""
    weights = folder / "weights"
    model = load_model(
        f"{weights / 'resnet50_thin.py'}:ThinResNet50",
        weights=str(weights / "resnet50_thin.safetensors"),
        mean=(0.482353, 0.458824, 0.407843),
        std=(0.00392157,) * 3,
        size=(224, 224),
        device="cpu",
    )
    engine = GradientEngine(model, "top")
    pixels = torch.stack(
        [model.normalise(model.load(path)[1]) for path in find_pictures(folder / "images" / "imagenet")]
    )

    def gradients(function: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
        starts = range(0, len(pixels), BATCH)
        return torch.cat([function(pixels[n : n + BATCH], [*range(n, min(n + BATCH, len(pixels)))]) for n in starts])

    suspects = Suspects(engine)
    plain = deviations(gradients(suspects.gradients))
    for handle in suspects.handles:
        handle.remove()
    whole = with_error(lambda chosen: energy_of(plain[chosen]), len(plain))
    rows = [(whole.value, row_of(COLUMNS, "none", *whole, "", "", ""))]
    for name, watcher in suspects.watchers.items():
        handle = engine.treat(name, watcher.evening())
        evened = deviations(gradients(engine))
        handle.remove()
        left = with_error(lambda chosen, evened=evened: energy_of(evened[chosen]), len(plain))
        falls = with_error(
            lambda chosen, evened=evened: energy_of(plain[chosen]) - energy_of(evened[chosen]), len(plain)
        )
        rows.append((falls.value, row_of(COLUMNS, name, *left, *falls, falls.value / whole.value)))
    return [row for _, row in sorted(rows, key=lambda one: -one[0])]


def table(rows: list[dict[str, str]]) -> str:
    """The rows as Markdown."""
    cells = [(row["layer"], words(estimate_in(row, "left")), *_fall(row)) for row in rows]
    return markdown_table(("made even", "E(4)", "falls by", "of E(4)"), cells)


def _fall(row: dict[str, str]) -> tuple[str, str]:
    return (words(estimate_in(row, "falls")), f"{float(row['share']):+.0%}") if row["falls"] else ("", "")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("data", type=Path)
    rows = measured(parser.parse_args().data)
    write_rows(TABLE, COLUMNS, rows)
    put_table(PAGE, "period-culprits", table(rows))


if __name__ == "__main__":
    main()
