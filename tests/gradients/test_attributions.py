"""Attributions as objects: their parameters, their names, and what they are made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.networks import strided
from torch import Tensor

from featvis.errors import FeatvisError
from featvis.gradients.attributions import (
    METHODS,
    PLAIN,
    Attribution,
    Gradients,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
    Vanilla,
)
from featvis.gradients.compensations import (
    COMPENSATIONS,
    CycleSpinning,
    Equalise,
    Jitter,
    Laplacian,
    LowPass,
    attribution_named,
)
from featvis.gradients.draws import Draws
from featvis.gradients.engine import GradientEngine
from featvis.tracing.hashes import tensor_hash

PROFILE = torch.tensor([[1.0, 2.0], [0.5, 0.5]], dtype=torch.float64)


def counted(attribution: Attribution, images: Tensor, total_stride: int = 2) -> tuple[Tensor, int]:
    """The attribution with the gradient of sum(x^2) / 2, which is x, and how often that was asked for."""
    asked = 0

    def gradient(pictures: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return pictures

    return attribution.of(Gradients(gradient, total_stride, Draws(0, range(len(images)))), images), asked


@pytest.mark.parametrize(
    ("attribution", "passes"),
    [
        (Vanilla(), 1),
        (InputXGradient(), 1),
        (SmoothGrad(samples=7), 7),
        (IntegratedGradients(steps=3), 3),
        (Jitter(shifts=5), 5),
        (Jitter(SmoothGrad(samples=2), shifts=5), 10),
        (CycleSpinning(IntegratedGradients(steps=3)), 12),
        (LowPass(Jitter(shifts=5)), 5),
        (Equalise(profile=PROFILE), 1),
        (Laplacian(), 1),
    ],
)
def test_parameters_say_how_many_gradients_are_taken(attribution: Attribution, passes: int) -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    found, asked = counted(attribution, images)
    assert found.shape == images.shape
    assert asked == passes
    assert all(part.one_pass for part in attribution.parts) == (passes == 1)


def test_noise_and_cutoff_do_what_they_say() -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    spread = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    noisy, _ = counted(SmoothGrad(samples=1, noise=0.5), images)
    assert torch.allclose(noisy, images + 0.5 * spread * Draws(0, [0, 1]).normal(images))
    assert torch.allclose(counted(LowPass(cutoff=0), images)[0], images.mean((2, 3), keepdim=True).expand_as(images))
    assert torch.allclose(counted(LowPass(cutoff=1), images)[0], images)


def test_outer_compensations_treat_what_inner_ones_made() -> None:
    engine, images = GradientEngine(strided(), "1"), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    inner = SmoothGrad(samples=2)(engine, images)
    again = Gradients(lambda pictures: inner, 4, Draws(0, [0, 1]))
    assert torch.allclose(LowPass(SmoothGrad(samples=2))(engine, images), LowPass().of(again, images))


def test_names_and_parameters_make_the_same_object_again() -> None:
    assert str(PLAIN) == "vanilla"
    assert str(Jitter(SmoothGrad())) == "smoothgrad + jitter"
    assert str(Jitter(SmoothGrad(samples=50, noise=0.1), shifts=32)) == (
        "smoothgrad:samples=50,noise=0.1 + jitter:shifts=32"
    )
    for attribution in (
        PLAIN,
        IntegratedGradients(steps=7),
        LowPass(Jitter(SmoothGrad(noise=0.125), shifts=3), cutoff=1 / 3),
        CycleSpinning(InputXGradient()),
    ):
        said = attribution.settings()
        assert attribution_named(said["method"], said["compensation"]) == attribution
        assert said["profile"] is None
    assert Jitter().settings() == {"method": "vanilla", "compensation": "jitter", "profile": None}


def test_registries_hold_what_their_keys_name() -> None:
    assert [attribution.text for attribution in METHODS.values()] == list(METHODS)
    assert [attribution.settings()["compensation"] for attribution in COMPENSATIONS.values()] == list(COMPENSATIONS)
    for attribution in (*METHODS.values(), *COMPENSATIONS.values()):
        assert type(attribution)() == attribution
        assert type(attribution).__doc__


def test_profiles_go_where_one_is_missing() -> None:
    given = Equalise(profile=PROFILE)
    assert given.settings()["profile"] == tensor_hash(PROFILE)
    assert given == Equalise(profile=PROFILE.clone()) != Equalise(profile=2 * PROFILE)
    assert len({given, Equalise(profile=PROFILE.clone())}) == 1
    nested = Jitter(Equalise(SmoothGrad()))
    assert nested.lacks_profile
    assert not given.lacks_profile
    assert not PLAIN.lacks_profile
    assert nested.with_profile(PROFILE) == Jitter(Equalise(SmoothGrad(), profile=PROFILE))
    assert given.with_profile(2 * PROFILE) == given
    assert SmoothGrad().with_profile(PROFILE) == SmoothGrad()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SmoothGrad(samples=0), "smoothgrad with samples=0; give a whole number of at least 1"),
        (lambda: SmoothGrad(samples=2.5), "samples=2.5; give a whole number"),  # type: ignore[arg-type]
        (lambda: SmoothGrad(noise=-0.1), "noise=-0.1; give at least 0"),
        (lambda: SmoothGrad(noise=float("nan")), "noise=nan"),
        (lambda: IntegratedGradients(steps=-1), "steps=-1"),
        (lambda: Jitter(shifts=0), "jitter with shifts=0"),
        (lambda: LowPass(cutoff=float("inf")), "cutoff=inf"),
        (lambda: Laplacian(levels=0), "levels=0"),
        (lambda: SmoothGrad().around(Jitter()), "smoothgrad is made of gradients and treats no map"),
        (lambda: attribution_named("x"), "no method 'x'; known: vanilla"),
        (lambda: attribution_named(compensation="x"), "no compensation 'x'; known: none"),
        (lambda: attribution_named("smoothgrad:depth=3"), "no parameter 'depth'; it has samples and noise"),
        (lambda: attribution_named("vanilla:samples=3"), "vanilla has no parameter 'samples'; it has none"),
        (
            lambda: attribution_named("smoothgrad:samples=many"),
            "takes a whole number for samples, as in samples=25; got 'many'",
        ),
        (lambda: attribution_named("smoothgrad:samples"), "got ''"),
        (lambda: attribution_named("smoothgrad:noise=loud"), "takes a number for noise"),
        (lambda: attribution_named("smoothgrad+smoothgrad"), "treats no map"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        make()


def test_a_pyramid_refuses_signals() -> None:
    with pytest.raises(FeatvisError, match="laplacian takes pictures"):
        counted(Laplacian(), torch.randn(2, 3, 16))
