"""A saved audit: what is written comes back, parts add up, and anything else is refused in one line."""

import hashlib

import pytest
import torch
from helpers.networks import strided
from helpers.running import save_pictures
from safetensors.torch import save_file

from featvis.audit.resume import Kept, State, keep_merged, pictures_hash, resumed
from featvis.errors import FeatvisError
from featvis.measure.sums import EnergySums
from featvis.tracing.hashes import tensor_hash, weights_hash

SETTINGS = {"spec": "net", "mean": [0.5], "seed": 0}


def gradients(count=12):
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measured(numbers, count=12):
    state = State(SETTINGS, torch.zeros(count, dtype=torch.bool), skipped=[f"bad {min(numbers)}"], notes=["as is"])
    state.metric_of(4).update(gradients(count)[numbers], numbers)
    state.done[numbers] = True
    return state


def energies(state):
    return state.metric.compute()


def test_a_state_comes_back_whole(tmp_path):
    state = measured([0, 3, 5, 6, 7])
    state.save(tmp_path)
    back = resumed(tmp_path, SETTINGS, 12)
    assert back.left() == [1, 2, 4, 8, 9, 10, 11]
    assert (back.skipped, back.notes) == (["bad 0"], ["as is"])
    assert repr(energies(back)) == repr(energies(state))


def test_parts_of_several_processes_add_up(tmp_path):
    whole = EnergySums(4)
    whole.update(gradients(), list(range(12)))
    for rank in range(3):
        measured(list(range(rank, 12, 3))).save(tmp_path, rank)
    back = resumed(tmp_path, SETTINGS, 12)
    assert back.left() == []
    for period, estimate in whole.compute().energy.items():
        assert energies(back).energy[period] == pytest.approx(estimate, rel=1e-12)


def test_a_kill_while_parts_are_merged_counts_nothing_twice(tmp_path):
    for rank in range(2):
        measured(list(range(rank, 12, 2))).save(tmp_path, rank)
    merged = resumed(tmp_path, SETTINGS, 12)
    merged.save(tmp_path)  # and here the process is killed: the second part is still there
    again = resumed(tmp_path, SETTINGS, 12)
    assert energies(again).pictures == 12
    keep_merged(again, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part-0.safetensors"]
    assert energies(resumed(tmp_path, SETTINGS, 12)).pictures == 12


def test_parts_that_overlap_are_refused(tmp_path):
    measured([0, 1, 2, 3]).save(tmp_path, 0)
    measured([3, 4, 5, 6]).save(tmp_path, 1)
    with pytest.raises(FeatvisError, match="overlap"):
        resumed(tmp_path, SETTINGS, 12)


@pytest.mark.parametrize(
    ("settings", "pictures", "said"),
    [
        ({**SETTINGS, "seed": 1}, 12, "seed: 0, now 1"),
        ({**SETTINGS, "weights_hash": "a"}, 12, "weights_hash: None, now 'a'"),
        (SETTINGS, 13, "pictures: 12, now 13"),
    ],
)
def test_another_run_is_refused(tmp_path, settings, pictures, said):
    measured([0]).save(tmp_path)
    with pytest.raises(FeatvisError, match=said):
        resumed(tmp_path, settings, pictures)


def test_another_total_stride_is_refused():
    with pytest.raises(FeatvisError, match="total stride of 4, this network 8"):
        measured([0]).metric_of(8)


def test_a_folder_is_not_overwritten_by_chance(tmp_path):
    measured([0]).save(tmp_path)
    with pytest.raises(FeatvisError, match="add --resume"):
        Kept(tmp_path, SETTINGS, 12).open(resume=False)
    state, left = Kept(tmp_path, SETTINGS, 12).open(resume=True)
    assert left == list(range(1, 12))
    assert energies_pictures(state) == 1


def energies_pictures(state):
    return state.metric.pictures


def test_without_a_folder_nothing_is_kept_and_that_is_said(tmp_path):
    kept = Kept(None, SETTINGS, 3)
    state, left = kept.open(resume=False)
    assert left == [0, 1, 2]
    kept.save(state)
    kept.close()
    assert "nothing is kept" in kept.told()


def test_what_was_tried_is_done_also_where_it_was_bad():
    state, tried, skipped, notes = measured([0]), [1, 2], ["bad 2"], ["grey"]
    state.take(tried, skipped, notes)
    assert state.left() == list(range(3, 12))
    assert (state.skipped, state.notes) == (["bad 0", "bad 2"], ["as is", "grey"])
    assert (tried, skipped, notes) == ([], [], [])


def test_a_finished_audit_leaves_nothing_of_its_own(tmp_path):
    kept = Kept(tmp_path / "state", SETTINGS, 12)
    kept.open(resume=False)
    kept.save(measured([0]))
    kept.close()
    assert not kept.folder.exists()
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


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"schema": "other", "content": "{}"},
        {"schema": "featvis.state/1", "content": "{"},
        {"schema": "featvis.state/1", "content": "[" * 10_000},
        {"schema": "featvis.state/1", "content": '{"settings": 3, "skipped": [], "notes": [], "total_stride": null}'},
        {"schema": "featvis.state/1", "content": '{"settings": {}, "skipped": [], "notes": [], "total_stride": 4}'},
        {"schema": "featvis.state/1", "content": '{"settings": {}, "skipped": [], "notes": [], "total_stride": -1}'},
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, metadata):
    path = tmp_path / "part-0.safetensors"
    save_file({"done": torch.zeros(3, dtype=torch.uint8)}, path, metadata)
    with pytest.raises(FeatvisError, match="delete it and start anew"):
        State.load(path)


def test_hashes_tell_networks_and_pictures_apart(tmp_path):
    assert weights_hash(strided(seed=0)) == weights_hash(strided(seed=0)) != weights_hash(strided(seed=1))
    assert len(weights_hash(strided())) == 16
    values = torch.arange(6.0)
    assert len({tensor_hash(t) for t in (values, values.double(), values.view(2, 3), values + 1)}) == 4
    paths = save_pictures(tmp_path, 3)
    assert pictures_hash(paths) != pictures_hash(paths[::-1])
    assert pictures_hash([]) == hashlib.sha256().hexdigest()[:16]
