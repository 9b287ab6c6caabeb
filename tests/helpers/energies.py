"""Gradients whose energies are known, and when two of them are the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from featvis.measure.sums import Energies


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def white(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Energy maps of white noise, (count, height, width)."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed)).square().sum(1)


def comb(height: int, width: int, rows: int, columns: int, strength: float, count: int = 32, seed: int = 0) -> Tensor:
    """White energies times a cosine of this period and strength along each axis; a period of 1 is none."""
    down = 1 + strength * torch.cos(2 * torch.pi * torch.arange(height) / rows) if rows > 1 else torch.ones(height)
    across = (
        1 + strength * torch.cos(2 * torch.pi * torch.arange(width) / columns) if columns > 1 else torch.ones(width)
    )
    return white(count, height, width, seed) * torch.outer(down, across)


def profiled_noise(profile: Tensor, count: int, repeats: int, channels: int = 3, seed: int = 0) -> Tensor:
    """White noise whose expected energy has this phase profile."""
    tiled = profile.sqrt().repeat(repeats, repeats)
    return noise(count, channels, *tiled.shape, seed=seed) * tiled


def variation(profile: Tensor) -> float:
    return float(((profile / profile.mean() - 1) ** 2).mean())


def assert_close(value: float, expected: float, error: float | None, times: float = 3.0) -> None:
    assert error is not None
    assert abs(value - expected) <= times * error, f"{value} is not {expected} within {times} x {error}"


def assert_same(first: Energies, second: Energies, tolerance: float = 1e-9) -> None:
    for name in ("energy", "controls", "exact_periods", "signed_comb"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.keys() == two.keys()
        for period in one:
            assert one[period].value == pytest.approx(two[period].value, abs=tolerance)
            assert one[period].error == pytest.approx(two[period].error, abs=tolerance)
    assert first.high_frequency_share == pytest.approx(second.high_frequency_share, abs=tolerance)
    assert first.mean_gradient_flatness == pytest.approx(second.mean_gradient_flatness, abs=1e-6)
    assert torch.allclose(first.profile, second.profile, atol=tolerance)
    assert (first.pictures, first.replicates) == (second.pictures, second.replicates)
