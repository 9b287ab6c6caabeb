"""Train the zoo's GANs on CIFAR-10: generators that differ in how they upsample, discriminators in how they downsample, nothing else.

    python experiments/train_gan.py cifar10_jpeg.zip --out build/gan --pairs all --steps 2000 --seed 0

Eight generators each against the discriminator "k4s2", and three other discriminators each against the generator "nearest". Hinge loss,
spectral normalisation in the discriminator (Miyato et al. 2018), Adam, and a running average of the generator's weights, whose batch
norms are measured anew. Random crops of reflected pictures move the data against its own 8x8 JPEG grid. Resumable (a checkpoint each
250 steps) and deterministic given the seed and the machine. Each pair gets a folder: `log.csv`, and at the end
`generator.safetensors` and `discriminator.safetensors` in float16. All logs together are written to experiments/results/gan_training.csv.

distance: the Frechet distance (Heusel et al. 2017) between 5,000 samples and the test pictures, shifted like the training pictures,
in the 128 pooled features of zoo:cifar-k3s2. `floor` prints what 5,000 training pictures get.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from shared.archive import crops, read_split
from shared.command_line import archive_parser
from shared.gans import JUDGED_SAMPLES, LATENT, PAIRS, TRAINING, distance, judge_of, plain, untrained
from shared.tables import read_rows, write_rows
from shared.weights import half, settle
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.image.fid import FrechetInceptionDistance

from featvis.files import write_atomically, write_tensors
from featvis.models.checkpoints import load_strictly
from featvis.models.zoo.discriminators import DISCRIMINATORS
from featvis.models.zoo.generators import Generator

BATCH, RATE, BETAS, DECAY, MARGIN = 64, 4e-4, (0.0, 0.9), 0.99, 0.125
"""The hinge loss's margin is less than the usual 1: a small network with spectral normalisation never reaches that."""

LOGGED, SAVED, JUDGED = 50, 250, 500
"""Steps between rows of the log, checkpoints, and measurements of the distance; each divides the next."""

COLUMNS = ("step", "discriminator_loss", "generator_loss", "real_logit", "fake_logit", "distance", "seconds")


def settled(average: AveragedModel) -> Generator:
    """The averaged generator with its batch norms' statistics measured anew, at 6,400 latents."""
    generator: Generator = average.module
    latents = torch.randn(100, BATCH, LATENT, generator=torch.Generator().manual_seed(1))
    settle(generator, latents)
    return generator.eval()


class Duel:
    """A generator and a discriminator in training, with everything that a checkpoint holds."""

    def __init__(self, pair: str, seed: int) -> None:
        self.seed = seed
        self.generator, self.discriminator = untrained(pair, seed)
        self.average = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
        self.optimisers = [
            torch.optim.Adam(network.parameters(), RATE, betas=BETAS)
            for network in (self.generator, self.discriminator)
        ]
        self.rows: list[dict[str, float]] = []

    def state(self) -> dict[str, object]:
        """What a checkpoint holds: tensors and numbers alone."""
        parts = (self.generator, self.discriminator, self.average, *self.optimisers)
        return {"rows": self.rows, "parts": [part.state_dict() for part in parts]}

    def resume(self, checkpoint: Path) -> int:
        """Go on from a checkpoint, if there is one; the steps done."""
        if not checkpoint.exists():
            return 0
        state = torch.load(checkpoint, weights_only=True)
        parts = (self.generator, self.discriminator, self.average, *self.optimisers)
        for part, its in zip(parts, state["parts"], strict=True):
            part.load_state_dict(its)
        self.rows = state["rows"]
        return int(self.rows[-1]["step"])

    def step(self, pictures: Tensor, number: int, bfloat16: bool) -> Tensor:
        """One step of both, at the same fakes; both losses and the mean logits at real and fake pictures."""
        random = torch.Generator().manual_seed(self.seed * 1_000_000 + number)
        real = crops(pictures[torch.randint(0, len(pictures), (BATCH,), generator=random)], random)
        latents = torch.randn(BATCH, LATENT, generator=random)
        for_generator, for_discriminator = self.optimisers
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fake = self.generator(latents)
            at_real, at_fake = self.discriminator(real), self.discriminator(fake.detach())
            loss = F.relu(MARGIN - at_real.float()).mean() + F.relu(MARGIN + at_fake.float()).mean()
        for_discriminator.zero_grad()
        loss.backward()
        for_discriminator.step()
        self.discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            generator_loss = -self.discriminator(fake).float().mean()
        for_generator.zero_grad()
        generator_loss.backward()
        for_generator.step()
        self.discriminator.requires_grad_(True)
        self.average.update_parameters(self.generator)
        return torch.stack((loss, generator_loss, at_real.float().mean(), at_fake.float().mean())).detach()


def train(
    pair: str, pictures: Tensor, judge: FrechetInceptionDistance, out: Path, steps: int, seed: int, bfloat16: bool
) -> None:
    """Train from the checkpoint in `out` on, or from the start; nothing is done where weights of as many steps are there.

    Raises SystemExit where it was trained for longer.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    duel = Duel(pair, seed)
    done = duel.resume(checkpoint)
    if done > steps:
        raise SystemExit(f"{out} holds a training of {done} steps, more than {steps}; give another folder")
    if done == steps and (out / "generator.safetensors").exists():
        return
    started, sums = time.perf_counter(), torch.zeros(4)
    for number in range(done + 1, steps + 1):
        sums += duel.step(pictures, number, bfloat16)
        if number % LOGGED == 0:
            seconds = time.perf_counter() - started
            found = distance(judge, settled(duel.average)) if number % JUDGED == 0 else None
            means = [round(value, 4) for value in (sums / LOGGED).tolist()]
            row = (number, *means, "" if found is None else round(found, 3), round(seconds, 1))
            duel.rows.append(dict(zip(COLUMNS, row, strict=True)))
            started, sums = time.perf_counter(), torch.zeros(4)
        if number % SAVED == 0:
            print(pair, duel.rows[-1], flush=True)
            write_atomically(checkpoint, lambda path: torch.save(duel.state(), path))
    write_rows(out / "log.csv", COLUMNS, duel.rows)
    export(duel, pair, judge, out)


def export(duel: Duel, pair: str, judge: FrechetInceptionDistance, out: Path) -> None:
    """Write both networks in float16, the discriminator with its spectral normalisation folded in, and print what rounding costs."""
    generator, discriminator = settled(duel.average), plain(duel.discriminator)
    exact = distance(judge, generator)
    networks: dict[str, nn.Module] = {"discriminator": discriminator, "generator": generator}
    for name, network in networks.items():
        rounded = half(network)
        if name == "generator":
            load_strictly(network, rounded, name)
            print(f"{pair}: distance {exact:.3f}, {distance(judge, generator):.3f} in float16", flush=True)
        recipe = f"experiments/train_gan.py, pair {pair}, {duel.rows[-1]['step']} steps, seed {duel.seed}"
        write_tensors(out / f"{name}.safetensors", rounded, {"recipe": recipe})


def join_logs(out: Path, seed: int) -> None:
    """Put the logs of all pairs into the committed table, beside those of other seeds."""
    rows = [row for row in read_rows(TRAINING) if row["seed"] != str(seed)]
    for pair in PAIRS:
        rows += [{"seed": str(seed), "pair": pair, **row} for row in read_rows(out / pair / "log.csv")]
    write_rows(TRAINING, ("seed", "pair", *COLUMNS), sorted(rows, key=lambda row: int(row["seed"])))


def ship(out: Path, pair: str, folder: Path) -> None:
    """Copy what a pair is trained for to a folder, under the zoo's names: the generator, or the discriminator beside "nearest"."""
    if pair in DISCRIMINATORS:
        shutil.copyfile(out / "discriminator.safetensors", folder / f"discriminator-{pair}.safetensors")
        return
    shutil.copyfile(out / "generator.safetensors", folder / f"generator-{pair}.safetensors")
    if pair == "nearest":
        shutil.copyfile(out / "discriminator.safetensors", folder / "discriminator-k4s2.safetensors")


def main() -> None:
    parser = archive_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gan"), help="One folder for each seed.")
    parser.add_argument("--pairs", default="all", help=f"all, or comma-separated: {', '.join(PAIRS)}.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="Convolutions in bfloat16: two thirds of the time.")
    parser.add_argument("--ship", type=Path, help="Copy the weights to this folder.")
    arguments = parser.parse_args()
    if arguments.steps % JUDGED:
        parser.error(f"--steps is a multiple of {JUDGED}, so that the log ends with a distance")
    pictures, _ = read_split(arguments.archive, "train")
    judge = judge_of(read_split(arguments.archive, "test")[0])
    for batch in crops(pictures[:: len(pictures) // JUDGED_SAMPLES], torch.Generator().manual_seed(1)).split(500):
        judge.update(batch, real=False)
    print(f"floor: distance {float(judge.compute()):.3f} of {JUDGED_SAMPLES} training pictures", flush=True)
    for pair in PAIRS if arguments.pairs == "all" else arguments.pairs.split(","):
        train(pair, pictures, judge, arguments.out / pair, arguments.steps, arguments.seed, arguments.bfloat16)
        join_logs(arguments.out, arguments.seed)
        if arguments.ship:
            ship(arguments.out / pair, pair, arguments.ship)


if __name__ == "__main__":
    main()
