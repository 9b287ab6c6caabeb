"""The closed form against torch's own convolutions, and against the numbers of the article."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featvis.errors import FeatvisError
from featvis.measure.periods import exact_periods
from featvis.predict.overlap import (
    LARGEST,
    Stage,
    balanced_kernels,
    counts,
    counts_2d,
    energies_by_period,
    energy,
    energy_2d,
    parse_pair,
    parse_stack,
    parse_stage,
    profile,
    total_energy,
    total_stride,
)

K3S2, K3S2P1, K4S2P1 = Stage(3, 2), Stage(3, 2, 1), Stage(4, 2, 1)


@st.composite
def stages(draw, largest_stride=3):
    kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, largest_stride, 3))
    padding = draw(st.integers(0, dilation * (kernel - 1) // 2))
    return Stage(kernel, stride, padding, dilation, draw(st.integers(0, stride - 1)))


stacks = st.lists(stages(), min_size=1, max_size=3)


def sizes(stack, positions):
    """The pixels of each level, from the coarsest to the picture, as torch documents it for ConvTranspose1d."""
    levels = [positions]
    for s in reversed(stack):
        levels.append((levels[-1] - 1) * s.stride - 2 * s.padding + s.dilation * (s.kernel - 1) + s.output_padding + 1)
    return levels


def by_autograd(rows, columns, positions):
    """The gradient, with respect to the pixels, of the sum over a stack of strided convolutions with weights of one."""
    size = [sizes(stack, number)[-1] for stack, number in zip((rows, columns), positions, strict=True)]
    pixels = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    features = pixels
    for r, c in zip(rows, columns, strict=True):
        weights = torch.ones(1, 1, r.kernel, c.kernel, dtype=torch.float64)
        pair = {name: (getattr(r, name), getattr(c, name)) for name in ("stride", "padding", "dilation")}
        features = F.conv2d(features, weights, **pair)
    assert features.shape[2:] == positions
    return torch.autograd.grad(features.sum(), pixels)[0][0, 0].numpy()


def by_transposed_convolutions(stack, positions):
    row = torch.ones(1, 1, positions, dtype=torch.float64)
    for s in reversed(stack):
        weights = torch.ones(1, 1, s.kernel, dtype=torch.float64)
        row = F.conv_transpose1d(row, weights, None, s.stride, s.padding, s.output_padding, 1, s.dilation)
    return row[0, 0].numpy()


def assert_same(counted, expected):
    """Equal in shape and, exactly, in every pixel."""
    assert counted.shape == expected.shape
    assert counted.dtype.kind in "iO"
    assert (counted == expected).all()


def fits(stack, positions):
    return all(level >= 1 for level in sizes(stack, positions))


@settings(deadline=None)
@given(stacks, st.integers(1, 6))
def test_counts_are_the_gradient_of_the_strided_stack(stack, positions):
    assume(fits(stack, positions))
    one = [Stage(1, 1)] * len(stack)
    assert_same(counts(stack, positions)[None], by_autograd(one, stack, (1, positions)))
    assert_same(counts(stack, positions), by_transposed_convolutions(stack, positions))


def test_output_padding_may_reach_the_stride_where_the_dilation_allows():
    stack = [Stage(2, 1, 1, 3, 2), Stage(3, 2, 0, 4, 3)]
    assert_same(counts(stack, 3), by_transposed_convolutions(stack, 3))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(stages(), stages()), min_size=1, max_size=2), st.integers(1, 4), st.integers(1, 4))
def test_counts_in_2d_are_the_gradient_of_the_strided_stack(pairs, down, across):
    rows, columns = ([pair[axis] for pair in pairs] for axis in (0, 1))
    assume(fits(rows, down) and fits(columns, across))
    assert_same(counts_2d(rows, columns, (down, across)), by_autograd(rows, columns, (down, across)))


@settings(deadline=None)
@given(stacks)
def test_the_profile_is_the_interior_of_a_large_picture(stack):
    period, reach, scale = total_stride(stack), 0, 1
    for s in stack:
        reach, scale = reach + scale * s.dilation * s.kernel, scale * s.stride
    first = -(-reach // period) * period
    positions = 2 * first // period + 4
    row = counts(stack, positions)
    assert len(row) >= first + period + reach
    assert_same(profile(stack), row[first : first + period])
    assert profile(stack).sum() == np.prod([s.kernel for s in stack])


def test_planted_faults_are_found():
    """The comparison can fail: a wrong kernel, padding, dilation or order each shows."""
    right = by_transposed_convolutions([Stage(3, 2, 1, 2), Stage(4, 3, 1)], 5)
    wrong = [[Stage(2, 2, 1, 2), Stage(4, 3, 1)], [Stage(3, 2, 2, 2, 0), Stage(4, 3, 1)]]
    wrong += [[Stage(3, 2, 1, 1), Stage(4, 3, 1)], [Stage(4, 3, 1), Stage(3, 2, 1, 2)]]
    for stack in wrong:
        with pytest.raises(AssertionError):
            assert_same(counts(stack, 5), right)


def test_figure_one_dimension():
    assert counts([K3S2], 8).tolist() == [1, 1, *[2, 1] * 7, 1]


def test_figure_two_dimensions():
    picture = counts_2d([K3S2], [K3S2], (6, 4))
    assert picture.shape == (13, 9)
    assert Counter(picture.ravel().tolist()) == {1: 48, 2: 54, 4: 15}


def test_figure_two_layers():
    row = counts([K3S2, K3S2], 5).tolist()
    assert len(row) == 23
    assert row[6:14] == [3, 1, 3, 2] * 2
    assert sorted(profile([K3S2, K3S2]).tolist()) == [1, 2, 3, 3]


STERN = {1: "12", 2: "1323", 3: "14352534"}


@pytest.mark.parametrize(("depth", "expected"), [(1, 0.2346), (2, 0.2900), (3, 0.3277), (4, 0.3645)])
def test_stacked_k3_s2(depth, expected):
    stack = [K3S2P1] * depth
    assert float(total_energy(stack, stack)) == pytest.approx(expected, abs=5e-5)
    stern = [0, 1]
    while len(stern) <= 2 * 2**depth:
        half, odd = divmod(len(stern), 2)
        stern.append(stern[half] + odd * stern[half + odd])
    assert profile(stack).tolist() == stern[2**depth : 2 * 2**depth]
    if depth in STERN:
        assert "".join(map(str, profile(stack))) == STERN[depth]


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([Stage(5, 2, 2)], 0.0816),
        ([Stage(11, 4, 2)], 0.0502),
        ([Stage(1, 2)], 3),
        ([Stage(6, 3, 1)], 0),
        ([Stage(3, 1, 1)], 0),
        ([K3S2P1, K4S2P1], 0.2346),
        ([K4S2P1, K3S2P1], 0),
    ],
)
def test_energies_in_closed_form(stack, expected):
    assert float(total_energy(stack, stack)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("width", "left"), [(1, 1), (2, 0), (3, Fraction(1, 9)), (4, 0), (5, Fraction(1, 25))])
def test_a_stride_1_kernel_nearer_the_pixels_multiplies_the_harmonics(width, left):
    """In 1-D the harmonic of period 2 is multiplied by (1 - 1 + 1 ...) / width, its energy by the square."""
    assert total_energy([Stage(width, 1), K3S2]) == left * Fraction(1, 9)
    assert total_energy([K3S2, Stage(width, 1)]) == Fraction(1, 9)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=24).filter(any), st.integers(1, 30))
def test_energy_is_the_variance_of_the_folded_profile(values, period):
    """Against the definition in words, on the endless row: a period is folded over one common multiple."""
    endless = np.tile(values, period)
    q = endless.reshape(-1, period).mean(axis=0) / endless.mean()
    assert float(energy(values, period)) == pytest.approx(((q - 1) ** 2).mean(), abs=1e-12)


@given(st.lists(st.integers(0, 9), min_size=12, max_size=12).filter(any))
def test_exact_periods_are_the_harmonics_and_add_up(values):
    energies = {period: energy(values, period) for period in (2, 3, 4, 6, 12)}
    exact = exact_periods(energies)
    assert sum(exact.values()) == energies[12]
    power = np.abs(np.fft.fft(values) / sum(values)) ** 2
    for period, share in exact.items():
        harmonics = [m for m in range(1, 12) if 12 // np.gcd(m, 12) == period]
        assert float(share) == pytest.approx(power[harmonics].sum(), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(stacks, stacks)
def test_energy_in_2d_folds_each_axis_to_what_it_shares_with_the_period(rows, columns):
    """Against the definition on the picture of one least common period, for every divisor and for the exact periods."""
    energies = energies_by_period(rows, columns)
    total = max(energies, default=1)
    assert total == np.lcm(total_stride(rows), total_stride(columns))
    down, across = (np.tile(profile(stack), total // total_stride(stack)) for stack in (rows, columns))
    picture = np.outer(down, across) / (down.mean() * across.mean())
    for period, value in energies.items():
        repeats = total // period
        q = picture.reshape(repeats, period, repeats, period).mean(axis=(0, 2))
        assert float(value) == pytest.approx(((q - 1) ** 2).mean(), abs=1e-12)
        assert value == energy_2d(profile(rows), profile(columns), period)
    exact = exact_periods(energies)
    assert all(share >= 0 for share in exact.values())
    assert sum(exact.values()) == total_energy(rows, columns)


def test_a_period_that_shares_nothing_has_no_energy():
    assert [energy(profile([K3S2P1] * 3), period) for period in (1, 3, 5, 7)] == [0, 0, 0, 0]


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 6))
def test_balanced_kernels_are_the_nearest_that_a_search_finds(kernel, stride, dilation):
    even = [size for size in range(1, 40) if total_energy([Stage(size, stride, dilation=dilation)]) == 0]
    below = [size for size in even if size <= kernel][-1:]
    above = [size for size in even if size >= kernel][:1]
    assert balanced_kernels(kernel, stride, dilation) == tuple(dict.fromkeys(below + above))


@given(st.lists(stages(), min_size=1, max_size=4))
def test_a_stack_of_balanced_stages_is_even(stack):
    choices = [balanced_kernels(s.kernel, s.stride, s.dilation) for s in stack]
    assume(all(choices))
    mended = [Stage(sizes[-1], s.stride, s.padding, s.dilation) for sizes, s in zip(choices, stack, strict=True)]
    assert total_energy(mended) == 0


def test_balanced_kernels_by_example():
    assert balanced_kernels(3, 2) == (2, 4)
    assert balanced_kernels(4, 2) == (4,)
    assert balanced_kernels(1, 2) == (2,)
    assert balanced_kernels(3, 2, dilation=2) == ()


def test_counts_do_not_overflow():
    """45 layers of k3 exceed 64 bits; the sum of the counts is known without convolving."""
    stack = [Stage(3, 1)] * 45
    row = counts(stack, 1)
    assert row.dtype == object
    assert sum(row.tolist()) == profile(stack)[0] == 3**45
    wide = [Stage(3, 1, 1)] * 25
    picture = counts_2d(wide, wide, 60)
    assert picture[30, 30] == 3**50
    assert counts(wide, 60).dtype == np.int64
    assert total_energy([K3S2P1, *stack]) == Fraction(1, 9)


def test_an_empty_stack_is_the_identity():
    assert counts([], 3).tolist() == [1, 1, 1]
    assert profile([]).tolist() == [1]
    assert energies_by_period([]) == {}


def test_energy_takes_fractions():
    assert energy([Fraction(1, 3), Fraction(2, 3)], 2) == Fraction(1, 9)


def test_stages_are_read_from_text():
    assert parse_stage("3,2") == (Stage(3, 2), Stage(3, 2))
    assert parse_stage(" 3, 2, 1, 2, 1") == (Stage(3, 2, 1, 2, 1), Stage(3, 2, 1, 2, 1))
    assert parse_stage("3x5,2x1,1x2") == (Stage(3, 2, 1), Stage(5, 1, 2))
    assert parse_stack(["3,2,1", "4,2x1"]) == ([K3S2P1, Stage(4, 2)], [K3S2P1, Stage(4, 1)])
    assert parse_pair("6x4", "positions") == (6, 4)
    assert str(Stage(3, 2, 1, 4, 1)) == "k3 s2 p1 d4 op1"
    assert str(K3S2) == "k3 s2"


@given(stages(), stages())
def test_a_written_stage_is_read_back(row, column):
    names = ("kernel", "stride", "padding", "dilation", "output_padding")
    text = ",".join(f"{getattr(row, name)}x{getattr(column, name)}" for name in names)
    assert parse_stage(text) == (row, column)


@pytest.mark.parametrize(
    "text",
    ["", "3", "3,", "3,2,1,1,0,0", "3;2", "3,-2", "3,2.0", "3x,2", "3x3x3,2", "0,2", "3,0", "3,2,0,0", "3,2,0,1,2"],
)
def test_bad_stages_are_refused_in_one_line(text):
    with pytest.raises(FeatvisError) as caught:
        parse_stage(text)
    assert "give" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Stage(3.0, 2),
        lambda: Stage(True, 2),
        lambda: Stage(3, 2, -1),
        lambda: counts([K3S2], 0),
        lambda: counts([K3S2], 2.0),
        lambda: counts([K3S2], LARGEST + 1),
        lambda: counts([Stage(3, 2, 3)], 1),
        lambda: counts([K3S2] * 30, 8),
        lambda: counts_2d([K3S2], [K3S2], 4000),
        lambda: profile([K3S2] * 30),
        lambda: energies_by_period([Stage(1, 2**12 + 1)], [Stage(1, 2**12)]),
        lambda: energy([1, 2], 0),
        lambda: energy([], 2),
        lambda: energy([[1, 2]], 2),
        lambda: energy([0, 0], 2),
        lambda: energy([0.5, 1.5], 2),
        lambda: balanced_kernels(0, 2),
    ],
)
def test_bad_input_is_refused_in_one_line(call):
    with pytest.raises(FeatvisError) as caught:
        call()
    assert "give" in str(caught.value)
    assert "\n" not in str(caught.value)
