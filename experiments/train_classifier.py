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

import argparse
import functools
import io
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tables import read_rows, write_rows
from torch import Tensor, nn

from featvis.files import write_atomically, write_tensors
from featvis.models.zoo.cards import CIFAR10, MEAN, STD
from featvis.models.zoo.classifiers import DOWNSAMPLING, TWIN_WIDTHS, StridedClassifier

PADDING = 4
COLUMNS = ("epoch", "train_loss", "test_accuracy", "seconds")
WEIGHTS, LOG = "weights.safetensors", "log.csv"


def read_split(archive: Path, split: str) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 32, 32) as bytes and class indices (N,) of one split of the archive."""
    pictures, classes = [], []
    with zipfile.ZipFile(archive) as files:
        for name in sorted(n for n in files.namelist() if n.startswith(f"{split}/") and n.endswith(".jpg")):
            pictures.append(np.asarray(Image.open(io.BytesIO(files.read(name))).convert("RGB")))
            classes.append(CIFAR10.index(name.split("/")[1]))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), torch.tensor(classes)


def archive_argument(description: str | None) -> Path:
    """The archive that the command line of a study names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    return parser.parse_args().archive


def cropped_test_pictures(archive: Path, count: int) -> tuple[Tensor, Tensor]:
    """So many random test pictures (N, 3, 32, 32) in [0, 1], cropped at random as in training, and their classes (N,)."""
    pictures, classes = read_split(archive, "test")
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(pictures), generator=random)[:count]
    return augment(pictures[order], random).float() / 255, classes[order]


Data = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training pictures and classes, test pictures and classes."""


def normalise(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((pictures.float() / 255 - mean) / std).to(memory_format=torch.channels_last)


def augment(pictures: Tensor, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """Each picture reflected at random and cropped at a random position of its padded self."""
    count, _, height, width = pictures.shape
    padded = nn.functional.pad(pictures.float(), (padding,) * 4, mode="reflect").byte()
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = offsets[1] + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    picture = torch.arange(count).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def accuracy(model: nn.Module, pictures: Tensor, classes: Tensor) -> float:
    model.eval()
    correct = sum(
        (model(normalise(batch)).argmax(1) == truth).sum().item()
        for batch, truth in zip(pictures.split(500), classes.split(500), strict=True)
    )
    return correct / len(classes)


def half(model: nn.Module) -> dict[str, Tensor]:
    """The weights rounded to float16; counts stay whole numbers."""
    return {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


def train(
    model: nn.Module,
    data: Data,
    out: Path,
    epochs: int,
    batch_size: int,
    seed: int,
    bfloat16: bool,
    snapshots: bool = False,
    padding: int = PADDING,
) -> None:
    """Train from the checkpoint in `out` on, or from the start; nothing is done where the weights are there.

    Raises SystemExit where `out` holds a training of another length, as its learning rates were others.
    """
    if (out / WEIGHTS).exists():
        if (trained := len(read_rows(out / LOG))) != epochs:
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
    elif snapshots:
        write_tensors(out / "epoch-0.safetensors", half(model), {})

    for epoch in range(len(rows), epochs):
        started, total = time.perf_counter(), 0.0
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(pictures), generator=generator)[: steps * batch_size]
        model.train()
        for chosen in order.split(batch_size):
            batch = normalise(augment(pictures[chosen], generator, padding))
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
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
        if snapshots:
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/cifar-k3s2"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
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
    if arguments.twins is None:
        torch.manual_seed(seeds[0])
        train(
            StridedClassifier(),
            data,
            arguments.out,
            arguments.epochs,
            arguments.batch_size,
            seeds[0],
            arguments.bfloat16,
            arguments.snapshots,
            arguments.padding,
        )
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
            train(
                twin,
                data,
                out,
                arguments.epochs,
                arguments.batch_size,
                seed,
                arguments.bfloat16,
                arguments.snapshots,
                arguments.padding,
            )
            if arguments.log:
                join_logs(arguments.out, names, seeds, arguments.log)
            if arguments.ship and seed == seeds[0]:
                shutil.copyfile(out / WEIGHTS, arguments.ship / f"twin-{name}.safetensors")


if __name__ == "__main__":
    main()
