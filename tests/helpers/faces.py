"""The face GAN's two networks, as its checkpoints are laid out, and a look whether they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor, nn

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights"

needs_faces = pytest.mark.skipif(
    not (WEIGHTS / "face_discriminator.pt").is_file(), reason="../shared/data/weights holds no face_discriminator.pt"
)


class FaceDiscriminator(nn.Module):
    """32 x 32 pixels in [-1, 1] to one logit; four convolutions k4 s2."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2))]
        for inputs, outputs in ((32, 64), (64, 128), (128, 256)):
            convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)))
        self.discriminator = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(1024, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.discriminator(pictures)


class FaceGenerator(nn.Module):
    """(B, 100, 1, 1) uniform in [-1, 1] to 32 x 32 pixels in [-1, 1]; three transposed convolutions k4 s2 after one k4 s1."""

    def __init__(self) -> None:
        super().__init__()

        def transposed(inputs: int, outputs: int) -> nn.Module:
            convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))

        self.generator_deconv = nn.Sequential(
            nn.Sequential(nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False), nn.BatchNorm2d(256)),
            nn.Sequential(nn.Conv2d(256, 128, 3, 1, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
            transposed(128, 64),
            transposed(64, 32),
            nn.Sequential(nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh()),
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.generator_deconv(latent)
