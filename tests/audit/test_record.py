from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from helpers.networks import Function, fingerprint, strided
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from featvis.audit.batches import Loader
from featvis.audit.record import Audit, check_gradients, load_profile, save_profile
from featvis.audit.request import Request
from featvis.audit.run import audit_pictures
from featvis.errors import FeatvisError
from featvis.gradients.attributions import SmoothGrad
from featvis.gradients.compensations import Equalise, Jitter
from featvis.gradients.engine import GradientEngine
from featvis.measure.estimates import Estimate
from featvis.measure.phases import expected_profile
from featvis.measure.sums import checkerboard_energy
from featvis.models.model import Model

SHARED = Path(__file__).parents[3] / "shared" / "data"


def model() -> Model:
    return Model(strided(), "strided", (3, 32, 32), resize=32, mean=(0.5,), std=(0.5,))


def test_an_audit_is_the_same_in_any_batches(pictures: list[Path]) -> None:
    whole = audit_pictures(model(), pictures, Request(batch_size=11))
    for size in (1, 4):
        parts = audit_pictures(model(), pictures, Request(batch_size=size))
        for period in whole.energy:
            assert parts.energy[period] == pytest.approx(whole.energy[period], rel=1e-6)
            assert parts.controls.keys() == whole.controls.keys()


def test_an_audit_survives_json(pictures: list[Path]) -> None:
    measured = audit_pictures(model(), pictures, Request("seeds:5", Jitter(SmoothGrad()), seed=4))
    assert Audit.from_json(measured.to_json()) == measured
    content = json.loads(measured.to_json())
    assert content["schema"] == "featvis.audit/1"
    assert set(content["energy"]) == {"2", "4"}
    assert set(content["energy"]["4"]) == set(content["controls"]["3"]) == {"value", "error"}
    for key in ("exact_periods", "signed_comb", "high_frequency_share", "mean_gradient_flatness"):
        assert key in content
    assert (content["pictures"], content["total_stride"]) == (11, 4)
    assert content["settings"]["seed"] == 4
    assert content["settings"]["score"] == "seeds:5"
    assert content["settings"]["versions"]["torch"] == torch.__version__


def test_one_picture_is_measured_by_tiles(pictures: list[Path]) -> None:
    measured = audit_pictures(model(), pictures[:1])
    assert measured.replicates == "tiles"
    assert measured.signed_comb[2].error is None
    assert Audit.from_json(measured.to_json()) == measured


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_other_json_is_refused_in_one_line(content: object) -> None:
    with pytest.raises(FeatvisError):
        Audit.from_json(json.dumps(content))
    with pytest.raises(FeatvisError):
        Audit.from_json(json.dumps({"schema": "featvis.audit/1", "energy": content}))


def test_damaged_audits_are_refused(pictures: list[Path]) -> None:
    text = audit_pictures(model(), pictures[:2]).to_json()
    for broken in (
        text[:-20],
        text.replace("featvis.audit/1", "featvis.audit/9"),
        text.replace('"pictures"', '"pics"'),
        "[]",
    ):
        with pytest.raises(FeatvisError):
            Audit.from_json(broken)


def test_bad_pictures_stop_the_audit_or_are_counted(pictures: list[Path]) -> None:
    pictures[3].write_bytes(pictures[3].read_bytes()[:200])
    with pytest.raises(FeatvisError, match=r"03\.png"):
        audit_pictures(model(), pictures)
    measured = audit_pictures(model(), pictures, Request(skip_bad=True))
    assert measured.pictures == 10
    assert "03.png" in measured.skipped[0]
    for path in pictures:
        path.write_bytes(b"")
    with pytest.raises(FeatvisError, match="none of 11 pictures"):
        audit_pictures(model(), pictures, Request(skip_bad=True))


def test_a_picture_without_gradient_is_named(pictures: list[Path]) -> None:
    dead = model()
    with torch.no_grad():
        dead.module[8].weight.zero_()
    with pytest.raises(FeatvisError, match=r"'top' at 00\.png holds nothing but zeros"):
        audit_pictures(dead, pictures)
    gradients = torch.ones(2, 3, 4, 4)
    gradients[1, 0, 0, 0] = math.nan
    with pytest.raises(FeatvisError, match="at b holds NaN"):
        check_gradients(gradients, ["a", "b"], "top")


def test_the_network_is_as_before(pictures: list[Path]) -> None:
    network = model()
    network.module.train()
    before = fingerprint(network.module)
    audit_pictures(network, pictures, Request(attribution=SmoothGrad()))
    assert fingerprint(network.module) == before


def test_profiles_are_saved_and_equalise(pictures: list[Path], tmp_path: Path) -> None:
    raw = audit_pictures(model(), pictures, Request("seeds:5"))
    profile, settings = load_profile(save_profile(raw, tmp_path / "profile.json"))
    assert torch.equal(profile, expected_profile(raw.profile, raw.exact_periods))
    assert settings == json.loads(json.dumps(raw.settings))
    even = audit_pictures(model(), pictures, Request("seeds:5", Equalise(profile=profile)))
    assert abs(even.energy[4].value) < raw.energy[4].value / 5


def test_the_expected_profile_keeps_what_is_there_and_drops_the_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.ones(8, 8)
    true[::2, ::2] = 2
    true = true / true.mean()
    gradients = torch.randn(40, 3, 48, 48, generator=generator) * true.sqrt().repeat(6, 6)
    measured = Audit.of(checkerboard_energy(gradients, 8))
    noisy, expected = torch.tensor(measured.profile), expected_profile(measured.profile, measured.exact_periods)
    assert float(expected.mean()) == pytest.approx(1)
    assert (expected - true).square().mean() < (noisy - true).square().mean() / 5
    noise = Audit.of(checkerboard_energy(torch.randn(40, 3, 48, 48, generator=generator), 8))
    shrunk = expected_profile(noise.profile, noise.exact_periods)
    assert (shrunk - 1).square().mean() < (torch.tensor(noise.profile) - 1).square().mean() / 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": "featvis.audit/1"}',
        '{"schema": "featvis.profile/1", "profile": [[1], [2, 3]], "settings": {}}',
        '{"schema": "featvis.profile/1", "profile": [[-1]], "settings": {}}',
        '{"schema": "featvis.profile/1", "profile": [[NaN]], "settings": {}}',
    ],
)
def test_other_files_are_no_profiles(content: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content)
    with pytest.raises(FeatvisError, match=r"profile\.json"):
        load_profile(path)
    with pytest.raises(FeatvisError, match="cannot read"):
        load_profile(tmp_path / "missing.json")


def test_the_loader_keeps_order_numbers_and_notes(pictures: list[Path]) -> None:
    Image.new("RGBA", (40, 40), (255, 0, 0, 128)).save(pictures[1])
    loader = Loader(model(), pictures, batch_size=4)
    batches = list(loader)
    assert [batch.numbers for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert batches[0].names[1] == "01.png"
    assert isinstance(batches[0].images, Tensor)
    assert "transparency" in loader.notes[0]


def test_estimates_without_errors_survive() -> None:
    measured = Audit(1, {}, {}, {}, {}, Estimate(0.5, None), 1.0, ((1.0,),), 1, "tiles")
    assert Audit.from_json(measured.to_json()) == measured


@pytest.mark.skipif(
    not SHARED.exists(), reason="needs ../shared/data: trained MobileNetV2 weights and ImageNet pictures"
)
def test_the_trained_mobilenet_measures_what_an_independent_prototype_gave() -> None:
    from featvis.data.pictures import find_pictures
    from featvis.models.specs import load_model

    network = load_model("mobilenet_v2", str(SHARED / "weights/mobilenet_v2_imagenet.pth"), mean=[0.5], std=[0.5])
    measured = audit_pictures(network, find_pictures([SHARED / "images/imagenet"]))
    expected = {2: (0.00226, 0.0002), 4: (0.0080, 0.0004), 8: (0.0083, 0.0004)}
    for period, (value, error) in expected.items():
        estimate = measured.energy[period]
        assert estimate.error is not None
        assert abs(estimate.value - value) < 2 * math.hypot(error, estimate.error)
    for control in measured.controls.values():
        assert control.error is not None
        assert abs(control.value) < 3 * control.error
    assert measured.settings["prepared"]


def test_only_periods_that_do_not_fit_are_said_not_to() -> None:
    """Branches of strides 8 and 12 repeat together after 24 pixels; of 64 pixels these are too many, 8 and 12 are not."""

    def both(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
        return first(x).mean((2, 3)) + second(x).mean((2, 3))

    network = Function(both, nn.Conv2d(1, 4, 8, 8), nn.Conv2d(1, 4, 12, 12))
    engine = GradientEngine(network, "seeds")
    gradients = engine(torch.randn(8, 1, 64, 64))
    audit = Audit.traced_by(engine, checkerboard_energy(gradients, 12))
    assert (engine.total_stride, audit.not_measurable) == (24, ((24, 24),))
