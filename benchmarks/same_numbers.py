"""Whether two versions of featvis measure the same: the numbers of 25 command lines, recorded by each and compared.

    python benchmarks/same_numbers.py record FOLDER --data DATA      with the featvis that this Python imports
    python benchmarks/same_numbers.py compare FOLDER OTHER           exit code 1 where a number moved by more than 1e-9

DATA holds `images/imagenet`, `images/set14` and the weights that the command lines name.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

CLOSE = 1e-9
"""Two numbers are the same where they differ by no more than this, relative to the larger of them or absolute, whichever is more."""

VOLATILE = ("milliseconds", "seconds", "versions", "version", "featvis", "memory")
"""Keys whose values differ from run to run, or from version to version by intention."""

MOBILE = "mobilenet_v2 --weights {data}/weights/mobilenet_v2_imagenet.pth --mean .5 --std .5"
THIN = "{data}/weights/resnet50_thin.py:ThinResNet50 {pictures} --weights {data}/weights/resnet50_thin.safetensors"
THIN += " --mean .482353,.458824,.407843 --std .00392157 --size 224"

PREDICTED = """
import sys
from featvis import load_model
from featvis.predict.prediction import predict
model = load_model(sys.argv[1], weights=sys.argv[2], seed=3)
print(predict(model.module, model.input_size).to_json())
"""

COMMANDS = {
    "audit-zoo": "audit zoo:cifar-k3s2 {pictures} --limit 16 --culprits --json {out}.json",
    "audit-shortcut": "audit zoo:twin-shortcut-1x1 {pictures} --limit 24 --culprits --save-profile {out}.json",
    "audit-jitter": "audit zoo:twin-k3s2 {pictures} --limit 9 --compensate jitter --seed 3 --json {out}.json",
    "audit-smoothgrad": "audit zoo:twin-max3 {pictures} --limit 5 --method smoothgrad --json {out}.json",
    "audit-seeds": "audit zoo:twin-k4s2 {pictures} --limit 12 --score seeds --batch-size 5 --json {out}.json",
    "audit-layer": "audit zoo:twin-l2 {pictures} --limit 12 --score stage1:3 --json {out}.json",
    "audit-low-pass": "audit zoo:twin-average {pictures} --limit 12 --compensate low-pass --json {out}.json",
    "audit-one": "audit zoo:twin-blur {picture} --json {out}.json",
    "audit-set14": "audit zoo:twin-max2 {data}/images/set14 --method input-x-gradient --workers 1 --json {out}.json",
    "audit-mobilenet": f"audit {MOBILE} {{pictures}} --limit 12 --culprits --json {{out}}.json",
    "audit-thin": f"audit {THIN} --limit 8 --culprits --json {{out}}.json",
    "audit-random": "audit resnet18 {pictures} --weights none --seed 3 --limit 8 --json {out}.json",
    "compare-fixes": "compare zoo:twin-k3s2 {pictures} --limit 40 --with blurpool --with backward-even --json {out}.json",
    "compare-methods": "compare zoo:twin-shortcut-1x1 {pictures} --limit 10 --compensate jitter --method smoothgrad "
    "--also zoo:twin-shortcut-average --json {out}.json",
    "compare-chain": "compare zoo:cifar-k3s2 {pictures} --limit 12 --with even-kernel+blurpool --json {out}.json",
    "compare-generators": "compare --generator dcgan --upsample deconv3,icnr,bilinear --samples 8 --json {out}.json",
    "grad": "grad zoo:twin-shortcut-1x1 {picture} --method integrated-gradients --compensate cycle-spinning --out {out}",
    "fix": "fix zoo:twin-k3s2 --with blurpool --with backward-even --pictures {pictures} --save {out}.safetensors",
    "dream": "dream zoo:cifar-k3s2 {picture} --objective stage3 --steps 3 --octaves 2 --jitter 4 --out {out}.npy",
    "dream-compare": "dream zoo:twin-k3s2 --objective stage2:1 --steps 2 --compare --size 64 --out {out}.png",
    "discriminator": "discriminator zoo:discriminator-k3s2 --generator zoo:generator-deconv3 --culprits --neutral "
    "--samples 32 --out {out}",
    "generator": "generator zoo:generator-deconv3 --samples 64 --out {out}",
    "images": "images {data}/images/set14 --json {out}.json",
    "predict": "python zoo:twin-max3 none",
    "predict-resnet": "python resnet50 none",
}


@click.group()
def main() -> None:
    """Record the numbers of one version of featvis, or compare those of two."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="Weights and pictures.")
@click.option("--only", multiple=True, help="Only these command lines, by name.")
def record(folder: Path, data: Path, only: tuple[str, ...]) -> None:
    """Run every command line and keep what it writes in FOLDER."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = data.resolve() / "images" / "imagenet"
    picture = sorted(pictures.iterdir())[7]
    for name, line in COMMANDS.items():
        if only and name not in only:
            continue
        out = folder / name
        words = line.format(data=data.resolve(), pictures=pictures, picture=picture, out=out).split()
        start = time.perf_counter()
        if words[0] == "python":
            done = subprocess.run([sys.executable, "-c", PREDICTED, *words[1:]], capture_output=True, text=True)
            out.with_suffix(".json").write_text(done.stdout)
        else:
            done = subprocess.run([sys.executable, "-m", "featvis", *words], capture_output=True, text=True)
        out.with_suffix(".txt").write_text(done.stdout + done.stderr)
        said = "" if done.returncode == 0 else f"  exit code {done.returncode}: {done.stderr.strip()[-300:]}"
        click.echo(f"{name:20} {time.perf_counter() - start:6.1f} s{said}")


@main.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("other", type=click.Path(exists=True, path_type=Path))
def compare(folder: Path, other: Path) -> None:
    """Say where the numbers in two folders differ, and how many were compared."""
    moved = compared = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".npz", ".npy", ".safetensors"):
            continue
        twin = other / path.relative_to(folder)
        if not twin.is_file():
            click.echo(f"{path.relative_to(folder)}: missing in {other}")
            moved += 1
            continue
        before, after = dict(values_in(path)), dict(values_in(twin))
        compared += len(before)
        for key, value in before.items():
            if key not in after:
                click.echo(f"{path.relative_to(folder)}: {key} is gone")
            elif not same(value, after[key]):
                click.echo(f"{path.relative_to(folder)}: {key} was {value!r:.80}, is {after[key]!r:.80}")
            else:
                continue
            moved += 1
    click.echo(f"{compared} values compared, {moved} differ")
    sys.exit(int(moved > 0))


def values_in(path: Path) -> Iterator[tuple[str, Any]]:
    """Every value in a file, with the way to it."""
    if path.suffix == ".json":
        yield from leaves(json.loads(path.read_text(encoding="utf-8")))
    elif path.suffix == ".npz":
        yield from np.load(path).items()
    elif path.suffix == ".npy":
        yield "", np.load(path)
    else:
        from safetensors.numpy import load_file

        yield from load_file(path).items()


def leaves(content: Any, way: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and texts in what JSON gives, with the way to each; without what may differ."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key not in VOLATILE:
                yield from leaves(value, f"{way}/{key}")
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from leaves(value, f"{way}/{number}")
    else:
        yield way, content


def same(value: Any, other: Any) -> bool:
    """Whether two values agree; numbers up to CLOSE, arrays element by element."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fc":
            return value.shape == other.shape and bool((value == other).all())
        return value.shape == other.shape and np.allclose(value, other, rtol=CLOSE, atol=CLOSE, equal_nan=True)
    if isinstance(value, float) or isinstance(other, float):
        if not isinstance(other, int | float):
            return False
        return math.isclose(value, other, rel_tol=CLOSE, abs_tol=CLOSE) or (math.isnan(value) and math.isnan(other))
    return bool(value == other)


if __name__ == "__main__":
    main()
