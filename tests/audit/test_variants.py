"""Variants side by side: what must be the same is the same, what differs is found, and what cannot be compared is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.networks import Function, fingerprint, plain_gradient, strided
from torch import Tensor, nn

from featvis.audit.batches import Measured
from featvis.audit.request import Request, Watching
from featvis.audit.run import audit_pictures
from featvis.audit.variants import Variant, compare_variants, fixed_variants
from featvis.errors import FeatvisError
from featvis.gradients.attributions import InputXGradient
from featvis.gradients.compensations import Jitter
from featvis.models.model import Model


def model(seed: int = 0, module: nn.Module | None = None) -> Model:
    return Model(module or strided(seed=seed), f"strided-{seed}", (3, 32, 32), resize=32, mean=(0.5,), std=(0.5,))


class Treated(nn.Module):
    """A network whose outputs are treated, and whose gradients are those of what comes out."""

    def __init__(self, network: nn.Module, treatment: nn.Module) -> None:
        super().__init__()
        self.network, self.treatment = network, treatment

    def forward(self, images: Tensor) -> Tensor:
        return self.treatment(self.network(images))


def test_an_identical_variant_is_the_same_in_every_number(pictures: list[Path]) -> None:
    found = compare_variants({"original": model(), "twin": model()}, pictures, crops=3)
    first, twin = found.rows
    assert twin.drift.agreement == (1.0, 0.0)
    assert twin.drift.divergence == (0.0, 0.0)
    assert (twin.drift.rmse, twin.drift.relative) == (0.0, 0.0)
    assert set(twin.difference) == {2, 4}
    assert all(difference == (0.0, 0.0) for difference in twin.difference.values())
    assert replace(twin.audit, settings={}) == replace(first.audit, settings={})
    assert twin.consistency == first.consistency
    assert (twin.memory, twin.parameters) == (first.memory, first.parameters)


def test_a_row_is_the_audit_of_that_variant_in_any_batches(pictures: list[Path]) -> None:
    variants = {"original": Variant(model()), "treated": Variant(model(), Jitter(InputXGradient(), shifts=3))}
    found = compare_variants(variants, pictures, Request(seed=3, batch_size=11), crops=0)
    for row, variant, said in zip(found.rows, variants.values(), ("none", "jitter:shifts=3"), strict=True):
        alone = audit_pictures(model(), pictures, Request(attribution=variant.attribution, seed=3))
        assert row.audit.settings["compensation"] == alone.settings["compensation"] == said
        for period in (2, 4):
            assert row.audit.energy[period] == pytest.approx(alone.energy[period], rel=1e-6)
    parts = compare_variants(variants, pictures, Request(seed=3, batch_size=3), crops=0)
    assert parts.settings["pixels_hash"] == found.settings["pixels_hash"]
    for whole, part in zip(found.rows, parts.rows, strict=True):
        for period in (2, 4):
            assert part.audit.energy[period] == pytest.approx(whole.audit.energy[period], rel=1e-6)
            assert part.difference[period] == pytest.approx(whole.difference[period], rel=1e-6, abs=1e-12)


def test_the_difference_is_that_of_the_rows_and_its_error_is_paired(pictures: list[Path]) -> None:
    """A gradient and the same with a little of another one share most of their chance."""
    near = model()
    with torch.no_grad():
        near.module[8].weight += 1e-3 * torch.randn(5, 8, dtype=torch.float64)
    _, row = compare_variants({"original": model(), "near": near}, pictures, crops=0).rows
    first, _ = compare_variants({"original": model(), "near": near}, pictures, crops=0).rows
    for period in (2, 4):
        expected = row.audit.energy[period].value - first.audit.energy[period].value
        assert row.difference[period].value == pytest.approx(expected, rel=1e-9, abs=1e-15)
        assert row.difference[period].error < first.audit.energy[period].error / 5


def test_all_take_the_class_of_the_first(pictures: list[Path]) -> None:
    """The second network prefers other classes, but its gradient is that of the first one's."""

    class Reversed(nn.Module):
        def forward(self, logits: Tensor) -> Tensor:
            return -logits

    seen: dict[str, list[Tensor]] = {}

    def watch(name: str, batch: Measured, total_stride: int) -> None:
        assert total_stride == 4
        seen.setdefault(name, []).append(batch.gradients)
        seen.setdefault("images", []).append(batch.images)

    plain, other = model(), model(module=Treated(strided(), Reversed()))
    found = compare_variants(
        {"original": plain, "reversed": other}, pictures[:8], crops=0, watching=Watching(seen=watch)
    )
    images = seen["images"][0].double()
    expected = plain_gradient(plain.module, images)
    assert torch.allclose(seen["original"][0], expected, rtol=1e-6)
    assert torch.allclose(seen["reversed"][0], -expected, rtol=1e-6)
    assert not torch.allclose(seen["reversed"][0], plain_gradient(other.module, images), rtol=1e-2)
    assert found.rows[1].drift.agreement == (0.0, 0.0)


def test_accuracy_and_consistency_are_what_brute_force_gives(pictures: list[Path]) -> None:
    network = model()
    images = torch.stack([network.normalise(network.load(path)[1]) for path in pictures]).double()
    tops = network.module(images).argmax(1).tolist()
    classes = [tops[0], None, (tops[2] + 1) % 5, *tops[3:]]
    (row,) = compare_variants({"original": network}, pictures, classes=classes, crops=4).rows
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx(9 / 10)
    assert row.consistency is not None
    assert 0 <= row.consistency.value <= 1

    class Corner(nn.Module):
        """Says whether the first pixel is bright: the class changes with every shift over noise."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, images: Tensor) -> Tensor:
            value = images[:, 0, 0, 0] * self.scale
            return torch.stack((value, -value, images.square().mean((1, 2, 3)) - 9), 1)

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.arange(3.0, dtype=torch.float64))

        def forward(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))[:, None] + 10 * self.bias

    steady = compare_variants(
        {"constant": model(module=Constant()), "corner": model(module=Corner())}, pictures, Request("2"), crops=6
    )
    constant, corner = (row.consistency for row in steady.rows)
    assert constant == (1.0, 0.0)
    assert corner is not None
    assert 0.3 < corner.value < 0.7
    assert steady.rows[0].accuracy is None


def test_strides_that_differ_are_measured_at_common_periods(pictures: list[Path]) -> None:
    def network(stride: int) -> Model:
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 4, 3, stride, 1, dtype=torch.float64)
        return model(module=Function(lambda images, layer: layer(images).relu().mean((2, 3)), layer))

    found = compare_variants({"two": network(2), "three": network(3)}, pictures, crops=0)
    assert found.total_stride == 6
    assert [list(row.audit.energy) for row in found.rows] == [[2, 3, 6], [2, 3, 6]]
    assert found.rows[0].audit.controls.keys() == found.rows[1].audit.controls.keys() == {5, 7, 11}
    two, three = (row.audit.energy for row in found.rows)
    assert two[2].value > 10 * abs(three[2].value)


def test_networks_stay_as_they_are_also_after_an_error(pictures: list[Path]) -> None:
    variants = {"original": model(), "other": model(seed=1)}
    variants["other"].module.train()
    before = [fingerprint(variant.module) for variant in variants.values()]
    compare_variants(variants, pictures[:8], crops=2)
    with pytest.raises(FeatvisError):
        compare_variants(variants, pictures[:8], Request("99"))
    assert [fingerprint(variant.module) for variant in variants.values()] == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": (0.4,)}, r"mean is \[0.5\] of 'original' and \[0.4\] of 'other'"),
        ({"std": (0.1,)}, "std is"),
        ({"input_size": (3, 36, 32)}, "input_size is"),
        ({"resize": 40}, "resize is"),
        ({"interpolation": "bicubic"}, "interpolation is"),
    ],
)
def test_variants_that_see_other_pictures_are_refused(
    change: dict[str, object], said: str, pictures: list[Path]
) -> None:
    with pytest.raises(FeatvisError, match=said):
        compare_variants({"original": model(), "other": replace(model(), **change)}, pictures)


def test_variants_of_another_task_and_bad_scores_are_named(pictures: list[Path]) -> None:
    fewer = model(module=nn.Sequential(*list(strided())[:-1], nn.Linear(8, 4, dtype=torch.float64)))
    with pytest.raises(FeatvisError, match=r"the variant 'fewer': its outputs have the shape \(8, 4\)"):
        compare_variants({"original": model(), "fewer": fewer}, pictures)
    other = model(module=Treated(strided(), nn.Identity()))
    with pytest.raises(FeatvisError, match="the variant 'wrapped': no layer '3'"):
        compare_variants({"original": model(), "wrapped": other}, pictures, Request("3:0"))
    dead = model()
    with torch.no_grad():
        dead.module[8].weight.zero_()
    with pytest.raises(
        FeatvisError, match=r"the variant 'dead': the gradient of the score 'top' at 00\.png holds nothing"
    ):
        compare_variants({"original": model(), "dead": dead}, pictures)
    with pytest.raises(FeatvisError, match="no variant"):
        compare_variants({}, pictures)
    with pytest.raises(FeatvisError, match="1 crops"):
        compare_variants({"original": model()}, pictures, crops=1)


def test_bad_pictures_stop_it_or_are_counted(pictures: list[Path]) -> None:
    pictures[3].write_bytes(b"")
    with pytest.raises(FeatvisError, match=r"03\.png"):
        compare_variants({"original": model()}, pictures)
    found = compare_variants({"original": model()}, pictures, Request(skip_bad=True), crops=2)
    assert found.pictures == 10
    assert "03.png" in found.skipped[0]
    for path in pictures:
        path.write_bytes(b"")
    with pytest.raises(FeatvisError, match="none of 11 pictures"):
        compare_variants({"original": model()}, pictures, Request(skip_bad=True))


def test_progress_ends_at_all_pictures(pictures: list[Path]) -> None:
    done: list[int] = []
    compare_variants(
        {"original": model()}, pictures, Request(batch_size=4), crops=2, watching=Watching(progress=done.append)
    )
    assert done == [4, 8, 11]


def test_fixes_make_variants_and_say_what_they_did(pictures: list[Path]) -> None:
    network = model()
    before = fingerprint(network.module)
    fixed = fixed_variants(
        network, ["even-kernel", "backward-blur", "even-kernel+backward-blur"], torch.randn(2, 3, 32, 32)
    )
    assert fingerprint(network.module) == before
    assert [variant.kind for variant in fixed.values()] == ["forward", "backward", "forward+backward"]
    assert fixed["even-kernel"].changed == ("0", "3")
    found = compare_variants({"original": network, **fixed}, pictures, crops=0)
    original, even, backward, both = found.rows
    assert backward.drift.rmse == 0
    assert backward.drift.agreement == (1.0, 0.0)
    assert even.drift.rmse > 0
    assert both.drift.rmse == pytest.approx(even.drift.rmse)
    assert even.parameters > original.parameters == backward.parameters
    assert backward.difference[2].value != 0


def test_unknown_fixes_and_those_without_a_place_are_refused() -> None:
    with pytest.raises(FeatvisError, match=r"no fix 'blurpol'.*blurpool"):
        fixed_variants(model(), ["even-kernel", "blurpol"])
    with pytest.raises(FeatvisError, match="'resize-nearest' finds nothing to change"):
        fixed_variants(model(), ["even-kernel", "resize-nearest"])
