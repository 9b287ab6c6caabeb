from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.networks import fingerprint, plain_gradient
from helpers.running import save_pictures
from torch import Tensor, nn

from featvis.audit.batches import Measured
from featvis.audit.culprits import _Watcher, find_culprits
from featvis.audit.record import Audit
from featvis.audit.request import Request, Running, Watching
from featvis.audit.run import audit_pictures
from featvis.audit.variants import compare_variants
from featvis.data.pictures import find_pictures
from featvis.errors import FeatvisError
from featvis.gradients.compensations import Jitter, LowPass
from featvis.gradients.draws import Draws
from featvis.measure.phases import fold
from featvis.measure.sums import checkerboard_energy
from featvis.models.model import Model
from featvis.models.specs import load_model
from featvis.tracing.layer_table import resolution_layers
from featvis.tracing.trace import trace

WIDTH = 24
SHARED = Path(__file__).parents[3] / "shared" / "data"


class Block(nn.Module):
    """A residual block of stride 2: even, with one uneven kernel, or with a shortcut that reads one pixel in four."""

    def __init__(self, inputs: int, plant: str) -> None:
        super().__init__()
        kernel = 3 if plant == "kernel" else 4
        self.body = nn.Conv2d(inputs, WIDTH, kernel, 2, padding=1)
        self.shortcut = nn.Sequential(
            nn.Identity() if plant == "shortcut" else nn.AvgPool2d(2),
            nn.Conv2d(inputs, WIDTH, 1, 2 if plant == "shortcut" else 1),
        )
        # As strong as the body, whatever pooling takes.
        nn.init.normal_(self.shortcut[1].weight, std=(1 if plant == "shortcut" else 2) * inputs**-0.5)
        nn.init.normal_(self.body.weight, std=(inputs * kernel**2) ** -0.5)
        self.mix = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.mix(torch.relu(self.body(features) + self.shortcut(features))))


def planted(seed: int) -> tuple[nn.Module, str]:
    """A network of three even blocks but for one layer, and that layer's name."""
    torch.manual_seed(seed)
    draw = random.Random(seed)
    depth, kind = draw.randrange(3), draw.choice(("kernel", "shortcut"))
    plants = ["", "", ""]
    plants[depth] = kind
    network = nn.Sequential(Block(3, plants[0]), Block(WIDTH, plants[1]), Block(WIDTH, plants[2]))
    return network.eval(), f"{depth}.body" if kind == "kernel" else f"{depth}.shortcut.1"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_pictures(tmp_path_factory.mktemp("pictures"), 8, (64, 64))


def test_planted_culprits_are_found(pictures: list[Path]) -> None:
    found = 0
    for seed in range(50):
        network, name = planted(seed)
        model = Model(network, "planted", (3, 64, 64), mean=(0.5,), std=(0.25,))
        culprits = audit_pictures(model, pictures, Request("seeds", culprits=True)).culprits
        assert len(culprits) >= 3
        found += culprits[0].layer == name
    assert found >= 48, f"found {found} of 50"


def test_making_the_only_uneven_layer_even_leaves_nothing(pictures: list[Path]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 32, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(32, 8, 3, padding=1)).eval()
    model = Model(network, "stem", (3, 64, 64), mean=(0.5,), std=(0.25,))
    before = fingerprint(network)
    measured = audit_pictures(model, pictures, Request("seeds"))
    (culprit,), notes = find_culprits(model, pictures, measured)
    assert fingerprint(network) == before
    assert notes == ()
    assert (culprit.layer, culprit.kernel, culprit.stride, culprit.remainder, culprit.period) == (
        "0",
        (3, 3),
        (2, 2),
        (1, 1),
        2,
    )
    assert measured.energy[2].value > 0.15
    assert abs(culprit.left[2].value) < measured.energy[2].value / 20
    assert culprit.share == pytest.approx(1, abs=0.05)
    assert culprit.shares == {2: culprit.share}
    assert culprit.injected == pytest.approx(measured.energy[2].value, rel=0.2)
    assert culprit.measured.value == pytest.approx(measured.energy[2].value, rel=0.05)


def test_culprits_survive_json(pictures: list[Path]) -> None:
    network, _ = planted(0)
    model = Model(network, "planted", (3, 64, 64))
    measured = audit_pictures(model, pictures, Request("seeds"))
    measured = replace(measured, culprits=find_culprits(model, pictures, measured)[0])
    assert Audit.from_json(measured.to_json()) == measured


def test_strides_outside_layers_are_said(pictures: list[Path]) -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3, 2)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.convolution(pixels)[:, :, ::2, ::2]

    model = Model(Sliced().eval(), "sliced", (3, 64, 64))
    culprits, notes = find_culprits(model, pictures, audit_pictures(model, pictures, Request("seeds")))
    assert [culprit.layer for culprit in culprits] == ["convolution"]
    assert "the network itself" in notes[0]


def test_only_the_plain_gradient_has_culprits(pictures: list[Path]) -> None:
    network, _ = planted(0)
    model = Model(network, "planted", (3, 64, 64))
    smooth = audit_pictures(model, pictures[:2], Request("seeds", LowPass()))
    with pytest.raises(FeatvisError, match="plain gradient"):
        find_culprits(model, pictures, smooth)


def test_one_pass_finds_what_two_find(pictures: list[Path]) -> None:
    network, _ = planted(0)
    model = Model(network, "planted", (3, 64, 64))
    whole = audit_pictures(model, pictures, Request("seeds", seed=2, batch_size=5, culprits=True))
    alone = audit_pictures(model, pictures, Request("seeds", seed=2, batch_size=5))
    assert whole.energy == alone.energy
    assert whole.culprits == find_culprits(model, pictures, alone)[0]
    # An unfinished audit did not watch what it measured before.
    request = Request("seeds", seed=2, batch_size=5, culprits=True)
    kept = Running(folder=pictures[0].parent / "state", save_every=1)
    with pytest.raises(FeatvisError, match="stopped after 5"):
        audit_pictures(model, pictures, request, kept, Watching(stop=lambda: True))
    resumed = audit_pictures(model, pictures, request, replace(kept, resume=True))
    assert [culprit.layer for culprit in resumed.culprits] == [culprit.layer for culprit in whole.culprits]
    assert resumed.culprits[0].share == pytest.approx(whole.culprits[0].share, rel=1e-6)


def test_who_looks_on_may_use_the_engine_and_changes_nothing(pictures: list[Path]) -> None:
    """As a page does, for other maps of the same pictures."""
    network, _ = planted(0)
    model, request = Model(network, "planted", (3, 64, 64)), Request("seeds", batch_size=4, culprits=True)

    def look(name: str, batch: Measured, total_stride: int) -> None:
        Jitter(shifts=2)(batch.engine, batch.images, batch.numbers)
        Jitter(shifts=2)(batch.engine, batch.images[:1], batch.numbers[:1])

    alone = audit_pictures(model, pictures, request)
    assert audit_pictures(model, pictures, request, watching=Watching(seen=look)).culprits == alone.culprits


def test_audits_of_other_origins_work_or_say_what_they_lack(pictures: list[Path]) -> None:
    network, _ = planted(0)
    model = Model(network, "planted", (3, 64, 64))
    (row,) = compare_variants({"original": model}, pictures, Request("seeds"), crops=0).rows
    expected, _ = find_culprits(model, pictures, audit_pictures(model, pictures, Request("seeds")))
    assert [culprit.layer for culprit in find_culprits(model, pictures, row.audit)[0]] == [
        culprit.layer for culprit in expected
    ]
    nameless = replace(row.audit, settings={})
    with pytest.raises(FeatvisError, match="does not record which score"):
        find_culprits(model, pictures, nameless)
    assert find_culprits(model, pictures, nameless, request=Request("seeds"))[0] == expected


@pytest.mark.parametrize("empty", [False, True])
def test_evening_makes_every_channel_even_and_keeps_the_energy(empty: bool) -> None:
    layer = nn.Sequential(nn.Conv2d(3, 4, 1 if empty else 3, 2, padding=0 if empty else 1))
    (row,) = resolution_layers(trace(layer, torch.zeros(1, 3, 32, 32)))
    watcher = _Watcher(row, 2)
    profile = torch.tensor([[1.0, 0.0], [0.0, 0.0]]) if empty else torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    gradients = torch.randn(64, 3, 64, 64) * profile.sqrt().repeat(32, 32)
    watcher.numbers = list(range(64))
    watcher(gradients)
    even = watcher.evening()(gradients)
    folded = fold(even.square(), 2, 2).mean(0)
    assert torch.allclose(folded / folded.mean(), torch.ones(3, 2, 2), atol=0.05)
    if empty:
        assert float(even.square().sum() / gradients.square().sum()) == pytest.approx(1, abs=0.05)


@pytest.mark.skipif(
    not SHARED.exists(), reason="needs ../shared/data: trained MobileNetV2 weights and ImageNet pictures"
)
def test_the_first_layer_of_mobilenet_evened_by_hand_leaves_the_same() -> None:
    model = load_model("mobilenet_v2", str(SHARED / "weights/mobilenet_v2_imagenet.pth"), mean=[0.5], std=[0.5])
    paths = find_pictures([SHARED / "images/imagenet"])[:12]
    measured = audit_pictures(model, paths, Request(culprits=True))
    first = next(culprit for culprit in measured.culprits if culprit.layer == "features.0.0")
    images = model.normalise(torch.stack([model.load(path)[1] for path in paths]))
    gradients = plain_gradient(model.module, images)
    # The first layer's input is the picture, so its backward pass is made even where it reaches the pixels.
    profile = fold(gradients.square(), 2, 2).sum(0)
    profile = profile / profile.mean((1, 2), keepdim=True)
    by_hand = checkerboard_energy(gradients / profile.sqrt().repeat(1, 112, 112), 32).energy
    for period, estimate in by_hand.items():
        assert first.left[period].value == pytest.approx(estimate.value, rel=0.02, abs=1e-4)
    assert abs(by_hand[2].value) < measured.energy[2].value / 5


def test_a_baseline_is_an_audit() -> None:
    model = load_model("zoo:cifar-k3s2")
    energies = checkerboard_energy(torch.randn(4, 3, 32, 32), 4)
    with pytest.raises(FeatvisError, match=r"a baseline of type Energies; expected an Audit"):
        find_culprits(model, [torch.randn(4, 3, 32, 32)], energies)


def test_culprits_are_found_at_pictures(pictures: list[Path]) -> None:
    model = load_model("zoo:cifar-k3s2")
    with pytest.raises(FeatvisError, match="no pictures to find culprits at"):
        find_culprits(model, [], audit_pictures(model, pictures[:1]))


def test_each_period_is_blamed_on_the_layer_whose_evening_lowers_it(pictures: list[Path]) -> None:
    """Average pooling of 2, then a 3 x 3 kernel of stride 2, makes period 4 alone; a 1 x 1 kernel of stride 2 beside it makes period 2."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, WIDTH, 3, 2))
            self.narrow = nn.Conv2d(3, WIDTH, 1, 2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.relu(self.wide(x)).mean((2, 3)), 0.3 * torch.relu(self.narrow(x)).mean((2, 3))], 1)

    torch.manual_seed(0)
    network = Branches().double().eval()
    model = Model(network, "branches", (3, 64, 64), mean=(0.5,), std=(0.25,))
    audit = audit_pictures(model, pictures, Request("seeds", culprits=True))
    strongest = {period: max(audit.shares(period), key=lambda one: one[1]) for period in (2, 4)}
    assert strongest[2][0] == "narrow"
    exact = {culprit.layer: culprit.shares[4] * audit.energy[4].value for culprit in audit.culprits}
    assert max(exact, key=lambda layer: exact[layer]) == "wide.1"

    # By plain autograd, with what the layer sends back divided by the root of its mean energy by phase, channel by channel.
    images = torch.stack([model.normalise(model.load(path)[1]) for path in pictures]).double()
    signs = Draws(0, range(len(images))).signs(network(images))
    sent: list[Tensor] = []

    def gradients(treated: nn.Module | None) -> Tensor:
        pixels = images.clone().requires_grad_()

        def before(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
            own = arguments[0].view_as(arguments[0])
            own.register_hook(evened)
            return (own,)

        def evened(gradient: Tensor) -> Tensor:
            sent.append(gradient)
            energy = gradient.square().sum(0)
            rows = [energy[:, row::2][:, :, column::2].mean((1, 2)) for row in (0, 1) for column in (0, 1)]
            profile = torch.stack(rows, 1)
            profile = profile / profile.mean(1, keepdim=True)
            factor = torch.ones_like(gradient)
            for number in range(4):
                factor[:, :, number // 2 :: 2, number % 2 :: 2] = profile[:, number].rsqrt().view(1, -1, 1, 1)
            return gradient * factor

        handle = None if treated is None else treated.register_forward_pre_hook(before)
        (gradient,) = torch.autograd.grad((network(pixels) * signs).sum(), pixels)
        if handle is not None:
            handle.remove()
        return gradient

    plain, without = (checkerboard_energy(gradients(layer), 4).exact_periods[4] for layer in (None, network.wide[1]))
    assert sent
    assert exact["wide.1"] == pytest.approx(plain.value - without.value, rel=1e-6)
    said = audit.blamed()
    assert said[0].startswith("E(2) = ")
    assert "narrow makes 100% of it; without narrow E(2) = " in said[0]


def test_two_layers_that_only_together_make_a_period_are_said_to_interact(pictures: list[Path]) -> None:
    """One row in four, by two 1 x 1 kernels of stride 2: either alone, made even, leaves rows of the other."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, WIDTH, 1, 2), nn.Conv2d(WIDTH, WIDTH, 1, 2), nn.AdaptiveAvgPool2d(1))
    model = Model(nn.Sequential(*network, nn.Flatten()).double().eval(), "twice", (3, 64, 64))
    audit = audit_pictures(model, pictures, Request("seeds", culprits=True))
    # One pixel in sixteen carries everything: E(4) = 15, and 3 of it at period 2; without either layer E(4) = 3.
    assert audit.energy[4].value == pytest.approx(15)
    assert [culprit.left[4].value for culprit in audit.culprits] == pytest.approx([3, 3])
    assert audit.interacting() == (
        "layers interact: what each takes away alone adds up to more than there is of period 4; "
        "what several make together counts for each of them"
    )
    assert replace(audit, culprits=audit.culprits[:1]).interacting() == ""
    assert replace(audit, culprits=()).interacting() == ""
