from __future__ import annotations

import math
import pickle

import pytest
import torch
import torch.multiprocessing as multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.measure.energy import CheckerboardEnergy, Energies, checkerboard_energy
from featvis.measure.phases import control_periods, fold, interior, periods_of, phase_profile
from featvis.measure.spectra import high_frequency_share, signed_combs, spectral_flatness, white_flatness


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def profiled_noise(profile: Tensor, count: int, repeats: int, channels: int = 3, seed: int = 0) -> Tensor:
    """White noise whose expected energy has this phase profile."""
    tiled = profile.sqrt().repeat(repeats, repeats)
    return noise(count, channels, *tiled.shape, seed=seed) * tiled


def variation(profile: Tensor) -> float:
    return float(((profile / profile.mean() - 1) ** 2).mean())


def assert_close(value: float, expected: float, error: float | None, times: float = 3.0) -> None:
    assert error is not None
    assert abs(value - expected) <= times * error, f"{value} is not {expected} within {times} x {error}"


def assert_same(first: Energies, second: Energies, tolerance: float = 1e-9) -> None:
    for name in ("energy", "controls", "exact_periods", "signed_comb"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.keys() == two.keys()
        for period in one:
            assert one[period].value == pytest.approx(two[period].value, abs=tolerance)
            assert one[period].error == pytest.approx(two[period].error, abs=tolerance)
    assert first.high_frequency_share == pytest.approx(second.high_frequency_share, abs=tolerance)
    assert first.mean_gradient_flatness == pytest.approx(second.mean_gradient_flatness, abs=1e-6)
    assert torch.allclose(first.profile, second.profile, atol=tolerance)
    assert first[-2:] == second[-2:]


def test_the_comparison_helpers_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_close(1.0, 0.9, 0.01)
    one = checkerboard_energy(noise(8, 1, 16, 16), 4)
    with pytest.raises(AssertionError):
        assert_same(one, checkerboard_energy(noise(8, 1, 16, 16, seed=1), 4))


def test_periods_and_controls() -> None:
    assert periods_of(8) == [2, 4, 8]
    assert periods_of(6) == [2, 3, 6]
    assert periods_of(1) == []
    assert control_periods(32) == [3, 5, 7]
    assert control_periods(6) == [5, 7, 11]
    assert control_periods(3) == [2, 5, 7]
    assert all(math.gcd(control, 12) == 1 for control in control_periods(12))


def test_interior_leaves_out_the_border_where_the_picture_is_large_enough() -> None:
    assert interior(224, 32) == slice(32, 192)
    assert interior(230, 32) == slice(32, 192)
    assert interior(32, 8) == slice(8, 24)
    assert interior(31, 8) == slice(0, 24)


def test_fold_is_the_mean_of_each_phase() -> None:
    values = torch.arange(2.0 * 7 * 9).view(2, 7, 9)
    folded = fold(values, 3, 2)
    for row in range(3):
        for column in range(2):
            assert torch.allclose(folded[:, row, column], values[:, :6, :8][:, row::3, column::2].mean((1, 2)))


def test_phase_profile_recovers_a_constructed_one() -> None:
    profile = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert torch.allclose(phase_profile(profile.repeat(5, 7)[None], 2)[0], profile / profile.mean())


@pytest.mark.parametrize("bad", [torch.zeros(1, 4, 4), torch.full((1, 4, 4), math.nan), torch.ones(1, 1, 4)])
def test_phase_profile_refuses_what_has_none(bad: Tensor) -> None:
    with pytest.raises(FeatvisError):
        phase_profile(bad, 2)


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
    metric = CheckerboardEnergy(stride)
    for seed in range(200):
        torch.manual_seed(seed)
        layer = nn.Conv2d(3, 16, kernel, stride, padding=kernel // 2, bias=False)
        images = torch.zeros(1, 3, 48, 48, requires_grad=True)
        (gradient,) = torch.autograd.grad((layer(images) * torch.randn_like(layer(images))).sum(), images)
        metric.update(gradient)
    assert metric.compute().energy[stride].value == pytest.approx(expected, rel=0.05)


def test_kernels_divisible_by_their_stride_leave_the_energy_even_and_the_comb() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 2, 2, bias=False)
    images = torch.zeros(8, 1, 64, 64, requires_grad=True)
    output = layer(images)
    (gradient,) = torch.autograd.grad(output.sum(), images)
    measured = checkerboard_energy(gradient + 1e-3 * torch.randn_like(gradient), 2)
    assert measured.signed_comb[2].value == pytest.approx(1, abs=0.01)


def test_signed_comb_of_noise_is_zero_on_average_and_of_a_comb_is_one() -> None:
    (shares,) = signed_combs(noise(300, 2, 12, 12), [(4, 4)])
    assert abs(shares.mean()) < 3 * shares.std() / math.sqrt(300)
    comb = noise(1, 1, 2, 2).repeat(1, 1, 6, 6)
    assert float(signed_combs(comb, [(2, 2)])[0]) == pytest.approx(1)
    assert signed_combs(noise(1, 1, 4, 4), [(4, 4)])[0].isnan().all()


@pytest.mark.parametrize("side", [4, 32, 196, 220, 244])
def test_high_frequency_share_of_a_flat_spectrum_is_exact(side: int) -> None:
    impulse = torch.zeros(1, 1, side, side, dtype=torch.float64)
    impulse[..., side // 2, 1] = 1
    assert float(high_frequency_share(impulse)) == pytest.approx(0.75, abs=1e-12)


def test_high_frequency_share_of_white_noise_and_of_pure_waves() -> None:
    assert high_frequency_share(noise(200, 1, 32, 32)).mean() == pytest.approx(0.75, abs=0.005)
    assert high_frequency_share(noise(200, 1, 1, 64)).mean() == pytest.approx(0.5, abs=0.01)
    wave = torch.cos(2 * torch.pi * torch.arange(32, dtype=torch.float64) / 8).expand(1, 1, 32, 32)
    assert float(high_frequency_share(wave)) == pytest.approx(0, abs=1e-12)
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 1, 16, 16)
    assert float(high_frequency_share(checker)) == pytest.approx(1)


@pytest.mark.parametrize("size", [4, 8])
def test_flatness_of_white_noise_and_of_one_harmonic(size: int) -> None:
    ratios = [spectral_flatness(noise(size, size, seed=seed)) / white_flatness(size, size) for seed in range(400)]
    # The spread of the mean power adds a little where harmonics are few.
    assert sum(map(math.log, ratios)) / 400 == pytest.approx(0, abs=0.15)
    wave = torch.cos(torch.pi * torch.arange(size, dtype=torch.float64)).expand(size, size)
    assert spectral_flatness(wave + 1e-3 * noise(size, size)) < 0.01


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
    whole = CheckerboardEnergy(total_stride)
    whole.update(gradients, range(count))

    order = data.draw(st.permutations(range(count)))
    parts = [CheckerboardEnergy(total_stride) for _ in sizes]
    start = 0
    for part, size in zip(parts, [*sizes[:-1], count - sum(sizes[:-1])], strict=True):
        chosen = order[start : start + size]
        part.update(gradients[chosen], chosen)
        start += size
    merged = CheckerboardEnergy(total_stride)
    for part in data.draw(st.permutations(parts)):
        merged.merge_state(part)
    assert_same(merged.compute(), whole.compute())


def test_state_survives_state_dict_and_pickle() -> None:
    metric = CheckerboardEnergy(4)
    metric.update(noise(9, 3, 16, 16))
    restored = CheckerboardEnergy(4)
    restored.load_state_dict(metric.state_dict())
    restored.update(noise(3, 3, 16, 16, seed=1))
    thawed = pickle.loads(pickle.dumps(metric))
    metric.update(noise(3, 3, 16, 16, seed=1))
    thawed.update(noise(3, 3, 16, 16, seed=1))
    assert_same(restored.compute(), metric.compute())
    assert_same(thawed.compute(), metric.compute())


def test_update_leaves_its_input_alone_and_reset_empties() -> None:
    gradients = noise(8, 3, 16, 16)
    before = gradients.clone()
    metric = CheckerboardEnergy(4)
    metric.update(gradients)
    assert torch.equal(gradients, before)
    metric.reset()
    with pytest.raises(FeatvisError, match="no gradient"):
        metric.compute()


def test_state_does_not_grow_with_pictures() -> None:
    metric = CheckerboardEnergy(4)
    metric.update(noise(1, 3, 16, 16))
    size = sum(value.numel() for value in metric.state_dict().values())
    metric.update(noise(50, 3, 16, 16))
    assert sum(value.numel() for value in metric.state_dict().values()) == size


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    gradients = noise(21, 3, 16, 16)
    metric = CheckerboardEnergy(4)
    metric.update(gradients[rank::2], range(rank, 21, 2))
    torch.save(metric.compute(), f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path) -> None:
    multiprocessing.spawn(_rank, args=(str(tmp_path),), nprocs=2)
    alone = checkerboard_energy(noise(21, 3, 16, 16), 4)
    for rank in range(2):
        assert_same(torch.load(tmp_path / f"rank{rank}.pt", weights_only=False), alone)


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
        CheckerboardEnergy(4).update(gradients)


def test_a_bad_picture_is_named_and_adds_nothing() -> None:
    gradients = noise(4, 1, 8, 8)
    gradients[2] = 0
    metric = CheckerboardEnergy(2)
    with pytest.raises(FeatvisError, match="picture 2"):
        metric.update(gradients)
    assert float(metric.counts_2.sum()) == 0


def test_too_little_to_estimate_a_spread_is_an_error() -> None:
    with pytest.raises(FeatvisError, match="larger pictures"):
        checkerboard_energy(noise(1, 1, 4, 4), 4)
    with pytest.raises(FeatvisError, match="give one for each"):
        CheckerboardEnergy(2).update(noise(2, 1, 8, 8), [1])
    with pytest.raises(FeatvisError, match="expected at least 1"):
        CheckerboardEnergy(0)


def test_a_network_without_strides_has_controls_only() -> None:
    measured = checkerboard_energy(noise(8, 1, 30, 30), 1)
    assert measured.energy == {}
    assert set(measured.controls) == {2, 3, 5}


def two_metrics(count: int, repeats: int = 8) -> tuple[CheckerboardEnergy, CheckerboardEnergy, Tensor, Tensor]:
    """An uneven gradient, and another that shares most of its noise and is less uneven."""
    uneven, less = (1 + strength * torch.eye(4, dtype=torch.float64) for strength in (1.0, 0.8))
    gradients = profiled_noise(uneven, count, repeats)
    others = gradients * (less / uneven).sqrt().repeat(repeats, repeats)
    first, second = CheckerboardEnergy(4), CheckerboardEnergy(4)
    first.update(gradients)
    second.update(others)
    return first, second, gradients, others


def test_a_difference_is_exact_and_its_error_is_the_jackknife_of_the_pairs() -> None:
    first, second, gradients, others = two_metrics(20)
    difference = second.difference(first)
    energies = [metric.compute().energy for metric in (first, second)]
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
    first, second, *_ = two_metrics(200)
    uneven, less = (1 + strength * torch.eye(4, dtype=torch.float64) for strength in (1.0, 0.8))
    expected = variation(less) - variation(uneven)
    difference = second.difference(first)[4]
    assert_close(difference.value, expected, difference.error)
    assert abs(difference.value) > 10 * difference.error


def test_the_same_gradients_differ_by_exactly_nothing_and_tiles_do_too() -> None:
    for count in (12, 1):
        metric, *_ = two_metrics(count, repeats=8)
        assert all(estimate == (0.0, 0.0) for estimate in metric.difference(metric).values())


def test_other_pictures_have_no_difference() -> None:
    first, *_ = two_metrics(20)
    for other in (two_metrics(19)[0], CheckerboardEnergy(2)):
        with pytest.raises(FeatvisError, match="other pictures or of another total stride"):
            other.difference(first)
