"""Random numbers belong to their pictures, whatever batch these come in."""

import math

import torch

from featvis.gradients.draws import Draws


def test_draws_belong_to_pictures() -> None:
    like = torch.zeros(3, 2, 4)
    assert torch.equal(Draws(0, [5, 6, 7]).normal(like)[1], Draws(0, [6]).normal(like[:1])[0])
    assert not torch.equal(Draws(0, [5]).normal(like[:1]), Draws(1, [5]).normal(like[:1]))
    assert Draws(0, [5, 6]).shifts(2, 8)[1] == Draws(0, [6]).shifts(2, 8)[0]
    signs = Draws(0, [1]).signs(torch.zeros(1, 1000))
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / math.sqrt(1000)


def test_one_picture_starts_its_numbers_again() -> None:
    draws, like = Draws(3, [8, 9]), torch.zeros(2, 5)
    first = draws.normal(like)
    assert not torch.equal(draws.normal(like), first)
    assert torch.equal(draws.one(1).normal(like[:1])[0], first[1])
    assert torch.equal(draws.signs(like), draws.signs(like))


def test_noise_is_standard_normal_and_shifts_take_every_value() -> None:
    noise = Draws(0, range(20)).normal(torch.zeros(20, 500))
    assert abs(noise.mean()) < 4 / math.sqrt(10_000)
    assert abs(noise.square().mean() - 1) < 4 * math.sqrt(2 / 10_000)
    assert {shift for shifts in Draws(0, range(100)).shifts(2, 3) for shift in shifts} == {0, 1, 2}
