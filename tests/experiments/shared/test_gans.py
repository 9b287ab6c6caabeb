"""Generators of the zoo: random ones are those of their seed, trained ones tell their training."""

import torch
from shared.gans import pictures_of, plain, random_generator, shipped_weights, untrained
from shared.weights import steps_and_seed


def test_weights_tell_the_training_that_they_come_from():
    weights = shipped_weights("nearest")
    assert steps_and_seed(weights) == (2000, 0)
    assert shipped_weights("none of these") is None


def test_random_generators_are_those_of_their_seed():
    one, same, other = (random_generator("icnr", seed, 256) for seed in (3, 3, 4))
    pictures = [pictures_of(network, 4) for network in (one, same, other)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


def test_a_plain_discriminator_is_the_normalised_one():
    discriminator = untrained("k5s2", 0)[1].eval()
    pictures = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = discriminator(pictures)
        assert any("original" in name for name in discriminator.state_dict())
        torch.testing.assert_close(plain(discriminator)(pictures), expected)
    assert not any("original" in name for name in discriminator.state_dict())
