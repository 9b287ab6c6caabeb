"""Small networks that tests share, and a fingerprint of everything that must not change in one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Function(nn.Module):
    """A network that is a function of its input and its layers."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, images: Tensor) -> Any:
        return self.function(images, *self.layers)


class TokensAfterNorm(nn.Module):
    """Patches, a batch norm, then tokens: torch 2.13 gives one picture alone a wrong gradient where the weights are frozen."""

    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.norm = nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16)
        self.mix, self.head, self.functional = nn.Linear(16, 16), nn.Linear(16, 5), functional

    def forward(self, pixels: Tensor) -> Tensor:
        norm, features = self.norm, F.relu(self.patches(pixels))
        if self.functional:
            features = F.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        else:
            features = norm(features)
        return self.head(F.relu(self.mix(features.flatten(2).transpose(1, 2))).mean(1))


def strided(channels: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """Two strided convolutions with batch norm and in-place rectifiers; total stride 4."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(channels, 6, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3, 2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    for part in network:
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return network.eval().to(dtype)


def fingerprint(module: nn.Module) -> str:
    """A hash of parameters, buffers, modes, requires_grad, gradients and hook counts."""
    digest = hashlib.sha256()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tensor.requires_grad} {tensor.grad is None} {tensor.is_leaf}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        digest.update(str(tensor.stride()).encode())
    for name, part in module.named_modules():
        hooks = [len(value) for key, value in sorted(vars(part).items()) if "_hooks" in key and value is not None]
        digest.update(f"{name} {type(part)} {part.training} {hooks}".encode())
    return digest.hexdigest()


def plain_gradient(module: nn.Module, images: Tensor, index: int | None = None) -> Tensor:
    """The gradient of a logit, the top one where index is None, by plain autograd."""
    pixels = images.detach().clone().requires_grad_()
    logits = module(pixels)
    chosen = logits.argmax(1) if index is None else torch.full((len(images),), index)
    (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), pixels)
    return gradient
