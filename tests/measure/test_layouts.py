"""Arrays of every layout are measured as what they are, or refused where that cannot be told."""

import numpy as np
import pytest
import torch

from featvis.errors import FeatvisError
from featvis.measure.layouts import LAYOUTS, as_gradients
from featvis.measure.sums import checkerboard_energy

GRADIENTS = torch.randn(6, 3, 40, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ROWS = 1 + 0.5 * (torch.arange(48) % 4 == 0).double()[:, None]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_what_it_says(layout):
    """The same values in another order come back in one."""
    if layout == "bcl":
        assert as_gradients(GRADIENTS[:, :, 0], layout).equal(GRADIENTS[:, :, 0])
        return
    whole = GRADIENTS[: 6 if "b" in layout else 1, : 3 if "c" in layout else 1]
    gone = [place for place, letter in enumerate("bchw") if letter not in layout]
    left = [letter for letter in "bchw" if letter in layout]
    given = whole.squeeze(tuple(gone)).permute([left.index(letter) for letter in layout])
    assert as_gradients(given, layout).equal(whole)
    assert as_gradients(given.numpy(), layout).equal(whole)


@pytest.mark.parametrize(
    ("shape", "signals", "expected"),
    [
        ((40, 36), True, (1, 1, 40, 36)),
        ((6, 3, 40, 36), True, (6, 3, 40, 36)),
        ((6, 40, 36, 3), True, (6, 3, 40, 36)),
        ((6, 64, 7, 7), True, (6, 64, 7, 7)),
        ((40, 36, 3), True, (1, 3, 40, 36)),
        ((8, 1, 4000), True, (8, 1, 4000)),
        ((3, 40, 36), False, (1, 3, 40, 36)),
        ((8, 40, 36), False, (8, 1, 40, 36)),
    ],
)
def test_what_a_shape_can_only_be(shape, signals, expected):
    assert as_gradients(np.ones(shape), signals=signals).shape == expected


def test_a_stack_of_maps_is_not_read_as_signals():
    """A comb in rows would vanish."""
    maps = torch.randn(8, 48, 48, generator=torch.Generator().manual_seed(1)) * ROWS
    with pytest.raises(
        FeatvisError, match=r"shape \(8, 48, 48\): which dimension is which cannot be told; give the layout"
    ):
        checkerboard_energy(maps, 4)
    expected = checkerboard_energy(maps[:, None], 4).energy
    assert checkerboard_energy(maps, 4, layout="bhw").energy == expected
    assert expected[4].value > 10 * expected[4].error


@pytest.mark.parametrize(
    "change",
    [
        lambda maps: maps.astype(">f8"),
        lambda maps: maps[:, ::-1][:, ::-1],
        lambda maps: np.asfortranarray(maps),
        lambda maps: maps.astype(np.longdouble),
    ],
)
def test_numpy_arrays_of_any_memory(change):
    maps = GRADIENTS[:, 0].numpy()
    assert as_gradients(change(maps), "bhw").equal(GRADIENTS[:, :1])


def test_whole_numbers_are_taken_and_masked_ones_not():
    assert as_gradients(np.arange(64).reshape(8, 8)).dtype == torch.float64
    with pytest.raises(FeatvisError, match="masked"):
        as_gradients(np.ma.masked_less(np.arange(64).reshape(8, 8), 3))


@pytest.mark.parametrize(
    ("given", "layout", "said"),
    [
        (np.ones((8, 8)) > 0, None, "gradients of bool"),
        (np.ones((8, 8)) * 1j, None, "gradients of complex128"),
        (np.array([["a"]]), None, "gradients of <U1"),
        (np.ones(8), None, "expected two to four dimensions"),
        (np.ones((8, 8, 8, 8, 8)), None, "which dimension is which|two to four"),
        (np.ones((3, 40, 3)), None, "which dimension is which cannot be told"),
        (np.ones((8, 40, 40)), "bchw", "a layout of 'bchw'; give one of chw, hwc, bhw, bcl"),
        (np.ones((8, 8)), "rows", "a layout of 'rows'; give one of hw"),
    ],
)
def test_what_is_no_array_of_maps(given, layout, said):
    with pytest.raises(FeatvisError, match=said) as caught:
        as_gradients(given, layout)
    assert "\n" not in str(caught.value)
