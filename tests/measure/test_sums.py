from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers.energies import assert_close, assert_same, noise, profiled_noise, variation
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.measure.periods import periods_of
from featvis.measure.phases import fold
from featvis.measure.sums import Energies, EnergySums, checkerboard_energy


def test_the_comparison_helpers_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_close(1.0, 0.9, 0.01)
    one = checkerboard_energy(noise(8, 1, 16, 16), 4)
    with pytest.raises(AssertionError):
        assert_same(one, checkerboard_energy(noise(8, 1, 16, 16, seed=1), 4))


@pytest.mark.parametrize("pictures", [1, 8, 64])
@pytest.mark.parametrize("total_stride", [2, 6])
def test_white_noise_gives_zero_and_its_errors_are_the_spread(pictures: int, total_stride: int) -> None:
    repeats = 400
    values: dict[tuple[str, int], list[float]] = {}
    errors: dict[tuple[str, int], list[float]] = {}
    for seed in range(repeats):
        measured = checkerboard_energy(noise(pictures, 1, 30, 30, seed=7919 * seed), total_stride)
        assert measured.replicates == ("tiles" if pictures == 1 else "pictures")
        for name in ("energy", "controls"):
            for period, estimate in getattr(measured, name).items():
                assert estimate.error is not None
                values.setdefault((name, period), []).append(estimate.value)
                errors.setdefault((name, period), []).append(estimate.error)
    assert {period for name, period in values if name == "energy"} == set(periods_of(total_stride))
    for key in values:
        drawn, claimed = torch.tensor(values[key]), torch.tensor(errors[key])
        spread = drawn.std()
        # Five or six periods at six settings are compared: 3.5 errors keep the chance of a false alarm under 2%.
        assert abs(drawn.mean()) < 3.5 * spread / math.sqrt(repeats), key
        assert float(claimed.square().mean().sqrt() / spread) == pytest.approx(1, abs=0.2), key


@pytest.mark.parametrize("pictures", [1, 8, 64])
def test_white_noise_is_within_three_errors_at_every_period(pictures: int) -> None:
    measured = checkerboard_energy(noise(pictures, 3, 224, 224, seed=3), 32)
    for estimate in (*measured.energy.values(), *measured.exact_periods.values(), *measured.controls.values()):
        assert_close(estimate.value, 0, estimate.error)


@pytest.mark.parametrize("strength", [0.05, 0.3])
def test_errors_are_the_spread_where_there_is_a_checkerboard(strength: float) -> None:
    profile = torch.tensor([[1 + strength, 1.0], [1.0, 1 - strength]], dtype=torch.float64)
    estimates = [
        checkerboard_energy(profiled_noise(profile, 24, 16, channels=1, seed=seed), 2).energy[2] for seed in range(200)
    ]
    values = torch.tensor([estimate.value for estimate in estimates])
    claimed = torch.tensor([estimate.error for estimate in estimates])
    assert abs(values.mean() - variation(profile)) < 3 * values.std() / math.sqrt(200)
    assert float(claimed.square().mean().sqrt() / values.std()) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("pictures", [1, 12])
@pytest.mark.parametrize("total_stride", [3, 4, 6])
def test_a_constructed_profile_is_recovered(total_stride: int, pictures: int) -> None:
    profile = 0.5 + noise(total_stride, total_stride, seed=5).abs()
    measured = checkerboard_energy(profiled_noise(profile, pictures, 40, seed=1), total_stride)
    assert torch.allclose(measured.profile, profile / profile.mean(), atol=0.25)
    for period in periods_of(total_stride):
        estimate = measured.energy[period]
        assert_close(estimate.value, variation(fold(profile, period, period)), estimate.error, 4)
    for control in measured.controls.values():
        assert_close(control.value, 0, control.error, 4)


def test_exact_periods_add_up_and_name_the_period() -> None:
    row = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    measured = checkerboard_energy(profiled_noise(torch.outer(row, row), 16, 6), 8)
    assert sum(estimate.value for estimate in measured.exact_periods.values()) == pytest.approx(
        measured.energy[8].value
    )
    assert measured.exact_periods[2].value == pytest.approx(0.2346, rel=0.05)
    assert abs(measured.exact_periods[4].value) < 0.001
    for larger in (4, 8):
        assert measured.energy[larger].value == pytest.approx(measured.energy[2].value, abs=0.01)


def test_a_strong_comb_does_not_leak_into_the_controls() -> None:
    profile = torch.full((8, 8), 0.1)
    profile[::2, ::2] = 4
    measured = checkerboard_energy(profiled_noise(profile, 32, 4, channels=1), 8)
    assert measured.energy[2].value > 1
    for control in measured.controls.values():
        assert_close(control.value, 0, control.error, 3.5)


@pytest.mark.parametrize(
    ("kernel", "stride", "expected"), [(1, 2, 3.0), (3, 2, 0.2346), (5, 2, 0.0816), (11, 4, 0.0502)]
)
def test_random_strided_convolutions_give_the_closed_form(kernel: int, stride: int, expected: float) -> None:
    sums = EnergySums(stride)
    for seed in range(200):
        torch.manual_seed(seed)
        layer = nn.Conv2d(3, 16, kernel, stride, padding=kernel // 2, bias=False)
        images = torch.zeros(1, 3, 48, 48, requires_grad=True)
        (gradient,) = torch.autograd.grad((layer(images) * torch.randn_like(layer(images))).sum(), images)
        sums.update(gradient)
    assert sums.compute().energy[stride].value == pytest.approx(expected, rel=0.05)


def test_kernels_divisible_by_their_stride_leave_the_energy_even_and_the_comb() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 2, 2, bias=False)
    images = torch.zeros(8, 1, 64, 64, requires_grad=True)
    output = layer(images)
    (gradient,) = torch.autograd.grad(output.sum(), images)
    measured = checkerboard_energy(gradient + 1e-3 * torch.randn_like(gradient), 2)
    assert measured.signed_comb[2].value == pytest.approx(1, abs=0.01)


def test_signals_have_the_one_dimensional_energy() -> None:
    profile = torch.tensor([1.0, 2.0], dtype=torch.float64)
    signals = noise(64, 2, 400) * profile.sqrt().repeat(200)
    measured = checkerboard_energy(signals, 2)
    assert measured.profile.shape == (1, 2)
    assert_close(measured.energy[2].value, 1 / 9, measured.energy[2].error)
    assert measured.energy[2].value == pytest.approx(1 / 9, rel=0.1)


def test_the_measure_does_not_depend_on_the_gradient_scale() -> None:
    gradients = noise(8, 3, 16, 16)
    for scale in (1e-30, 1e30):
        assert_same(checkerboard_energy(gradients, 4), checkerboard_energy((gradients * scale).float(), 4), 1e-5)


BATCHES = st.lists(st.integers(1, 5), min_size=2, max_size=5)


@settings(max_examples=15, deadline=None)
@given(sizes=BATCHES, data=st.data(), total_stride=st.sampled_from([2, 3, 4, 6]))
def test_order_splitting_and_merging_do_not_matter(sizes: list[int], data: st.DataObject, total_stride: int) -> None:
    count = sum(sizes) + 8
    gradients = noise(count, 2, 18, 24, seed=sum(sizes))
    whole = EnergySums(total_stride)
    whole.update(gradients, range(count))

    order = data.draw(st.permutations(range(count)))
    parts = [EnergySums(total_stride) for _ in sizes]
    start = 0
    for part, size in zip(parts, [*sizes[:-1], count - sum(sizes[:-1])], strict=True):
        chosen = order[start : start + size]
        part.update(gradients[chosen], chosen)
        start += size
    merged = EnergySums(total_stride)
    for part in data.draw(st.permutations(parts)):
        merged.add(part)
    assert_same(merged.compute(), whole.compute())


def summed(numbers: list[int]) -> EnergySums:
    sums = EnergySums(4)
    sums.update(noise(40, 3, 16, 16)[numbers], numbers)
    return sums


def test_update_leaves_its_input_alone_and_nothing_is_no_answer() -> None:
    gradients = noise(8, 3, 16, 16)
    before = gradients.clone()
    sums = EnergySums(4)
    with pytest.raises(FeatvisError, match="no gradient"):
        sums.compute()
    sums.update(gradients)
    assert torch.equal(gradients, before)
    assert sums.pictures == 8


def test_adding_before_an_update_gives_the_whole_and_leaves_the_other_alone() -> None:
    whole, other = summed(list(range(20))), summed(list(range(1, 20, 2)))
    before = {name: value.clone() for name, value in other.tensors().items()}
    sums = EnergySums(4)
    sums.add(other)
    sums.update(noise(40, 3, 16, 16)[:20:2], range(0, 20, 2))
    assert_same(sums.compute(), whole.compute())
    assert other.tensors().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in other.tensors().items())


@pytest.mark.parametrize("other", [EnergySums(2), EnergySums(4, dims=1), EnergySums(4, size=(16, 16))])
def test_other_sums_are_not_added(other: EnergySums) -> None:
    sums = summed([0, 1])
    with pytest.raises(FeatvisError, match="measure both alike"):
        sums.add(other)
    assert sums.pictures == 2


@pytest.mark.parametrize("size", [None, (32, 16)])
def test_sums_that_find_periods_take_no_others(size: tuple[int, int] | None) -> None:
    sums, other = EnergySums(4, size=(16, 16)), EnergySums(4, size=size)
    sums.update(noise(2, 3, 16, 16))
    before = {name: value.clone() for name, value in sums.tensors().items()}
    with pytest.raises(FeatvisError, match="measure both alike"):
        sums.add(other)
    assert all(torch.equal(value, before[name]) for name, value in sums.tensors().items())


@pytest.mark.parametrize(("total_stride", "dims"), [(4, 2), (6, 1), (1, 2)])
def test_sums_come_back_from_their_tensors(total_stride: int, dims: int) -> None:
    gradients = noise(12, 3, *(60, 60)[:dims])
    sums = EnergySums(total_stride, dims)
    sums.update(gradients[:9])
    copied = {name: value.clone() for name, value in sums.tensors().items()}
    back = EnergySums.of(copied, total_stride, dims)
    assert repr(back.compute()) == repr(sums.compute())
    # Shared, not copied.
    assert all(back.tensors()[name] is value for name, value in copied.items())
    for each in (sums, back):
        each.update(gradients[9:])
    assert repr(back.compute()) == repr(sums.compute())
    assert back.pictures == 12
    assert {value.dtype for value in back.tensors().values()} == {torch.float64}


def test_tensors_of_other_sums_are_refused_by_name() -> None:
    tensors = EnergySums(4).tensors()
    with pytest.raises(FeatvisError, match=r"'comb' of shape None .* expected \(3, 2\)"):
        EnergySums.of({name: value for name, value in tensors.items() if name != "comb"}, 4)
    with pytest.raises(FeatvisError, match=r"'done' of shape \(3,\) .* expected None"):
        EnergySums.of({**tensors, "done": torch.zeros(3)}, 4)
    with pytest.raises(FeatvisError, match=r"'mean_gradient' of shape \(4, 4\)"):
        EnergySums.of(tensors, 8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[1.0, 2.0]], "gradients of type list; expected a tensor"),
        (noise(4, 3, 16, 16) > 0, "gradients of torch.bool; expected real numbers"),
        (noise(4, 3, 16, 16).to(torch.complex128), "gradients of torch.complex128; expected real numbers"),
        (noise(4, 3, 16, 16).to("meta"), "gradients on the meta device, which holds no numbers"),
        (noise(0, 3, 16, 16), r"gradients of shape \(0, 3, 16, 16\); expected at least one"),
        (torch.nested.nested_tensor(list(noise(2, 3, 16, 16))), "gradients in a nested tensor"),
    ],
)
def test_what_is_no_tensor_of_real_numbers(given: Any, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        checkerboard_energy(given, 2)
    sums = EnergySums(2)
    with pytest.raises(FeatvisError, match=said):
        sums.update(given)
    assert sums.pictures == 0


def test_numbers_of_eight_bits_are_measured() -> None:
    gradients = noise(8, 3, 16, 16)
    gradients[:, :, 1::2] *= 0.5
    quantized = torch.quantize_per_tensor(gradients.float(), 0.05, 0, torch.qint8)
    assert_same(checkerboard_energy(quantized, 2), checkerboard_energy(quantized.dequantize(), 2))
    small = gradients.to(torch.float8_e4m3fn)
    assert_same(checkerboard_energy(small, 2), checkerboard_energy(small.float(), 2))


def test_sparse_gradients_are_measured() -> None:
    gradients = noise(8, 3, 16, 16)
    gradients[:, :, 1::2] = 0
    assert_same(checkerboard_energy(gradients.to_sparse(), 2), checkerboard_energy(gradients, 2))


def test_one_phase_is_a_table() -> None:
    sums = EnergySums(1)
    sums.update(noise(8, 1, 30, 30))
    energies = sums.compute()
    assert energies.profile.tolist() == [[1.0]]
    assert Energies(*energies[:7], torch.tensor(1.0), *energies[8:]).profile.tolist() == [[1.0]]
    assert energies._replace(pictures=9).pictures == 9


def test_state_does_not_grow_with_pictures() -> None:
    sums = EnergySums(4)
    sums.update(noise(1, 3, 16, 16))
    size = sum(value.numel() for value in sums.tensors().values())
    sums.update(noise(50, 3, 16, 16))
    assert sum(value.numel() for value in sums.tensors().values()) == size


@pytest.mark.parametrize(
    ("gradients", "said"),
    [
        (torch.zeros(1, 3, 8, 8), "nothing but zeros"),
        (torch.full((1, 3, 8, 8), math.nan), "NaN"),
        (torch.full((1, 3, 8, 8), math.inf), "NaN or infinity"),
        (torch.ones(3, 8, 8), "expected"),
        (torch.ones(1, 3, 3, 8), "smaller than the total stride"),
    ],
)
def test_bad_gradients_are_refused(gradients: Tensor, said: str) -> None:
    with pytest.raises(FeatvisError, match=said):
        EnergySums(4).update(gradients)


def test_a_bad_picture_is_named_and_adds_nothing() -> None:
    gradients = noise(4, 1, 8, 8)
    gradients[2] = 0
    sums = EnergySums(2)
    with pytest.raises(FeatvisError, match="picture 2"):
        sums.update(gradients)
    assert sums.pictures == 0


def test_too_little_to_estimate_a_spread_is_an_error() -> None:
    with pytest.raises(FeatvisError, match="larger pictures"):
        checkerboard_energy(noise(1, 1, 4, 4), 4)
    with pytest.raises(FeatvisError, match="give one for each"):
        EnergySums(2).update(noise(2, 1, 8, 8), [1])
    with pytest.raises(FeatvisError, match="expected at least 1"):
        EnergySums(0)


def test_a_network_without_strides_has_controls_only() -> None:
    measured = checkerboard_energy(noise(8, 1, 30, 30), 1)
    assert measured.energy == {}
    assert set(measured.controls) == {2, 3, 5}


def two_sums(count: int, repeats: int = 8) -> tuple[EnergySums, EnergySums, Tensor, Tensor]:
    """An uneven gradient, and another that shares most of its noise and is less uneven."""
    uneven, less = (1 + strength * torch.eye(4, dtype=torch.float64) for strength in (1.0, 0.8))
    gradients = profiled_noise(uneven, count, repeats)
    others = gradients * (less / uneven).sqrt().repeat(repeats, repeats)
    first, second = EnergySums(4), EnergySums(4)
    first.update(gradients)
    second.update(others)
    return first, second, gradients, others


def test_a_difference_is_exact_and_its_error_is_the_jackknife_of_the_pairs() -> None:
    first, second, gradients, others = two_sums(20)
    difference = second.difference(first)
    energies = [sums.compute().energy for sums in (first, second)]
    for period, estimate in difference.items():
        assert estimate.value == pytest.approx(energies[1][period].value - energies[0][period].value, rel=1e-9)
    without = []
    for left_out in range(20):
        kept = [picture for picture in range(20) if picture != left_out]
        one, two = (checkerboard_energy(tensor[kept], 4).energy[4].value for tensor in (gradients, others))
        without.append(two - one)
    spread = torch.tensor(without, dtype=torch.float64)
    brute_force = float(((spread - spread.mean()).square().sum() * 19 / 20).sqrt())
    assert difference[4].error == pytest.approx(brute_force, rel=1e-6)
    # What both share cancels: two independent errors would add up to more.
    assert difference[4].error < 0.5 * math.hypot(energies[0][4].error, energies[1][4].error)


def test_a_difference_covers_what_is_expected() -> None:
    first, second, *_ = two_sums(200)
    uneven, less = (1 + strength * torch.eye(4, dtype=torch.float64) for strength in (1.0, 0.8))
    expected = variation(less) - variation(uneven)
    difference = second.difference(first)[4]
    assert_close(difference.value, expected, difference.error)
    assert abs(difference.value) > 10 * difference.error


def test_the_same_gradients_differ_by_exactly_nothing_and_tiles_do_too() -> None:
    for count in (12, 1):
        sums, *_ = two_sums(count, repeats=8)
        assert all(estimate == (0.0, 0.0) for estimate in sums.difference(sums).values())


def test_other_pictures_have_no_difference() -> None:
    first, *_ = two_sums(20)
    for other in (two_sums(19)[0], EnergySums(2)):
        with pytest.raises(FeatvisError, match="other pictures or of another total stride"):
            other.difference(first)
