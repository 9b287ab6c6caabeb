"""What shuffles of trained weights keep, and where the errors of the table come from."""

import overlap_training
import pytest
import torch


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_shuffles_keep_what_they_say():
    kernels = noise(5, 9)
    random = torch.Generator().manual_seed(0)
    positions = overlap_training.SHUFFLES["positions shuffled"](kernels, random)
    assert torch.equal(positions.sort(1).values, kernels.sort(1).values)
    assert not torch.equal(positions, kernels)
    mixed = overlap_training.SHUFFLES["kernels shuffled"](kernels, random)
    assert torch.equal(mixed.sort(0).values, kernels.sort(0).values)
    assert not torch.equal(mixed, kernels)


def test_shuffled_networks_have_batch_norms_of_their_own(monkeypatch):
    """With the statistics of the network that they come from, shuffled weights put all pictures into one class."""
    random = torch.Generator().manual_seed(0)
    inputs = [torch.randn(64, 3, 32, 32, generator=random)]
    network = overlap_training.network_at("k3s2", 0, None, 0, inputs)
    seen = []

    def watched(twin_network, twin, pictures):
        with torch.no_grad():
            features = twin_network.stem(inputs[0])
        seen.append(features)
        return [0.0] * 6

    monkeypatch.setattr(overlap_training, "measured", watched)
    change = overlap_training.SHUFFLES["kernels shuffled"]
    overlap_training.measured_shuffled(network, "k3s2", inputs[0], change, inputs)
    assert len(seen) == overlap_training.DRAWS
    for features in seen:
        # Rectified standard normal values: half are 0, and their mean square is a half.
        assert features.square().mean().item() == pytest.approx(0.5, rel=0.1)


def test_one_seed_has_the_error_over_pictures_and_several_their_own():
    rows = [{"measured": "0.1", "predicted": "0.2", "error": "0.01"}]
    assert overlap_training.estimate(rows, "measured") == (0.1, 0.01)
    assert overlap_training.estimate(rows, "predicted") == (0.2, None)
    rows.append({"measured": "0.3", "predicted": "0.2", "error": "0.01"})
    found = overlap_training.estimate(rows, "measured")
    assert found == pytest.approx((0.2, 0.1))
