"""Dreams: Lucent's pictures, DeepDream's steps by hand, what compensation does, and every way in which a run can end."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.networks import fingerprint, strided
from PIL import Image
from torch import nn

from featvis.compat import import_torchvision
from featvis.dream.dreaming import check, dream
from featvis.dream.objectives import whole_layer
from featvis.dream.recipe import Recipe
from featvis.dream.resizing import enlarged
from featvis.errors import FeatvisError
from featvis.measure.sums import checkerboard_energy
from featvis.models.model import Model

torchvision = import_torchvision()
from lucent.optvis import objectives, param, transform  # noqa: E402, imports torchvision
from lucent.optvis.render import render_vis  # noqa: E402

WHOLE = whole_layer("3")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def in_lucent(network, objective, make, steps, transforms):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002, Lucent draws from it
    (picture,) = render_vis(
        network, objective, make, transforms=transforms, thresholds=(steps,), progress=False, show_image=False
    )
    return torch.from_numpy(picture)[0].permute(2, 0, 1)


@pytest.mark.parametrize("size", [48, 224])
def test_the_picture_is_lucents(size):
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(weights=None).double().eval()
    objective = objectives.channel("stage2", 5) + 0.5 * objectives.channel("stage3_0", 7)
    transforms = [*transform.standard_transforms, torch.Tensor.double]
    steps = 8 if size < 224 else 2
    made = dream(
        Model(network, "shufflenet", (3, 224, 224), MEAN, STD),
        objective,
        param=lambda: param.image(size),
        steps=steps,
        transforms=transforms,
        prepare=False,
    )
    expected = in_lucent(network, objective, lambda: param.image(size), steps, transforms)
    assert (made.picture - expected).abs().max() < 1e-6
    start = in_lucent(network, objective, lambda: param.image(size), 1, transforms)
    assert (made.picture - start).abs().max() > 1e-2


def test_nothing_is_left_on_the_network_where_lucent_leaves_hooks():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    before = fingerprint(network)
    for _ in range(10):
        dream(Model(network, "resnet18", (3, 32, 32)), objectives.channel("layer1", 3), steps=1)
    assert fingerprint(network) == before
    copy.deepcopy(network)
    in_lucent(network, objectives.channel("layer1", 3), lambda: param.image(64), 1, [])
    assert sum(len(part._forward_hooks) for part in network.modules()) == 67
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(network)


def by_hand(model, photograph, steps, rate, weight=1.0):
    """Google's loop at a fixed position: the gradient over its mean absolute value, and back into the range of pixels."""
    picture = photograph.double().unsqueeze(0)
    values = []
    for _ in range(steps):
        picture.requires_grad_()
        value = weight * model.module[:4]((picture - model.mean[0]) / model.std[0]).square().mean()
        (gradient,) = torch.autograd.grad(value, picture)
        values.append(float(value.detach()))
        picture = (picture + rate * gradient / gradient.abs().mean()).clamp(0, 1).detach()
    return picture[0], gradient[0], values


def test_deepdream_steps_are_googles(model, photograph):
    made = dream(model, WHOLE, photograph.double(), steps=5, rate=0.01)
    picture, gradient, values = by_hand(model, photograph, 5, 0.01)
    assert torch.allclose(made.picture.double(), picture, atol=1e-6)
    assert torch.allclose(made.gradient.double(), gradient, rtol=1e-5, atol=1e-9)
    assert made.history == pytest.approx(values)
    assert made.history[-1] > made.history[0]
    assert made.total_stride == 4


def test_a_file_is_a_photograph(model, photograph, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray((photograph.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path)
    made = dream(model, WHOLE, path, steps=1)
    assert made.picture.shape == (3, 40, 52)
    assert made.settings["start"] == str(path)
    assert dream(model, WHOLE, path, steps=1, size=(24, 24)).picture.shape == (3, 24, 24)


@pytest.mark.parametrize("scale", [1.4, 1 / 1.4])
def test_octaves_grow_and_carry_their_detail(model, photograph, scale):
    seen = []
    made = dream(
        model,
        WHOLE,
        photograph,
        octaves=3,
        octave_scale=scale,
        steps=2,
        transforms=[lambda pictures: seen.append(tuple(pictures.shape[2:])) or pictures],
    )
    assert list(dict.fromkeys(seen)) == [(20, 27), (29, 37), (40, 52)]
    assert len(made.history) == 6
    # With steps of no length the photograph comes out as it was, whatever it went through.
    still = dream(model, WHOLE, photograph, octaves=3, octave_scale=scale, steps=2, rate=1e-12)
    assert torch.allclose(still.picture, photograph, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, 0), (0, 36), (28, 17)])
def test_enlarging_keeps_every_frequency(rows, columns):
    def wave(height, width):
        """A cosine of so many half waves along each axis, at the middle of each pixel."""
        down, across = (np.cos(np.pi * n * (np.arange(m) + 0.5) / m) for n, m in ((rows, height), (columns, width)))
        return torch.from_numpy(np.outer(down, across)).expand(1, 2, -1, -1)

    assert torch.allclose(enlarged(wave(29, 37), (40, 52)), wave(40, 52), atol=1e-12)


def test_octaves_draw_no_checkerboard_of_their_own():
    """Bilinear enlarging by 7/5 draws one of period 7, of E = .19 in white noise."""
    noise = torch.randn(8, 1, 80, 120, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bilinear = F.interpolate(noise, (112, 168), mode="bilinear", antialias=True)
    before, after = (checkerboard_energy(grown, 7).energy[7] for grown in (bilinear, enlarged(noise, (112, 168))))
    assert before.value > 0.1
    assert abs(after.value) < 3 * after.error


def test_the_detail_of_an_octave_is_what_the_next_starts_from(model, photograph):
    small = F.interpolate(photograph[None], (29, 37), mode="bilinear", antialias=True)[0]
    first, _, _ = by_hand(model, small, 3, 0.02)
    detail = enlarged((first - small.double())[None], (40, 52))[0]
    expected, _, _ = by_hand(model, (photograph.double() + detail).clamp(0, 1), 3, 0.02)
    made = dream(model, WHOLE, photograph, octaves=2, steps=3, rate=0.02)
    assert torch.allclose(made.picture.double(), expected, atol=1e-4)


def test_jitter_is_undone_after_each_step(photograph):
    # The mean square over a circular convolution's output does not change where the picture is shifted around its borders.
    layer = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").double()
    model = Model(nn.Sequential(layer), "circular", (3, 40, 52))
    still = dream(model, whole_layer("0"), photograph, steps=4)
    moved = dream(model, whole_layer("0"), photograph, steps=4, jitter=16)
    assert torch.allclose(moved.picture, still.picture, atol=1e-5)
    assert torch.allclose(moved.gradient, still.gradient, rtol=1e-3, atol=1e-8)


def test_jitter_moves_what_the_network_sees(photograph):
    model = Model(nn.Sequential(nn.Conv2d(3, 4, 1, 2).double()), "points", (3, 40, 52))
    # A 1x1 convolution of stride 2 reads one pixel in four; jitter lets all of them be read.
    changed = {
        jitter: (dream(model, whole_layer("0"), photograph, steps=24, jitter=jitter).picture - photograph).abs().amax(0)
        for jitter in (0, 2)
    }
    assert float((changed[0] > 0).float().mean()) == 0.25
    assert float((changed[2] > 0).float().mean()) > 0.99


# Sixteen random shifts leave some of the sixteen phases out.
@pytest.mark.parametrize(("compensation", "times"), [("jitter", 2), ("cycle-spinning", 10), ("equalise", 10)])
def test_compensations_lower_the_comb_of_the_gradient(compensation, times):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Softplus(), nn.Conv2d(16, 16, 3, 2, 1))
    model, noise = Model(network, "comb", (3, 64, 64)), torch.rand(3, 64, 64)
    plain = dream(model, whole_layer("2"), noise, steps=1)
    treated = dream(model, whole_layer("2"), noise, steps=1, compensation=compensation)
    before, after = (checkerboard_energy(made.gradient[None], 4).energy[4].value for made in (plain, treated))
    assert before > 0.1
    assert after < before / times


def test_a_penalty_on_the_picture_passes_the_compensation_by(photograph):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1))
    model = Model(network, "test", (3, 40, 52))

    def objective(activations):
        return 0 * activations("0").mean() + activations("input").square().sum()

    made = dream(model, objective, photograph, steps=1, compensation="laplacian", jitter=5)
    assert torch.allclose(made.gradient, -2 * photograph, atol=1e-5)


def test_small_pictures_are_shown_at_the_models_size(model):
    seen = []

    def objective(activations):
        seen.append((tuple(activations("0").shape[2:]), tuple(activations("input").shape[2:])))
        return -activations("0").mean()

    dream(model, objective, size=(16, 16), steps=1, transforms=[])
    assert seen[-1] == ((16, 16), (16, 16))
    dream(model, objective, torch.rand(3, 16, 16), steps=1)
    assert seen[-1] == ((8, 8), (16, 16))


@pytest.mark.parametrize("channels", [1, 4])
def test_any_number_of_channels(channels):
    model = Model(strided(channels, torch.float32), "test", (channels, 24, 24))
    for choices in ({}, {"param": "pixel"}, {"param": "plain"}, {"param": "cppn"}, {"octaves": 2}):
        assert dream(model, "3:1", steps=2, **choices).picture.shape == (channels, 24, 24)
    assert dream(model.module, "3:1", torch.rand(channels, 20, 30), steps=2).picture.shape == (channels, 20, 30)


def test_several_pictures_at_once(model):
    made = dream(
        model,
        objectives.channel("3", 1) + objectives.diversity("3"),
        param=lambda: param.image(32, batch=3),
        steps=3,
        compensation="jitter",
        transforms=[torch.Tensor.double],
    )
    assert made.picture.shape == made.gradient.shape == (3, 3, 32, 32)


def test_an_optimiser_that_evaluates_often_and_its_own_rate(model, photograph):
    made = dream(model, WHOLE, photograph, steps=2, ascent=lambda values: torch.optim.LBFGS(values, lr=0.1, max_iter=3))
    assert made.history[-1] > made.history[0]
    assert len(made.history) == 2
    with pytest.raises(FeatvisError, match="give the rate there"):
        dream(model, WHOLE, photograph, steps=2, ascent=torch.optim.SGD, rate=1.0)


def test_a_strength_multiplies_the_rate(model, photograph):
    strong, fast = (
        dream(model, WHOLE, photograph, steps=2, **its) for its in ({"rate": 0.01, "strength": 2.0}, {"rate": 0.02})
    )
    assert torch.equal(strong.picture, fast.picture)
    assert (strong.settings["rate"], strong.settings["strength"]) == (0.01, 2.0)
    with pytest.raises(FeatvisError, match="a rate or a strength beside a function that makes the optimiser"):
        dream(model, WHOLE, photograph, steps=2, ascent=torch.optim.SGD, strength=2.0)


def test_a_schedule_shortens_the_steps(model, photograph):
    moved = []
    for schedule in ("constant", "linear"):
        made = dream(model, WHOLE, photograph, steps=10, schedule=schedule, frames_every=1)
        moved.append(float((made.frames[-1] - made.frames[-2]).abs().mean()))
    assert moved[1] < 0.3 * moved[0]


def test_seeds(model):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (dream(model, "3:1", steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.picture, again.picture)
    assert first.history == again.history
    assert not torch.equal(first.picture, other.picture)


def test_model_and_photograph_stay_as_they_were_also_after_errors(model, photograph):
    before, kept = fingerprint(model.module), photograph.clone()
    dream(model, "3:1", photograph, steps=2, octaves=2, jitter=3, compensation="equalise", frames_every=1)

    def failing(activations):
        activations("3")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        dream(model, failing, photograph)
    assert fingerprint(model.module) == before
    assert torch.equal(photograph, kept)


def test_frames_and_progress(model, photograph):
    seen = []
    made = dream(model, WHOLE, photograph, octaves=2, steps=4, frames_every=3, progress=lambda *what: seen.append(what))
    assert [frame.shape for frame in made.frames] == [(3, 40, 52)] * 2
    assert seen == [(number + 1, 8, value) for number, value in enumerate(made.history)]


def test_settings_are_plain_and_complete(model, photograph):
    made = dream(model, objectives.channel("3", 1), photograph, steps=2, transforms=[transform.jitter(4), lambda x: x])
    settings = json.loads(json.dumps(made.settings))
    expected = {
        "objective": "Channel [3, 1, None]",
        "start": "a tensor",
        "param": "plain",
        "ascent": "mean-absolute",
        "rate": 1.5 / 255,
        "steps": 2,
        "size": [40, 52],
        "layers": ["3"],
        "total_stride": 4,
        "seed": 0,
        "prepared": True,
        "steps_done": 2,
    }
    assert {name: settings[name] for name in expected} == expected
    assert len(settings["transforms"]) == 2


def interrupting(at):
    def progress(done, total, value):
        if done == at:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("at", [1, 3, 6])
def test_an_interruption_returns_what_there_is(model, photograph, at):
    made = dream(model, WHOLE, photograph, octaves=2, steps=4, frames_every=1, progress=interrupting(at))
    assert made.interrupted
    assert f"stopped at step {at} of 8" in made.notes
    assert len(made.history) == at
    assert made.picture.shape == (3, 40, 52)
    assert made.settings["steps_done"] == at
    assert not dream(model, WHOLE, photograph, steps=1).interrupted


def test_an_interruption_before_the_first_step_is_one(model, photograph):
    def objective(activations):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dream(model, objective, photograph)


@pytest.mark.parametrize("choices", [{"octaves": 9}, {"steps": 0}, {"precision": "int8"}])
def test_a_check_raises_what_the_dream_would(model, photograph, choices):
    before = fingerprint(model.module)
    check(model, WHOLE, photograph)
    said = []
    for run in (check, dream):
        with pytest.raises(FeatvisError) as raised:
            run(model, "3", photograph, **{"size": (16, 16), **choices})
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert fingerprint(model.module) == before


def test_usual_steps():
    """Twenty in each octave from a photograph; from noise Lucent's 512 in all."""
    recipes = {
        (photo, octaves): Recipe(octaves=octaves).resolved(photo, (64, 64))
        for photo in (True, False)
        for octaves in (1, 4)
    }
    assert {case: recipe.steps for case, recipe in recipes.items()} == {
        (True, 1): 20,
        (True, 4): 20,
        (False, 1): 512,
        (False, 4): 128,
    }


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"param": "wavelet"}, "no param 'wavelet'; known: plain, pixel, fourier, cppn"),
        ({"ascent": "descent"}, "no ascent 'descent'; known: mean-absolute"),
        ({"schedule": "step"}, "no schedule 'step'; known: constant, linear, cosine"),
        ({"compensation": "blur"}, "no compensation 'blur'; known: none, jitter"),
        ({"precision": "int8"}, "no precision 'int8'; known: float32"),
        ({"steps": 0}, "steps 0; give at least 1"),
        ({"octaves": 0}, "octaves 0; give at least 1"),
        ({"jitter": -1}, "jitter -1; give at least 0"),
        ({"size": (0, 8)}, r"a size of \(0, 8\)"),
        ({"octave_scale": 1.0}, "an octave scale of 1.0"),
        ({"rate": 0.0}, "a rate of 0.0; give a finite one above 0"),
        ({"rate": float("inf")}, "a rate of inf"),
        ({"strength": 0.0}, "a strength of 0.0; give a finite one above 0, 1 is usual"),
        ({"octaves": 10**9}, "1000000000 octaves of scale 1.4 do not fit.*give --octaves 8 or fewer"),
        ({"octaves": 9}, "9 octaves of scale 1.4 do not fit into 40 x 52 pixels.*give --octaves 8 or fewer"),
        ({"param": lambda: param.image(32)}, "give no start and one octave"),
        ({"param": "cppn"}, "cannot start from a picture"),
    ],
)
def test_choices_that_do_not_fit(model, photograph, choices, said):
    with pytest.raises(FeatvisError, match=said):
        dream(model, WHOLE, photograph, **choices)


def test_octaves_of_a_pattern_producing_network_show_before_the_first(model):
    with pytest.raises(FeatvisError, match="nor from the octave before; give no photograph and one octave"):
        dream(model, "3:1", param="cppn", octaves=2, progress=lambda *what: pytest.fail("a step was taken"))


def test_octaves_from_noise_have_no_fixed_magnitudes(model, photograph):
    with pytest.raises(FeatvisError, match="maco keeps the strength of every frequency, of which a smaller octave"):
        dream(model, "3:1", param="maco", octaves=2, progress=lambda *what: pytest.fail("a step was taken"))
    assert dream(model, "3:1", photograph, param="maco", octaves=2, steps=1).picture.shape == photograph.shape


def test_starts_that_do_not_fit(model):
    for start, said in (
        (torch.rand(1, 40, 40), r"shape \(1, 40, 40\); expected floats in \[0, 1\], \(3, H, W\)"),
        (torch.randn(3, 40, 40), r"values outside of \[0, 1\]"),
        ("missing.png", "there is no picture file 'missing.png'"),
    ):
        with pytest.raises(FeatvisError, match=said):
            dream(model, WHOLE, start)


def test_an_objective_without_a_gradient(model, photograph):
    with pytest.raises(FeatvisError, match="does not depend on the pixels through anything differentiable"):
        dream(model, lambda activations: -activations("3").detach().mean(), photograph)
