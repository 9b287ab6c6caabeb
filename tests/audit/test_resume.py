"""A saved audit: what is written comes back, parts add up, and anything else is refused in one line."""

import contextlib
import json
import os

import numpy as np
import pytest
import torch
from helpers.networks import strided
from helpers.running import save_pictures
from safetensors import safe_open
from safetensors.torch import save_file

from featvis.audit.distributed import Group
from featvis.audit.resume import SCHEMA, Kept, State, _checksum, keep_merged, marks_of, resumed, told
from featvis.errors import FeatvisError
from featvis.measure.sums import EnergySums
from featvis.tracing.hashes import tensor_hash, weights_hash

SETTINGS = {"spec": "net", "mean": [0.5], "seed": 0}
MARKS = torch.arange(12) - 2**60


def gradients(count=12):
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measured(numbers, bad=()):
    state = State.empty(SETTINGS, MARKS)
    state.skipped, state.notes = [f"bad {number}" for number in bad], ["as is"]
    state.metric_of(4).update(gradients()[numbers], numbers)
    state.done[[*numbers, *bad]] = True
    return state


def energies(state):
    return state.metric.compute()


def test_a_state_comes_back_whole(tmp_path):
    state = measured([0, 3, 5, 6, 7], bad=[4])
    state.save(tmp_path)
    back = resumed(tmp_path, SETTINGS, MARKS)
    assert back.left() == [1, 2, 8, 9, 10, 11]
    assert (back.skipped, back.notes) == (["bad 4"], ["as is"])
    assert repr(energies(back)) == repr(energies(state))


def test_parts_of_several_processes_add_up(tmp_path):
    whole = EnergySums(4)
    whole.update(gradients(), list(range(12)))
    for rank in range(3):
        measured(list(range(rank, 12, 3))).save(tmp_path, rank)
    back = resumed(tmp_path, SETTINGS, MARKS)
    assert back.left() == []
    for period, estimate in whole.compute().energy.items():
        assert energies(back).energy[period] == pytest.approx(estimate, rel=1e-12)


def test_a_kill_while_parts_are_merged_counts_nothing_twice(tmp_path):
    for rank in range(2):
        measured(list(range(rank, 12, 2))).save(tmp_path, rank)
    merged = resumed(tmp_path, SETTINGS, MARKS)
    merged.save(tmp_path)  # and here the process is killed: the second part is still there
    again = resumed(tmp_path, SETTINGS, MARKS)
    assert energies(again).pictures == 12
    keep_merged(again, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.safetensors"]
    assert energies(resumed(tmp_path, SETTINGS, MARKS)).pictures == 12


def test_parts_that_overlap_are_refused(tmp_path):
    measured([0, 1, 2, 3]).save(tmp_path, 0)
    measured([3, 4, 5, 6]).save(tmp_path, 1)
    with pytest.raises(FeatvisError, match="overlap"):
        resumed(tmp_path, SETTINGS, MARKS)


@pytest.mark.parametrize(
    ("settings", "marks", "said"),
    [
        ({**SETTINGS, "seed": 1}, MARKS, "seed: 0, now 1"),
        ({**SETTINGS, "weights_hash": "a"}, MARKS, "weights_hash: None, now 'a'"),
        ({**SETTINGS, "mean": [0.5, 0.4]}, MARKS, "mean, item 1: None, now 0.4"),
        (SETTINGS, torch.arange(13), "pictures: 12, now 13"),
        (SETTINGS, MARKS[[0, 2, 1, *range(3, 12)]], "2 of 12 have another name, place or content, first number 1, 'b'"),
    ],
)
def test_another_run_is_refused(tmp_path, settings, marks, said):
    measured([0]).save(tmp_path)
    with pytest.raises(FeatvisError, match=said):
        resumed(tmp_path, settings, marks, "abcdefghijkl")


def test_another_total_stride_is_refused():
    with pytest.raises(FeatvisError, match="total stride of 4, this network 8"):
        measured([0]).metric_of(8)


def test_a_folder_is_not_overwritten_by_chance(tmp_path):
    measured([0]).save(tmp_path)
    with pytest.raises(FeatvisError, match="add --resume"):
        Kept(tmp_path, SETTINGS, MARKS).open(resume=False)
    state, left = Kept(tmp_path, SETTINGS, MARKS).open(resume=True)
    assert left == list(range(1, 12))
    assert energies_pictures(state) == 1


def energies_pictures(state):
    return state.metric.pictures


def test_without_a_folder_nothing_is_kept_and_that_is_said(tmp_path):
    kept = Kept(None, SETTINGS, torch.zeros(3))
    state, left = kept.open(resume=False)
    assert left == [0, 1, 2]
    kept.save(state)
    kept.close()
    assert "nothing is kept" in told(kept.folder)


def test_what_was_tried_is_done_also_where_it_was_bad():
    state, tried, skipped, notes = measured([0], bad=[3]), [1, 2], ["bad 2"], ["grey"]
    state.take(tried, skipped, notes)
    assert state.left() == list(range(4, 12))
    assert (state.skipped, state.notes) == (["bad 3", "bad 2"], ["as is", "grey"])
    assert (tried, skipped, notes) == ([], [], [])


def test_a_finished_audit_leaves_nothing_of_its_own(tmp_path):
    kept = Kept(tmp_path / "state", SETTINGS, MARKS)
    kept.open(resume=False)
    kept.save(measured([0]))
    (kept.folder / "mine.txt").touch()
    kept.close()
    assert [path.name for path in kept.folder.iterdir()] == ["mine.txt"]


def test_every_truncation_is_refused_in_one_line(tmp_path):
    measured([0, 1, 2, 3]).save(tmp_path)
    path = tmp_path / "part-0.safetensors"
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(FeatvisError, match="delete it and start anew"):
            State.load(path)


def reseal(path, change):
    """Change a saved audit's content, schema or tensors, by a function of all three, and give it the checksum of what it holds."""
    with safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    content = json.loads(metadata["content"])
    change(content, tensors)
    text = json.dumps(content)
    save_file(tensors, path, {**metadata, "content": text, "checksum": _checksum(text, tensors)})


def negated(content, tensors):
    for name, value in tensors.items():
        if value.is_floating_point():
            tensors[name] = -value


def halved(content, tensors):
    for name, value in tensors.items():
        if value.is_floating_point():
            tensors[name] = value.half()


def one(name, value):
    def change(content, tensors):
        tensors[name].view(-1)[0] = value

    return change


def stride(value):
    return lambda content, tensors: content.update(total_stride=value)


CHANGES = {
    "nothing": (lambda content, tensors: None, ""),
    "sums negated": (negated, "not as pictures give them"),
    "sums in float16": (halved, "float16"),
    "a NaN": (one("sums_4", torch.nan), "not finite"),
    "an infinity": (one("maps", torch.inf), "not finite"),
    "one sum": (one("sums_4", 7.0), "sums at period 4"),
    "squares too small": (lambda content, tensors: tensors["squares_4"].zero_(), "sums at period 4"),
    "a tile": (one("tiles_3", 1.0), "sums at period 3"),
    "a count": (one("counts_5", 0.5), "counts at period 5"),
    "a count of tiles": (one("tile_counts_5", 99.0), "tiles at period 5"),
    "a map": (one("maps", -1.0), "maps"),
    "counts of maps": (one("map_counts", 2.0), "maps are counted"),
    "a share": (one("high_frequency", 4.0), "high-frequency"),
    "a comb": (one("comb", -1.0), "signed combs"),
    "pictures too many": (lambda content, tensors: tensors["done"].fill_(1), "12 pictures are done"),
    "pictures too few": (one("done", 0), "4 pictures are done"),
    "pictures others": (lambda content, tensors: tensors["done"].copy_(tensors["done"].roll(1)), "or others"),
    "flags beyond 1": (one("done", 2), "flags"),
    "flags of another kind": (lambda content, tensors: tensors.update(done=tensors["done"].float()), "flags"),
    "no marks": (lambda content, tensors: tensors.pop("marks"), "marks"),
    "marks too few": (lambda content, tensors: tensors.update(marks=MARKS[1:].clone()), "marks"),
    "one tensor too many": (lambda content, tensors: tensors.update(more=torch.zeros(1)), "more"),
    "skipped by hand": (lambda content, tensors: content.update(skipped=["bad"]), "4 pictures are done"),
    "no sums": (stride(None), "of which there are no sums"),
    "settings no mapping": (lambda content, tensors: content.update(settings=3), "damaged"),
    "a stride of 10^30": (stride(10**30), "total stride of 10{30}"),
    "a negative stride": (stride(-1), "total stride of -1"),
    "a stride as text": (stride("4"), "total stride of '4'"),
    "another stride": (stride(8), "total stride of 8"),
    "true as a stride": (stride(True), "total stride of True"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_agree_is_refused_though_its_checksum_is_right(tmp_path, name):
    change, said = CHANGES[name]
    state = State.empty(SETTINGS, MARKS, (16, 16))
    state.metric_of(4).update(gradients()[[0, 3, 5, 6, 7]], [0, 3, 5, 6, 7])
    state.done[[0, 3, 5, 6, 7]] = True
    state.save(tmp_path)
    path = tmp_path / "part-0.safetensors"
    reseal(path, change)
    if not said:
        assert State.load(path).left() == state.left()
        return
    with pytest.raises(FeatvisError, match=said) as refusal:
        State.load(path)
    assert "delete it and start anew" in str(refusal.value)


def test_no_flipped_bit_has_an_effect(tmp_path):
    state = measured([0, 3, 5, 6, 7], bad=[4])
    state.save(tmp_path)
    path = tmp_path / "part-0.safetensors"
    content, draws, unharmed = path.read_bytes(), np.random.default_rng(0), 0
    for number in range(200):
        # Half of them in the header, which is a small part of the file.
        place = int(draws.integers(8 * (4096 if number % 2 else len(content))))
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with contextlib.suppress(FeatvisError):
            back = State.load(path)
            assert torch.equal(back.done, state.done)
            assert repr(energies(back)) == repr(energies(state))
            unharmed += 1
    assert unharmed <= 10


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"schema": "other", "content": "{}"},
        {"schema": "featvis.state/1", "content": "{}"},
        {"schema": SCHEMA, "content": "{}"},
        {"schema": SCHEMA, "content": "{", "checksum": "0"},
        *(
            {
                "schema": SCHEMA,
                "content": text,
                "checksum": _checksum(text, {"done": torch.zeros(3, dtype=torch.uint8)}),
            }
            for text in ("{", "[" * 10_000, '{"total_stride": ' + "9" * 5000 + "}", "3")
        ),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, metadata):
    path = tmp_path / "part-0.safetensors"
    save_file({"done": torch.zeros(3, dtype=torch.uint8)}, path, metadata)
    with pytest.raises(FeatvisError, match="delete it and start anew"):
        State.load(path)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "part-0.safetensors")
    (tmp_path / "part-1.safetensors").mkdir()
    (tmp_path / "part-2.safetensors").symlink_to("/dev/zero")
    with (tmp_path / "part-3.safetensors").open("wb") as file:
        file.truncate(2**31)
    for number, said in enumerate(("no regular file", "no regular file", "no regular file", "over 1024 MiB")):
        with pytest.raises(FeatvisError, match=said):
            State.load(tmp_path / f"part-{number}.safetensors")


def test_hashes_tell_networks_and_pictures_apart(tmp_path):
    assert weights_hash(strided(seed=0)) == weights_hash(strided(seed=0)) != weights_hash(strided(seed=1))
    assert len(weights_hash(strided())) == 16
    values = torch.arange(6.0)
    assert len({tensor_hash(t) for t in (values, values.double(), values.view(2, 3), values + 1)}) == 4


def test_marks_tell_pictures_apart(tmp_path):
    paths = save_pictures(tmp_path, 3)
    marks = marks_of(paths, Group())
    assert len(set(marks.tolist())) == 3
    assert torch.equal(marks_of(paths[::-1], Group()), marks.flip(0))
    for place in (0, -1):
        content = bytearray(paths[1].read_bytes())
        content[place] ^= 1
        paths[1].write_bytes(content)
        now = marks_of(paths, Group())
        assert (now != marks).tolist() == [False, True, False]
        marks = now
    paths[1].unlink()
    gone = marks_of(paths, Group())
    assert (gone != marks).tolist() == [False, True, False]
    paths[1].mkdir()
    assert torch.equal(marks_of(paths, Group()), gone)
