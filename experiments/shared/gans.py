"""The zoo's GANs: which pairs are trained, what they begin with, what they make, and how far that is from real pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from featvis.compat import import_torchvision
from featvis.models.zoo import ZOO
from featvis.models.zoo.cards import WEIGHTS
from featvis.models.zoo.discriminators import SIZE, Discriminator
from featvis.models.zoo.generators import Generator, draw_weights, parse_upsampler
from shared.archive import crops, read_split
from shared.tables import RESULTS
from shared.weights import settle, with_weights

import_torchvision()
from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: E402, torchmetrics imports torchvision by itself

TRAINING = RESULTS / "gan_training.csv"
"""The logs of all trainings."""

WIDTHS, LATENT = (128, 80, 48, 24), 64
"""Of the generators."""

PAIRS: dict[str, tuple[str, str]] = {
    "deconv3": ("deconv3", "k4s2"),
    "nearest": ("nearest", "k4s2"),
    "deconv4": ("deconv4", "k4s2"),
    "k3s2": ("nearest", "k3s2"),
    "k5s2": ("nearest", "k5s2"),
    "bilinear": ("bilinear", "k4s2"),
    "icnr": ("icnr", "k4s2"),
    "blur": ("nearest", "blur"),
    "subpixel": ("subpixel", "k4s2"),
    "deconv3-last": ("deconv3-last", "k4s2"),
    "deconv3-smooth4": ("deconv3-smooth4", "k4s2"),
}
"""How the generator upsamples, and the discriminator downsamples; the twin of each pair is "nearest"."""

GENERATORS = [pair for pair, (upsampling, _) in PAIRS.items() if pair == upsampling]
"""By how they upsample; each was trained against the same discriminator."""

JUDGED_SAMPLES, MEASURED_SAMPLES = 5000, 4096
"""Pictures of a generator whose distance is measured, and whose checkerboard."""

PERIOD, CONTROLS = 4, (3, 5, 7)
"""The longest period that the last two layers of a generator can leave, and periods that none can."""


def make_generator(name: str) -> Generator:
    """A generator of the zoo's shape, by how it upsamples."""
    return Generator(parse_upsampler(name), (SIZE, SIZE), WIDTHS, LATENT)


def untrained(pair: str, seed: int) -> tuple[Generator, Discriminator]:
    """What the training of a pair begins with; the discriminator has spectral normalisation."""
    upsampling, downsampling = PAIRS[pair]
    torch.manual_seed(seed)
    generator = make_generator(upsampling)
    draw_weights(generator, torch.Generator().manual_seed(seed))
    generator.to(memory_format=torch.channels_last)
    discriminator = Discriminator(downsampling).to(memory_format=torch.channels_last)
    for layer in list(discriminator.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            spectral_norm(layer)
    return generator, discriminator


def plain(discriminator: Discriminator) -> Discriminator:
    """The discriminator with its spectral normalisation folded into its weights."""
    for layer in list(discriminator.modules()):
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
    return discriminator.eval()


def random_generator(name: str, seed: int, batch: int) -> Generator:
    """The generator as before training, its batch norms at the statistics of its own features at four such batches."""
    generator = make_generator(name)
    draw_weights(generator, torch.Generator().manual_seed(seed))
    settle(generator, torch.randn(4, batch, LATENT, generator=torch.Generator().manual_seed(seed)))
    return generator.eval()


def trained_generator(name: str, weights: Path) -> Generator:
    """A generator of the zoo's shape with weights of a file, in eval mode."""
    return with_weights(make_generator(name), weights)


def shipped_weights(name: str) -> Path | None:
    """The file of one of the zoo's generators; None where there is none."""
    weights = WEIGHTS / f"generator-{name}.safetensors"
    return weights if weights.exists() else None


def shipped_generators() -> dict[str, Path]:
    """The weights of the zoo's generators that are there, by how they upsample."""
    return {name: weights for name in GENERATORS if (weights := shipped_weights(name))}


def latents_of(count: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Latents in batches, drawn from the seed alone."""
    return torch.randn(count, LATENT, generator=torch.Generator().manual_seed(seed)).split(250)


@torch.no_grad()
def samples_of(generator: Generator, count: int, seed: int = 0) -> Iterator[Tensor]:
    """Pictures in batches, their latents drawn from the seed alone."""
    yield from map(generator, latents_of(count, seed))


def pictures_of(generator: Generator, count: int, seed: int = 0) -> Tensor:
    """So many pictures (N, 3, 32, 32) of a generator, in [-1, 1]."""
    return torch.cat(list(samples_of(generator, count, seed)))


def real_pictures(archive: Path) -> Tensor:
    """As many test pictures as samples are measured, in [-1, 1], mirrored and shifted at random."""
    pictures = read_split(archive, "test")[0][:MEASURED_SAMPLES]
    return crops(pictures, torch.Generator().manual_seed(0)).contiguous()


class Features(nn.Module):
    """Pooled features of zoo:cifar-k3s2 at pictures (B, 3, 32, 32) in [-1, 1]; (B, 128)."""

    num_features = 128

    def __init__(self) -> None:
        super().__init__()
        card = ZOO["cifar-k3s2"]
        self.network = with_weights(card.architecture(), card.weights)
        self.network.head = nn.Identity()
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (card.mean, card.std))
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(((pictures / 2 + 0.5 - self.mean) / self.std).contiguous(memory_format=torch.channels_last))


def judge_of(test_pictures: Tensor) -> FrechetInceptionDistance:
    """The distance to the test pictures, which it keeps when it is reset."""
    judge = FrechetInceptionDistance(Features(), reset_real_features=False)
    shifted = crops(test_pictures, torch.Generator().manual_seed(0))
    for batch in shifted.split(500):
        judge.update(batch, real=True)
    return judge


def distance(judge: FrechetInceptionDistance, generator: Generator, seed: int = 0) -> float:
    """The distance of a generator's pictures from those that the judge keeps."""
    judge.reset()
    for batch in samples_of(generator.eval(), JUDGED_SAMPLES, seed):
        judge.update(batch, real=False)
    return float(judge.compute())
