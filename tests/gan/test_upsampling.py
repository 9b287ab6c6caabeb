"""The comparison of upsampling layers: energies against closed forms and brute force, and what it refuses."""

import json
from fractions import Fraction

import pytest
import torch

from featvis.errors import FeatvisError
from featvis.gan.upsampling import (
    PERIOD,
    STAGES,
    closed_form_energies,
    compare_upsampling,
    expected_energies,
    measure_upsampler,
)
from featvis.measure.phases import fold
from featvis.models.zoo.generators import UPSAMPLING, draw_weights, upsampler_names


@pytest.mark.parametrize("name", ["deconv3", "deconv4", "subpixel", "nearest"])
def test_stages_count_what_the_layers_write(name):
    """A layer of ones writes to each pixel as often as its stage says, along each axis."""
    layer = UPSAMPLING[name](1, 1).double().requires_grad_(False)
    layer.weight.fill_(1)
    stage = STAGES[name]
    # Independent weights: energies add up, so a weight that is read twice counts twice.
    written = layer(torch.ones(1, 1, 8, 8, dtype=torch.float64))[0, 0, 4:-4, 4:-4]
    assert (fold(written, 2, 2).std() == 0) == (stage.kernel % 2 == 0)


@pytest.mark.parametrize(
    ("name", "energies"),
    [
        ("deconv3", (Fraction(19, 81), Fraction(92, 81) ** 2 - 1)),
        ("deconv3-last", (Fraction(19, 81), Fraction(19, 81))),
        ("deconv3-smooth2", (0, 0.0248)),
        ("deconv3-smooth3", (0.0248, 0.0304)),
        ("deconv3-smooth4", (0, 0)),
        ("deconv3-last-smooth3", (Fraction(82, 81) ** 2 - 1, Fraction(82, 81) ** 2 - 1)),
        *((f"{name}{end}", (0, 0)) for name in UPSAMPLING if name != "deconv3" for end in ("", "-last", "-smooth3")),
    ],
)
def test_closed_forms(name, energies):
    """1-D energies of 1/9 for one layer and 11/81 for two; a width of 3 leaves a third of the amplitude, a ninth of 1/9."""
    found = closed_form_energies(name)
    assert list(found) == [2, 4]
    assert list(found.values()) == pytest.approx([float(value) for value in energies], abs=5e-5)


@pytest.mark.parametrize(("name", "even"), [("nearest", True), ("bilinear", False)])
def test_of_two_resizes_only_bilinear_ones_leave_a_little(name, even):
    """The exception that the closed form names, at white features."""
    source = torch.Generator().manual_seed(0)
    layers = torch.nn.Sequential(UPSAMPLING[name](16, 32), torch.nn.ReLU(), UPSAMPLING[name](32, 16))
    layers.requires_grad_(False)
    profiles = []
    for _ in range(48):
        draw_weights(layers, source)
        features = layers(torch.randn(4, 16, 24, 24, generator=source))
        profiles.append(fold(features[..., 16:-16, 16:-16].double().square().mean((0, 1)), PERIOD, PERIOD))
    energy = expected_energies(torch.stack(profiles))[0]
    assert abs(energy[2].value) < 4 * energy[2].error
    if even:
        assert abs(energy[4].value) < 4 * energy[4].error
        assert energy[4].error < 1e-5
    else:
        assert energy[4].value > 4 * energy[4].error
        assert 2e-5 < energy[4].value < 1e-4


def uneven(networks, profile, seed, spread=1.0):
    """Energy profiles of networks whose strength varies much, around a given profile."""
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(networks, 3, *profile.shape, generator=source, dtype=torch.float64).square().mean(1)
    strength = (spread * torch.randn(networks, 1, 1, generator=source, dtype=torch.float64)).exp()
    return strength * noise * profile


def test_expected_energies_have_no_bias_and_the_right_error():
    """Over repetitions: the mean is the true energy, the error is the spread, also where networks differ much in strength."""
    profile = torch.ones(4, 4, dtype=torch.float64)
    profile[::2] *= 0.5
    profile[:, ::2] *= 0.5
    true = float((profile / profile.mean() - 1).square().mean())
    for shape, expected in ((profile, true), (torch.ones_like(profile), 0.0)):
        found = [expected_energies(uneven(64, shape, seed, 0.5))[0][4] for seed in range(150)]
        values = torch.tensor([estimate.value for estimate in found])
        errors = torch.tensor([estimate.error for estimate in found])
        assert abs(float(values.mean()) - expected) < 3 * float(values.std()) / 150**0.5 + 0.02 * expected
        assert 0.75 < float(errors.square().mean().sqrt() / values.std()) < 1.35


def test_exact_periods_add_up_and_find_their_own():
    profile = torch.ones(4, 4, dtype=torch.float64)
    profile[::2] = 2
    energy, exact = expected_energies(uneven(64, profile, 0))
    assert energy[4].value == pytest.approx(exact[2].value + exact[4].value)
    assert energy[2] == exact[2]
    assert exact[2].value > 5 * exact[2].error
    assert abs(exact[4].value) < 3 * exact[4].error


def test_strong_networks_count_as_they_do_in_an_expectation():
    """One network with nearly all of the energy decides the profile; the mean of normalised profiles would be even."""
    profiles = torch.ones(8, 2, 2, dtype=torch.float64)
    profiles[0] *= 1e6 * torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
    assert expected_energies(profiles)[0][2].value == pytest.approx(19 / 81, abs=1e-4)
    normalised = profiles / profiles.mean((-2, -1), keepdim=True)
    assert expected_energies(normalised)[0][2].value < 0.01


@pytest.fixture(scope="module")
def comparison():
    names = ("deconv3", "deconv3-last", "subpixel", "icnr", "nearest", "deconv3-smooth4")
    found = compare_upsampling("dcgan-plain", names, 24, (32, 32), seed=1)
    return {variant.name: variant for variant in found.variants}


@pytest.mark.parametrize("name", ["deconv3", "deconv3-last", "subpixel", "icnr", "nearest", "deconv3-smooth4"])
def test_measured_energies_are_the_closed_forms(comparison, name):
    variant = comparison[name]
    for period, energy in variant.energy.items():
        assert abs(energy.value - variant.closed_form[period]) < 3 * energy.error


def test_the_article_s_figure(comparison):
    for name in ("deconv3", "deconv3-last"):
        assert comparison[name].energy[2].value > 3 * comparison[name].energy[2].error
    # Two layers leave both periods, the last layer alone only period 2.
    assert comparison["deconv3-last"].exact_periods[4].value == pytest.approx(0, abs=0.01)
    for name in ("icnr", "nearest"):
        assert comparison[name].own_energy[4].value < 0.005
        # Below 0: the count of degrees of freedom takes the pixels of these smooth pictures for independent.
        assert -0.05 < comparison[name].signed_comb[4].value < 0.01
    # Even in expectation, yet each network has a comb of its own.
    assert comparison["subpixel"].own_energy[4].value > 5 * comparison["subpixel"].own_energy[4].error
    assert comparison["subpixel"].signed_comb[4].value > 0.3


def test_controls_sit_at_zero(comparison):
    for variant in comparison.values():
        control = variant.controls[3]
        assert abs(control.value) < max(4 * control.error, 1e-3)


def test_own_energy_is_that_of_one_network_at_many_latents():
    """Brute force: one network's profile over many pictures, beside the unbiased estimate of sixteen."""
    from featvis.models.zoo.generators import GENERATORS, parse_upsampler

    variant = measure_upsampler("dcgan-plain", "subpixel", 8, (32, 32), seed=5)
    network = GENERATORS["dcgan-plain"](parse_upsampler("subpixel"), (32, 32)).requires_grad_(False)
    source = torch.Generator().manual_seed(5)
    plain = []
    for _ in range(8):
        draw_weights(network, source)
        torch.randn(16, 100, generator=source)
        pictures = network.before_tanh(torch.randn(400, 100, generator=torch.Generator().manual_seed(9)))
        energy = pictures[..., 8:-8, 8:-8].double().square().sum(1)
        profiles = fold(energy, PERIOD, PERIOD)
        profiles = profiles / profiles.mean((-2, -1), keepdim=True)
        plain.append(float((profiles.mean(0) - 1).square().mean()))
    assert variant.own_energy[4].value == pytest.approx(sum(plain) / 8, rel=0.15)


def test_the_same_seed_gives_the_same_and_leaves_the_global_one():
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    done = []
    first, again, other = (
        compare_upsampling("dcgan", ["icnr"], 8, (32, 32), seed, progress=done.append) for seed in (0, 0, 1)
    )
    assert first.to_json() == again.to_json() != other.to_json()
    assert torch.equal(first.variants[0].pictures, again.variants[0].pictures)
    assert done == list(range(1, 9)) * 3
    assert torch.equal(state, torch.random.get_rng_state())


def test_json_holds_everything_but_the_pictures():
    comparison = compare_upsampling("dcgan", ["deconv3", "nearest"], 8, (32, 48))
    content = json.loads(comparison.to_json())
    assert content["schema"] == "featvis.generators/1"
    assert [variant["name"] for variant in content["variants"]] == ["deconv3", "nearest"]
    assert content["variants"][0]["energy"]["4"] == comparison.variants[0].energy[4]._asdict()
    assert content["settings"]["size"] == [32, 48]
    assert "pictures" not in content["variants"][0]


@pytest.mark.parametrize("name", upsampler_names())
def test_every_variant_has_a_closed_form(name):
    assert all(value >= 0 for value in closed_form_energies(name).values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dcgam", ["deconv3"]), "no generator 'dcgam'; nearest: dcgan"),
        (("dcgan", []), "name at least one"),
        (("dcgan", ["deconv3", "deconv9"]), "no upsampling 'deconv9'; nearest: deconv"),
        (("dcgan", ["deconv3", "nearest", "deconv3"]), "'deconv3' is given twice"),
        (("dcgan", ["deconv3"], 7), "7 networks leave no spread .* at least 8"),
        (("dcgan", ["deconv3"], 64, (60, 64)), "60x64 pixels; give a multiple of 16 from 32 to 512"),
        (("dcgan", ["deconv3"], 64, (16, 16)), "16x16 pixels"),
        (("dcgan", ["deconv3"], 64, (64, 4096)), "64x4096 pixels"),
    ],
)
def test_bad_input_is_one_line(arguments, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        compare_upsampling(*arguments)
    assert "\n" not in str(caught.value)
