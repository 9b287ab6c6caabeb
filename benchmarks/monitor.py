"""What `CheckerboardEnergy` costs in a training loop: one update beside one step of a DCGAN, in one run.

    python benchmarks/monitor.py

The discriminator and generator of PyTorch's tutorial at 64 x 64, batch 64. Steps and updates alternate, so that a noisy machine slows both;
what counts is the ratio of their medians, divided by 50: one update in 50 steps. Writes benchmarks/results/monitor.json.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from timing import median_seconds, surroundings, write_result
from torch import Tensor, nn

from featvis.measure.metric import CheckerboardEnergy

EVERY, LATENT = 50, 100


def discriminator(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        *(layer for factor in (1, 2, 4) for layer in halving(width * factor)),
        nn.Conv2d(8 * width, 1, 4, bias=False),
    )


def halving(width: int) -> list[nn.Module]:
    return [
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2, inplace=True),
    ]


def doubling(width: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def generator(width: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(LATENT, 8 * width, 4, bias=False),
        nn.BatchNorm2d(8 * width),
        nn.ReLU(inplace=True),
        *(layer for factor in (4, 2, 1) for layer in doubling(width * factor)),
        nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--total-stride", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    critic, maker = discriminator(arguments.width), generator(arguments.width)
    optimisers = [torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999)) for network in (critic, maker)]
    real = torch.rand(arguments.batch_size, 3, 64, 64) * 2 - 1
    metric = CheckerboardEnergy(arguments.total_stride)

    def step() -> Tensor:
        latents = torch.randn(arguments.batch_size, LATENT, 1, 1)
        pictures = maker(latents)
        loss = F.softplus(-critic(real)).mean() + F.softplus(critic(pictures.detach())).mean()
        optimisers[0].zero_grad()
        loss.backward()
        optimisers[0].step()
        pictures.retain_grad()
        optimisers[1].zero_grad()
        F.softplus(-critic(pictures)).mean().backward()
        optimisers[1].step()
        assert pictures.grad is not None
        return pictures.grad

    gradients: list[Tensor] = []
    contestants = {"step": lambda: gradients.append(step()), "update": lambda: metric.update(gradients.pop())}
    medians = median_seconds(contestants, arguments.rounds)
    energies = metric.compute()
    result = {
        **surroundings(),
        "setting": vars(arguments) | {"size": 64, "update_every": EVERY},
        "median_seconds": medians,
        "update_over_step": medians["update"] / medians["step"],
        "share_of_step_at_one_update_in_50": medians["update"] / medians["step"] / EVERY,
        "energy": {str(period): estimate._asdict() for period, estimate in energies.energy.items()},
    }
    write_result("monitor", result)


if __name__ == "__main__":
    main()
