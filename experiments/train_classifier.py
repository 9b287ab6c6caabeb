"""Train a CIFAR-10 classifier of the zoo; the twins differ in how they downsample and in nothing else.

    python experiments/train_classifier.py cifar10_jpeg.zip --out build/cifar-k3s2
    python experiments/train_classifier.py cifar10_jpeg.zip --out build/twins --twins all --epochs 24 --bfloat16

Resumable (a checkpoint after each epoch) and deterministic given the seed and the machine. Random crops move the
pictures against their own 8x8 JPEG grid, so that no pixel phase is favoured. Writes `log.csv`, one row an epoch, and at the
end `weights.safetensors` in float16, after checking that the rounded weights are as accurate. With --snapshots the weights before
the first epoch and after each are kept too, as `epoch-0.safetensors` and so on, in float16.

--log copies the log, of twins those of all that are trained in one table, and --ship the weights of the first seed, under the zoo's names.
"""

from __future__ import annotations

import functools
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from shared.archive import PADDING, augment, read_split
from shared.classifiers import LOG, WEIGHTS, accuracy, epochs_in, normalise
from shared.command_line import archive_parser
from shared.tables import read_rows, write_rows
from shared.weights import half
from torch import Tensor, nn

from featvis.files import write_atomically, write_tensors
from featvis.models.zoo.classifiers import DOWNSAMPLING, TWIN_WIDTHS, StridedClassifier

COLUMNS = ("epoch", "train_loss", "test_accuracy", "seconds")


Data = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training pictures and classes, test pictures and classes."""


@dataclass(frozen=True)
class Recipe:
    """How long and how a classifier is trained. padding: the pixels that random crops move a picture at most."""

    epochs: int = 20
    batch_size: int = 128
    bfloat16: bool = False
    snapshots: bool = False
    padding: int = PADDING


def train(model: nn.Module, data: Data, out: Path, recipe: Recipe, seed: int) -> None:
    """Train from the checkpoint in `out` on, or from the start; nothing is done where the weights are there.

    Raises SystemExit where `out` holds a training of another length, as its learning rates were others.
    """
    epochs, batch_size = recipe.epochs, recipe.batch_size
    if (out / WEIGHTS).exists():
        if (trained := epochs_in(out)) != epochs:
            raise SystemExit(f"{out} holds weights of {trained} epochs, not of {epochs}; give another folder")
        return
    pictures, classes, test_pictures, test_classes = data
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = len(pictures) // batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.3, total_steps=epochs * steps, pct_start=0.25)
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.05)

    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    rows: list[dict[str, float]] = []
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if (planned := state["schedule"]["total_steps"] / steps) != epochs:
            raise SystemExit(f"{out} holds a training of {planned:g} epochs, not of {epochs}; give another folder")
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        rows = state["rows"]
    elif recipe.snapshots:
        write_tensors(out / "epoch-0.safetensors", half(model), {})

    for epoch in range(len(rows), epochs):
        started, total = time.perf_counter(), 0.0
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(pictures), generator=generator)[: steps * batch_size]
        model.train()
        for chosen in order.split(batch_size):
            batch = normalise(augment(pictures[chosen], generator, recipe.padding))
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                loss = loss_function(model(batch), classes[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        rows.append(
            {
                "epoch": epoch + 1,
                "train_loss": round(total / steps, 4),
                "test_accuracy": accuracy(model, test_pictures, test_classes),
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
        print(rows[-1], flush=True)
        if recipe.snapshots:
            write_tensors(out / f"epoch-{epoch + 1}.safetensors", half(model), {})
        state = {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "rows": rows,
        }
        write_atomically(checkpoint, functools.partial(torch.save, state))

    rounded = half(model)
    model.load_state_dict({name: value.to(model.state_dict()[name].dtype) for name, value in rounded.items()})
    print(f"accuracy with float16 weights: {accuracy(model, test_pictures, test_classes):.4f}", flush=True)
    write_rows(out / LOG, COLUMNS, rows)
    write_tensors(out / WEIGHTS, rounded, {"recipe": f"experiments/train_classifier.py, {epochs} epochs, seed {seed}"})


def join_logs(folder: Path, names: list[str], seeds: list[int], log: Path) -> None:
    """One table of the logs of all twins that are trained."""
    rows = [
        {"twin": name, "seed": str(seed), **row}
        for name in names
        for seed in seeds
        for row in read_rows(folder / f"{name}-{seed}" / LOG)
    ]
    write_rows(log, ("twin", "seed", *COLUMNS), rows)


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/cifar-k3s2"))
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--batch-size", type=int, default=Recipe.batch_size)
    parser.add_argument("--seeds", default="0", help="Comma-separated; without --twins only the first.")
    parser.add_argument("--twins", help=f"all, or comma-separated: {', '.join(DOWNSAMPLING)}; a folder each.")
    parser.add_argument("--bfloat16", action="store_true", help="Convolutions in bfloat16: half the time.")
    parser.add_argument("--snapshots", action="store_true", help="Keep the weights of each epoch.")
    parser.add_argument("--padding", type=int, default=PADDING, help="Pixels that random crops move a picture at most.")
    parser.add_argument("--log", type=Path, help="Put the log, or those of all trained twins, into this file.")
    parser.add_argument("--ship", type=Path, help="Copy the weights of the first seed to this folder.")
    arguments = parser.parse_args()
    data = (*read_split(arguments.archive, "train"), *read_split(arguments.archive, "test"))
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    recipe = Recipe(arguments.epochs, arguments.batch_size, arguments.bfloat16, arguments.snapshots, arguments.padding)
    if arguments.twins is None:
        torch.manual_seed(seeds[0])
        train(StridedClassifier(), data, arguments.out, recipe, seeds[0])
        if arguments.log:
            shutil.copyfile(arguments.out / LOG, arguments.log)
        if arguments.ship:
            shutil.copyfile(arguments.out / WEIGHTS, arguments.ship / "cifar-k3s2.safetensors")
        return
    names = list(DOWNSAMPLING) if arguments.twins == "all" else arguments.twins.split(",")
    for seed in seeds:
        for name in names:
            torch.manual_seed(seed)
            twin = StridedClassifier(TWIN_WIDTHS, downsampling=name)
            out = arguments.out / f"{name}-{seed}"
            print(out, flush=True)
            train(twin, data, out, recipe, seed)
            if arguments.log:
                join_logs(arguments.out, names, seeds, arguments.log)
            if arguments.ship and seed == seeds[0]:
                shutil.copyfile(out / WEIGHTS, arguments.ship / f"twin-{name}.safetensors")


if __name__ == "__main__":
    main()
