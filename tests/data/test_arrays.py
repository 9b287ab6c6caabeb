"""Maps in files: found, read in their layout, and refused in one line."""

import numpy as np
import pytest

from featvis.data.arrays import MapFiles, find_maps, load_maps
from featvis.errors import FeatvisError

MAPS = np.random.default_rng(0).normal(size=(5, 24, 20))


def test_arrays_and_archives(tmp_path):
    np.save(tmp_path / "stack.npy", MAPS)
    np.savez(tmp_path / "one.npz", MAPS)
    np.savez_compressed(tmp_path / "ours.npz", gradient=MAPS[:3], picture=np.ones((24, 20, 3)))
    np.savez(tmp_path / "two.npz", a=MAPS[0], b=MAPS)
    assert [path.name for path in find_maps([tmp_path])] == ["one.npz", "ours.npz", "stack.npy", "two.npz"]
    for name, array, expected in (
        ("stack.npy", None, MAPS[:, None]),
        ("one.npz", None, MAPS[:, None]),
        ("ours.npz", None, MAPS[None, :3]),
        ("two.npz", "a", MAPS[None, None, 0]),
    ):
        assert np.array_equal(load_maps(tmp_path / name, name=array).numpy(), expected)
    files = MapFiles([tmp_path / "stack.npy", tmp_path / "one.npz"])
    assert (len(files), len(files[1:])) == (2, 1)
    assert files[1].equal(files[0])


def written(path, kind):
    if kind == "objects":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif kind == "objects in an archive":
        np.savez(path, np.array([{}], dtype=object))
    elif kind == "several":
        np.savez(path, a=MAPS, b=MAPS)
    elif kind == "a promise":
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    elif kind == "no shape":
        np.save(path, np.ones((3, 40, 3)))
    else:
        path.write_bytes(b"PK\x03\x04 and no more" if path.suffix == ".npz" else b"none")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("a.npy", "objects", "cannot read maps from .*Python objects"),
        ("a.npz", "objects in an archive", "cannot read maps from .*allow_pickle"),
        ("a.npz", "several", "it holds a, b; say which with --array"),
        ("a.npy", "a promise", "cannot read maps from"),
        ("a.npy", "no shape", "which dimension is which cannot be told"),
        ("a.npy", "nonsense", "expected an .npy or .npz file"),
        ("a.npz", "nonsense", "expected an .npy or .npz file"),
    ],
)
def test_what_holds_no_maps(tmp_path, name, kind, said):
    path = tmp_path / name
    written(path, kind)
    with pytest.raises(FeatvisError, match=said) as caught:
        load_maps(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(FeatvisError):
        load_maps(tmp_path / "missing.npy")


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("featvis.data.arrays.LARGEST", 1000)
    np.savez_compressed(tmp_path / "a.npz", np.zeros(10_000))
    with pytest.raises(FeatvisError, match=r"'arr_0' has 80,128 bytes; at most 8,000 are read"):
        load_maps(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.zeros(10_000))
    with pytest.raises(FeatvisError, match="10,000 values"):
        load_maps(tmp_path / "a.npy")


def test_another_array_than_there_is(tmp_path):
    np.savez(tmp_path / "a.npz", a=MAPS)
    with pytest.raises(FeatvisError, match="no array 'c', but a"):
        load_maps(tmp_path / "a.npz", name="c")
