"""What a dream drew has the comb that was planted and nothing of the photograph; a comparison changes one thing at a time."""

import math

import numpy as np
import pytest
import torch
from helpers.networks import fingerprint, strided

from featvis.dream.comparison import compare_dreams, fine_detail, measure, timed_dream, variants
from featvis.dream.dreaming import Dream
from featvis.errors import FeatvisError
from featvis.measure.sums import checkerboard_energy
from featvis.models.model import Model


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dreamt(picture, total_stride=4, history=(1.0, 2.0), **settings):
    usual = {"steps_done": 2, "steps": 2, "octaves": 1}
    return Dream(picture, noise(*picture.shape), history, total_stride, {**usual, **settings}, ("as it was",))


def test_fine_detail_is_what_a_binomial_of_five_leaves():
    picture = noise(2, 12, 15)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    padded = np.pad(picture.numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    smooth = sum(kernel[r, c] * padded[:, r : r + 12, c : c + 15] for r in range(5) for c in range(5))
    assert np.allclose(fine_detail(picture), picture.numpy() - smooth, atol=1e-12)


@pytest.mark.parametrize(("wavelength", "left"), [(2, 1.0), (4, 0.75), (32, 0.0192)])
def test_fine_detail_by_wavelength(wavelength, left):
    """1 - cos(pi / wavelength)^4: the binomial's response, away from the borders."""
    wave = torch.cos(2 * math.pi * torch.arange(64, dtype=torch.float64) / wavelength).expand(1, 64, 64)
    response = float((fine_detail(wave)[0, 32, 8:56] * wave[0, 32, 8:56]).sum() / wave[0, 32, 8:56].square().sum())
    assert response == pytest.approx(1 - math.cos(math.pi / wavelength) ** 4, abs=1e-9)
    assert response == pytest.approx(left, abs=1e-4)


def test_the_photograph_leaves_nothing():
    """Its content, however combed, is no part of what was drawn."""
    drawn = noise(3, 32, 32)
    comb = torch.zeros(3, 32, 32, dtype=torch.float64)
    comb[:, ::8] = 5
    assert torch.allclose(fine_detail(comb + drawn, comb), fine_detail(drawn), atol=1e-12)
    assert not torch.allclose(fine_detail(comb + drawn), fine_detail(drawn), atol=1)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_planted_comb_is_measured(strength):
    """White noise that is stronger in one column of two, high-passed: the same energy as by hand, and none where none was planted."""
    found = []
    for seed in range(8):
        drawn = noise(3, 64, 64, seed=seed)
        drawn[:, :, ::2] *= 1 + strength
        start = noise(3, 64, 64, seed=100 + seed)
        found.append(measure("x", dreamt(start + drawn), start, 1.0))
        by_hand = checkerboard_energy(fine_detail(drawn)[None], 4)
        assert found[-1].picture.energy[4].value == pytest.approx(by_hand.energy[4].value, rel=1e-9)
    mean = sum(one.picture.energy[2].value for one in found) / 8
    error = max(one.picture.energy[2].error for one in found)
    if strength:
        assert mean > 0.03
    else:
        assert abs(mean) < 3 * error


def test_a_record_is_plain():
    one = measure("x", dreamt(noise(3, 32, 32)), None, 1.5)
    written = one.content()
    assert (written["title"], written["objective"], written["seconds"], written["total_stride"]) == ("x", 2.0, 1.5, 4)
    assert written["picture"]["energy"]["4"] == list(one.picture.energy[4])
    assert set(written["gradient"]) == {"energy", "exact_periods", "controls", "signed_comb"}


@pytest.mark.parametrize(
    ("picture", "stride", "said"),
    [
        (noise(3, 6, 6), 32, "smaller than the total stride of 32"),
        (torch.zeros(3, 32, 32), 4, "the picture's energy is not measured"),
    ],
)
def test_what_cannot_be_measured_is_a_note(picture, stride, said):
    one = measure("x", dreamt(picture, stride), None, 1.0)
    assert one.picture is None
    assert one.content()["picture"] is None
    assert said in " ".join(one.notes)
    assert one.notes[0] == "as it was"


def test_variants_change_one_thing_and_take_the_same_steps():
    found = variants(4, 32, 10)
    assert {settings["steps"] * settings["octaves"] for settings in found.values()} == {40}
    still = found["fixed position"]
    for title, settings in found.items():
        changed = {name for name in settings if settings[name] != still.get(name)} - {"steps"}
        assert len(changed) == (2 if title == "4 octaves, jitter 32" else 0 if title == "fixed position" else 1)


def test_nothing_is_varied_that_is_not_there():
    assert list(variants(1, 8, 10)) == ["fixed position", "jitter 8", "equalised", "low-pass"]
    assert list(variants(3, 0, 10)) == ["fixed position", "3 octaves", "equalised", "low-pass"]


def small(progress=lambda done, total, value: None, **choices):
    """A short comparison of a small network."""
    model = Model(strided(dtype=torch.float32), "test", (3, 32, 32))
    start = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    settings = {"octaves": 2, "jitter": 4, "steps": 2, **choices}
    return compare_dreams(model, "3", start, ("nothing", model), progress=lambda title: progress, **settings)


def test_what_does_not_fit_shows_before_the_first_dream():
    with pytest.raises(FeatvisError, match=r"20 octaves of scale 1\.4 do not fit"):
        small(progress=lambda *what: pytest.fail("a dream began"), octaves=20)


@pytest.mark.parametrize(("press_at", "dreams"), [(1, 1), (4, 1), (6, 2)])
def test_an_interruption_keeps_what_there_is(press_at, dreams):
    """Also one at the last step of a dream."""
    steps = []

    def progress(done, total, value):
        steps.append(done)
        if len(steps) == press_at:
            raise KeyboardInterrupt

    assert len(small(progress)) == dreams


def test_an_interruption_between_two_dreams_keeps_the_first(monkeypatch):
    calls = []

    def pressing(*arguments, **settings):
        calls.append(arguments[0])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return timed_dream(*arguments, **settings)

    monkeypatch.setattr("featvis.dream.comparison.timed_dream", pressing)
    assert [one.title for one in small()] == ["fixed position"]
    calls[:] = ["before the first"]
    with pytest.raises(KeyboardInterrupt):
        small()


def test_a_comparison_leaves_the_network_and_passes_settings_on():
    module = strided(dtype=torch.float32)
    model = Model(module, "test", (3, 32, 32))
    before = fingerprint(module)
    start = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = []
    found = compare_dreams(
        model,
        "3",
        start,
        ("nothing", model),
        octaves=2,
        jitter=4,
        steps=2,
        seed=7,
        schedule="linear",
        progress=lambda title: lambda done, total, value: seen.append((title, done, total)),
    )
    assert fingerprint(module) == before
    assert [one.title for one in found] == [*variants(2, 4, 2), "repaired: nothing"]
    assert all(one.dream.settings["schedule"] == "linear" and one.dream.settings["seed"] == 7 for one in found)
    assert seen == [(one.title, step, 4) for one in found for step in range(1, 5)]
    # The same network, the same place: the same dream.
    assert torch.equal(found[0].dream.picture, found[-1].dream.picture)
    alone = timed_dream("x", model, "3", start, steps=4, octaves=1, jitter=4, seed=7, schedule="linear")
    assert torch.equal(found[1].dream.picture, alone.dream.picture)
    with pytest.raises(FeatvisError, match="no layer"):
        compare_dreams(model, "stage", start, ("nothing", model), octaves=2, jitter=4, steps=2)
