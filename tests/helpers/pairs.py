"""A small discriminator, its gradient by plain autograd, and pictures of noise."""

import torch
from torch import nn


def layers(channels=3, kernel=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 6, kernel, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(6, 8, 4, 2, 1),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2),
        nn.Conv2d(8, 1, 3, 1, 1),
    ).double()


def pictures(count=8, channels=3, size=16, seed=0):
    random = torch.Generator().manual_seed(seed)
    return 2 * torch.rand((count, channels, size, size), generator=random, dtype=torch.float64) - 1


def square():
    return nn.Sequential(
        nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(True), nn.ConvTranspose2d(8, 3, 4, 4), nn.Tanh()
    )
