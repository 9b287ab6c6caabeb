"""What the backward-only fixes do to the checkerboard and to the faithfulness of the gradient, beside other remedies.

    python experiments/backward_fixes.py PICTURES --weights mobilenet_v2.pth      # resumes where it stopped; 15 minutes of one core

MobileNetV2 (mean .5, standard deviation .5) at all pictures. Whatever is calibrated for one half of them is calibrated on the other half.
Writes experiments/results/backward_fixes.csv, the areas of each picture into backward_fixes_areas.csv and the variants that were tried into
backward_fixes_tried.csv beside it, draws docs/backward_fixes.png and prints the tables of docs/backward_fixes.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from shared.averages import mean_of
from shared.command_line import mobilenet_arguments
from shared.figures import BLUE
from shared.measuring import energies_at
from shared.tables import DOCS, RESULTS, add_rows, estimate_in, markdown_table, read_rows
from torch import Tensor, nn

from featvis.data.pictures import find_pictures
from featvis.gradients.attributions import PLAIN, Attribution, SmoothGrad
from featvis.gradients.compensations import Equalise, Jitter, LowPass
from featvis.gradients.engine import GradientEngine
from featvis.gradients.faithfulness import Faithfulness
from featvis.measure.estimates import Estimate, words
from featvis.measure.phases import expected_profile
from featvis.measure.sums import Energies, checkerboard_energy
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.plots import save_figure
from featvis.repair.backward import backward_blur, backward_even, backward_smooth_maxpool
from featvis.repair.backward.hooks import blurring, even_out
from featvis.repair.backward.profiles import measured_profile
from featvis.repair.backward.windows import strided_layers, window_in_plane
from featvis.repair.changes import Change
from featvis.tracing.networks import copy_module

TABLE = RESULTS / "backward_fixes.csv"
AREAS = RESULTS / "backward_fixes_areas.csv"
TRIED = RESULTS / "backward_fixes_tried.csv"
RANDOM = RESULTS / "backward_fixes_random.csv"
FIGURE = DOCS / "backward_fixes.png"
PERIODS = (2, 4, 8, 16, 32)
TOTAL_STRIDE = 32
BATCH = 10
RANDOM_NETWORKS = ("mobilenet_v2", "resnet18", "regnet_y_400mf", "alexnet", "squeezenet1_1", "vgg11")
NOISE_PICTURES = 16
SHOWN, CROP = 40, slice(80, 144)
"""The picture, and the part of it, whose gradients are drawn."""

Fix = Callable[[nn.Module, Tensor, int], object]


def blur(boxes: int) -> Fix:
    """So many averages over the stride at each strided layer; Herdt et al. 2024 take one."""

    def fix(module: nn.Module, images: Tensor, seed: int) -> None:
        for _, layer in strided_layers(module):
            layer.register_forward_pre_hook(partial(blurring, boxes=boxes))

    return fix


def even_at_own_stride(module: nn.Module, images: Tensor, seed: int) -> None:
    """Each layer's gradient evened over its own stride alone, from the score to the pixels."""
    for _, layer in reversed(list(strided_layers(module))):
        window = window_in_plane(layer)
        assert window is not None
        even_out(layer, measured_profile(module, layer, images, window.stride))


def even_on_noise(module: nn.Module, images: Tensor, seed: int) -> None:
    """Calibrated on noise in place of pictures."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)) * images.std()
    backward_even(module, noise, seed)


def even_on(count: int) -> Fix:
    """Calibrated on the first so many pictures."""
    return lambda module, images, seed: backward_even(module, images[:count], seed)


FIXES: dict[str, Fix] = {
    "backward-blur": backward_blur,
    "backward-even": backward_even,
    "backward-blur, one average": blur(1),
}
BACKWARD: dict[str, Callable[[nn.Module, Tensor | None, int], list[Change]]] = {
    "backward-blur": backward_blur,
    "backward-even": backward_even,
    "backward-smooth-maxpool": backward_smooth_maxpool,
}
COMPENSATED: dict[str, Attribution] = {
    "equalise": Equalise(),
    "jitter 16": Jitter(),
    "smoothgrad": SmoothGrad(),
    "low-pass": LowPass(),
}
ROWS = (
    "vanilla", "backward-even", "backward-blur", "equalise", "jitter 16", "smoothgrad", "low-pass", "random order",
    "backward-blur, one average",
)  # fmt: skip
TRIALS: dict[str, Fix] = {
    **{f"blur, averages: {boxes}": blur(boxes) for boxes in (1, 2, 3, 4)},
    "even, own stride": even_at_own_stride,
    "even, noise": even_on_noise,
    **{f"even, {count} pictures": even_on(count) for count in (8, 16, 32, 50)},
}


def profile_of(model: Model, pictures: Tensor) -> Tensor:
    """The phase profile of the plain gradient, as `equalise` wants it."""
    energies = energies_at(GradientEngine(model), pictures.split(BATCH))
    return expected_profile(energies.profile, energies.exact_periods)


def attributions(model: Model, pictures: Tensor, row: str, wanted: Sequence[int]) -> tuple[Tensor, float]:
    """The attribution of the wanted pictures, and the seconds of the processor that one takes, without calibration."""
    if row == "random order":
        return torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0)), 0.0
    found = torch.zeros_like(pictures)
    seconds = 0.0
    for half in (0, 1):
        numbers = [number for number in wanted if number % 2 == half]
        if not numbers:
            continue
        others = pictures[1 - half :: 2]
        module = copy_module(model.module)
        if row in FIXES:
            FIXES[row](module, others, 0)
        attribution = COMPENSATED.get(row, PLAIN)
        if attribution.lacks_profile:
            attribution = attribution.with_profile(profile_of(model, others))
        engine = GradientEngine(module)
        engine(pictures[numbers[:1]])
        started = time.process_time()
        for some in batches(numbers):
            found[some] = attribution(engine, pictures[some], some)
        seconds += time.process_time() - started
    return found, seconds / len(wanted)


def batches(numbers: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), BATCH):
        yield list(numbers[start : start + BATCH])


def numbers_of(parts: Sequence[Energies]) -> dict[str, str]:
    """Energies and high-frequency share with their errors, as columns: the mean of parts.

    Halves that calibrated each other must not be pooled: where one profile is too high, the other is too low, and their mean is even.
    """
    named = {}
    estimates: list[dict[int | str, Estimate]] = [
        {**part.energy, "high_frequency": part.high_frequency_share} for part in parts
    ]
    for key in (*PERIODS, "high_frequency"):
        name = key if isinstance(key, str) else f"E{key}"
        named[name] = f"{sum(part[key].value for part in estimates) / len(parts):.6f}"
        error = math.hypot(*(part[key].error or math.nan for part in estimates)) / len(parts)
        named[f"{name}_error"] = f"{error:.6f}"
    return named


def paired(areas: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Mean difference from the reference, picture by picture."""
    return mean_of([mine - other for mine, other in zip(areas, reference, strict=True)])


def try_random_weights() -> None:
    """Each fix on networks with random weights and no pictures to calibrate on, measured at noise with random signs on the logits."""
    done = {(row["network"], row["row"]) for row in read_rows(RANDOM)}
    for name in RANDOM_NETWORKS:
        model = load_model(name, "none", seed=0)
        noise = torch.randn(NOISE_PICTURES, *model.input_size, generator=torch.Generator().manual_seed(0))
        for row, fix in (("vanilla", None), *BACKWARD.items()):
            if (name, row) in done:
                continue
            module = copy_module(model.module)
            if fix is not None and not fix(module, None, 0):
                continue
            engine = GradientEngine(module, "seeds")
            gradients = torch.cat([engine(batch) for batch in noise.split(4)])
            energies = checkerboard_energy(gradients, engine.total_stride)
            whole, share = energies.energy[engine.total_stride], energies.high_frequency_share
            add(RANDOM, {
                "network": name, "row": row, "total_stride": engine.total_stride, "E": f"{whole.value:.6f}",
                "error": f"{whole.error:.6f}", "high_frequency": f"{share.value:.6f}",
            })  # fmt: skip


def main() -> None:
    arguments = mobilenet_arguments(__doc__)
    torch.set_num_threads(1)
    model = load_model("mobilenet_v2", arguments.weights, mean=[0.5], std=[0.5])
    paths = find_pictures([arguments.pictures])
    pictures = model.normalise(torch.stack([model.load(path)[1] for path in paths]))
    faithfulness = Faithfulness(model)
    measured_rows = {row["row"] for row in read_rows(TABLE)}
    judged_rows = {row["row"] for row in read_rows(AREAS)}
    for row in ROWS:
        if row in measured_rows and row in judged_rows:
            continue
        found, seconds = attributions(model, pictures, row, range(len(pictures)))
        if row not in measured_rows:
            columns = numbers_of([checkerboard_energy(found[half::2], TOTAL_STRIDE) for half in (0, 1)])
            add(TABLE, {"row": row, "pictures": len(pictures), "seconds": f"{seconds:.4f}", **columns})
        if row not in judged_rows:
            curves = [faithfulness(*pair) for pair in zip(pictures.split(BATCH), found.split(BATCH), strict=True)]
            deletion = torch.cat([curve.deletion_area for curve in curves]).tolist()
            insertion = torch.cat([curve.insertion_area for curve in curves]).tolist()
            lines = [
                {"row": row, "picture": path.stem, "deletion": f"{gone:.6f}", "insertion": f"{come:.6f}"}
                for path, gone, come in zip(paths, deletion, insertion, strict=True)
            ]
            add(AREAS, *lines)
    tried = {row["row"] for row in read_rows(TRIED)}
    for name, fix in TRIALS.items():
        if name in tried:
            continue
        module = copy_module(model.module)
        fix(module, pictures[0::2], 0)
        engine = GradientEngine(module)
        gradients = torch.cat([engine(batch) for batch in pictures[1::2].split(BATCH)])
        add(
            TRIED,
            {"row": name, "pictures": len(gradients), **numbers_of([checkerboard_energy(gradients, TOTAL_STRIDE)])},
        )
    try_random_weights()
    report(model, pictures)


ENERGIES = {f"E({period})": f"E{period}" for period in (2, 4, 8, 32)}
"""Heads of the tables, and the columns of the results."""


def energies_in(row: dict[str, str]) -> list[str]:
    """Cells of a table: the energies with their errors, and the high-frequency share."""
    return [*(words(estimate_in(row, column)) for column in ENERGIES.values()), share_in(row)]


def share_in(row: dict[str, str]) -> str:
    return f"{float(row['high_frequency']):.3f}"


def report(model: Model, pictures: Tensor) -> None:
    """Print the tables and draw the figure."""
    areas: dict[str, dict[str, list[float]]] = {row: {"deletion": [], "insertion": []} for row in ROWS}
    for line in read_rows(AREAS):
        for kind, values in areas[line["row"]].items():
            values.append(float(line[kind]))
    header = ("gradient", *ENERGIES, "high-frequency share", "deletion", "insertion", "ms")
    lines = []
    for row in read_rows(TABLE):
        cells = energies_in(row)
        for kind in ("deletion", "insertion"):
            mine, reference = areas[row["row"]][kind], areas["vanilla"][kind]
            difference, error = paired(mine, reference)
            own = f"{sum(mine) / len(mine):.4f}"
            cells.append(own if row["row"] == "vanilla" else f"{own} ({difference:+.4f} ± {error:.4f})")
        lines.append([row["row"], *cells, f"{1000 * float(row['seconds']):.0f}"])
    print(markdown_table(header, lines), end="\n\n")
    tried = [[row["row"], *energies_in(row)] for row in read_rows(TRIED)]
    print(markdown_table(("tried", *ENERGIES, "high-frequency share"), tried), end="\n\n")
    random = [
        [row["network"], row["row"], row["total_stride"], words(estimate_in(row, "E", "error")), share_in(row)]
        for row in read_rows(RANDOM)
    ]
    print(markdown_table(("random weights", "gradient", "P", "E(P)", "high-frequency share"), random))
    draw(model, pictures, areas)


def draw(model: Model, pictures: Tensor, areas: dict[str, dict[str, list[float]]]) -> None:
    """Gradients of one picture, the energies by period, and the areas' differences from the plain gradient's."""
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.9))
    shown = ("vanilla", "jitter 16", "smoothgrad", "equalise", "backward-even", "backward-blur")
    for axes, row in zip(above.subplots(1, len(shown)), shown, strict=True):
        gradient = attributions(model, pictures, row, [SHOWN])[0][SHOWN]
        found = gradient.square().sum(0).sqrt()[CROP, CROP]
        axes.imshow(found, cmap="magma", vmax=float(found.quantile(0.99)), interpolation="nearest")
        axes.set_title(row)
        axes.set_axis_off()
    left, middle, right = below.subplots(1, 3, width_ratios=(1.4, 1, 1))
    for row in read_rows(TABLE):
        if row["row"] == "random order":
            continue
        periods = [2, 4, 8, 16, 32]
        left.errorbar(
            periods,
            [max(float(row[f"E{period}"]), 1e-5) for period in periods],
            [float(row[f"E{period}_error"]) for period in periods],
            marker="o",
            label=row["row"],
        )
    left.set(
        xscale="log", yscale="log", xlabel="period in pixels", ylabel="checkerboard energy E(p)", ylim=(1e-5, 0.05)
    )
    left.set_xticks(periods, map(str, periods))
    left.minorticks_off()
    left.set_title("smaller values are drawn at the lower edge", fontsize=9)
    left.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    others = [row["row"] for row in read_rows(TABLE) if row["row"] != "vanilla"]
    for axes, kind, better in ((middle, "deletion", "lower"), (right, "insertion", "higher")):
        for place, row in enumerate(others):
            difference, error = paired(areas[row][kind], areas["vanilla"][kind])
            axes.errorbar(difference, place, xerr=error, marker="o", color=BLUE)
        axes.axvline(0, color="0.7", linewidth=1)
        axes.set_yticks(range(len(others)), others if axes is middle else [""] * len(others))
        axes.invert_yaxis()
        axes.set_title(f"{kind} area ({better} is better)", fontsize=9)
        axes.set_xlabel("difference from vanilla")
    save_figure(figure, FIGURE)


def add(path: Path, *rows: dict[str, object]) -> None:
    """Append rows, which all have the same columns."""
    add_rows(path, list(rows[0]), rows)


if __name__ == "__main__":
    main()
