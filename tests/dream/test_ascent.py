"""Steps, schedules, pyramids and seeds: against closed forms, and with nothing global changed."""

import random

import numpy as np
import pytest
import torch

from featvis.dream.ascent import ASCENTS, SCHEDULES, seeded
from featvis.gradients.attributions import Gradients
from featvis.gradients.compensations import Laplacian
from featvis.gradients.draws import Draws


def evened(gradient):
    return Laplacian().of(Gradients(lambda images: gradient, 4, Draws(0, [0])), gradient)


@pytest.mark.parametrize(
    ("name", "measure"),
    [("mean-absolute", lambda g: np.abs(g).mean()), ("standard-deviation", lambda g: g.std(ddof=1))],
)
def test_a_normalised_step_has_its_length_whatever_the_gradient(name, measure):
    gradient = torch.randn(1, 3, 5, 5, dtype=torch.float64)
    for scale in (1e-6, 1, 1e6):
        values = torch.zeros(1, 3, 5, 5, dtype=torch.float64, requires_grad=True)
        optimiser = ASCENTS[name].optimiser([values], 0.5)

        def closure(values=values, optimiser=optimiser, scale=scale):
            optimiser.zero_grad()
            loss = (values * gradient * scale).sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        expected = -0.5 * gradient.numpy() / measure(gradient.numpy())
        assert np.allclose(values.detach().numpy(), expected)


def test_a_gradient_of_zeros_moves_nothing():
    values = torch.ones(2, requires_grad=True)
    values.grad = torch.zeros(2)
    ASCENTS["mean-absolute"].optimiser([values], 1.0).step()
    assert values.tolist() == [1, 1]


def test_schedules():
    shares = (0.0, 0.5, 1.0)
    assert {name: [round(schedule(share), 6) for share in shares] for name, schedule in SCHEDULES.items()} == {
        "constant": [1, 1, 1],
        "linear": [1, 0.5, 0],
        "cosine": [1, 0.5, 0],
    }


def test_a_pyramid_forgets_the_scale_and_keeps_the_shape():
    torch.manual_seed(0)
    gradient = torch.randn(2, 3, 33, 50, dtype=torch.float64)
    assert evened(gradient).shape == gradient.shape
    assert torch.allclose(evened(gradient), evened(1000 * gradient))


def test_a_pyramid_of_a_gradient_whose_squares_underflow():
    torch.manual_seed(0)
    gradient = torch.randn(2, 3, 33, 50)
    gradient[1] *= 1e-3
    assert (1e-25 * gradient).square().max() == 0
    assert torch.allclose(evened(1e-25 * gradient), evened(gradient), rtol=1e-3, atol=1e-4)
    assert torch.equal(evened(0 * gradient), 0 * gradient)


def test_a_pyramid_brings_bands_to_one_size():
    # A strong fine wave and a weak coarse one, four octaves apart.
    place = torch.arange(128, dtype=torch.float64)
    fine, coarse = torch.cos(np.pi * place), torch.cos(2 * np.pi * place / 32)
    gradient = (100 * fine + coarse).expand(1, 1, 128, 128)
    strength = [float(torch.fft.rfft(evened(gradient)[0, 0, 64]).abs()[number]) for number in (64, 4)]
    before = [float(torch.fft.rfft(gradient[0, 0, 64]).abs()[number]) for number in (64, 4)]
    assert before[0] / before[1] == pytest.approx(200)
    assert strength[0] / strength[1] < 4


def test_a_constant_gradient_stays_even_inside():
    # The binomial of five puts equal weight on even and odd pixels: the pyramid makes no comb of its own.
    inside = evened(torch.ones(1, 1, 128, 128, dtype=torch.float64))[0, 0, 56:72, 56:72]
    assert float(inside.std() / inside.mean()) < 1e-3


def test_seeds_draw_the_same_and_put_everything_back():
    def draw():
        return [torch.rand(()).item(), np.random.rand(), random.random()]  # noqa: NPY002

    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    with seeded(7):
        first = draw()
    with pytest.raises(ZeroDivisionError), seeded(2**40 + 7):
        _ = draw()[0] / 0
    with seeded(7):
        assert draw() == first
    assert draw() == expected
