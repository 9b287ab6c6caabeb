"""The torchmetrics face says what the sums say, through everything that torchmetrics does with it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from copy import deepcopy

import pytest
import torch
import torch.multiprocessing as multiprocessing
from helpers.energies import assert_same, noise
from helpers.running import save_pictures

from featvis.errors import FeatvisError
from featvis.measure.metric import CheckerboardEnergy
from featvis.measure.sums import EnergySums, checkerboard_energy


@pytest.fixture(autouse=True)
def _quietly():
    """No step of the contract makes torchmetrics warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def measured(numbers: list[int], total_stride: int = 4) -> CheckerboardEnergy:
    metric = CheckerboardEnergy(total_stride)
    metric.update(noise(40, 3, 16, 16)[numbers], numbers)
    return metric


@pytest.mark.parametrize(
    "convert",
    [
        lambda metric: metric.set_dtype(torch.float32),
        lambda metric: metric.set_dtype(torch.float16),
        lambda metric: metric.to(torch.bfloat16),
        lambda metric: metric.half(),
        lambda metric: torch.nn.ModuleDict({"metric": metric}).to(torch.float16)["metric"],
    ],
)
def test_its_sums_stay_in_float64(convert) -> None:
    expected = measured(list(range(40))).compute()
    metric = convert(measured(list(range(10))))
    metric.update(noise(40, 3, 16, 16)[10:], list(range(10, 40)))
    assert_same(metric.compute(), expected)


def test_it_refuses_what_the_sums_refuse() -> None:
    for given in (noise(4, 3, 16, 16).numpy(), noise(4, 3, 16, 16) > 0):
        with pytest.raises(FeatvisError, match="gradients of"):
            CheckerboardEnergy(4).update(given)


def test_it_computes_what_the_sums_do() -> None:
    gradients = noise(12, 3, 16, 16)
    metric, sums = CheckerboardEnergy(4), EnergySums(4)
    for target in (metric, sums):
        target.update(gradients[:5])
        target.update(gradients[5:])
    assert repr(metric.compute()) == repr(sums.compute())
    other = measured(list(range(12)))
    assert repr(metric.difference(other)) == repr(sums.difference(other.sums))
    assert all(torch.equal(value, sums.tensors()[name]) for name, value in metric.state_dict().items())


def test_forward_gives_the_batch_and_keeps_all() -> None:
    gradients = noise(24, 3, 16, 16)
    metric = CheckerboardEnergy(4)
    assert_same(metric(gradients[:12], range(12)), checkerboard_energy(gradients[:12], 4))
    metric(gradients[12:], range(12, 24))
    assert_same(metric.compute(), checkerboard_energy(gradients, 4))


def test_merging_before_and_after_an_update_and_a_compute_gives_the_whole() -> None:
    whole = measured(list(range(30))).compute()
    one, two, empty = measured(list(range(0, 30, 2))), measured(list(range(1, 30, 2))), CheckerboardEnergy(4)
    before = deepcopy(two.state_dict())
    empty.merge_state(two)
    empty.merge_state(one.state_dict())
    assert_same(empty.compute(), whole)
    one.compute()
    one.merge_state(two)
    assert_same(one.compute(), whole)
    assert all(torch.equal(value, before[name]) for name, value in two.state_dict().items())
    late = CheckerboardEnergy(4)
    late.merge_state(two)
    late.update(noise(40, 3, 16, 16)[:30:2], range(0, 30, 2))
    assert_same(late.compute(), whole)


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


def test_reset_empties_and_a_copy_is_its_own() -> None:
    metric = measured(list(range(8)))
    copy = metric.clone()
    metric.reset()
    assert copy.compute().pictures == 8
    assert metric.sums.pictures == 0
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(FeatvisError, match="no gradient"),
    ):
        metric.compute()


def test_one_phase_stays_a_table() -> None:
    metric = CheckerboardEnergy(1)
    metric.update(noise(8, 1, 30, 30))
    assert metric.compute().profile.tolist() == [[1.0]]
    assert pickle.loads(pickle.dumps(metric.compute())).profile.shape == (1, 1)


def test_casting_leaves_the_sums_in_double() -> None:
    metric = measured(list(range(8)))
    before = repr(metric.compute())
    assert repr(metric.float().compute()) == before
    assert {value.dtype for value in metric.state_dict().values()} == {torch.float64}


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    gradients = noise(21, 3, 16, 16)
    metric = CheckerboardEnergy(4)
    metric.update(gradients[rank::2], range(rank, 21, 2))
    torch.save(metric.compute(), f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path) -> None:
    # Both processes are forked from one that has imported what they need.
    start_from = multiprocessing.get_context("forkserver")
    start_from.set_forkserver_preload(["featvis.measure.metric"])
    multiprocessing.start_processes(_rank, args=(str(tmp_path),), nprocs=2, start_method="forkserver")
    alone = checkerboard_energy(noise(21, 3, 16, 16), 4)
    for rank in range(2):
        assert_same(torch.load(tmp_path / f"rank{rank}.pt", weights_only=False), alone)


def test_auditing_needs_no_torchmetrics(tmp_path) -> None:
    torch.manual_seed(0)
    code = (
        "import sys\n"
        "from featvis.commands.cli import main\n"
        "try:\n"
        "    main(['audit', 'zoo:twin-k3s2', sys.argv[1], '--json', sys.argv[2]])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "assert 'torchmetrics' not in sys.modules\n"
        "import featvis\n"
        "featvis.CheckerboardEnergy\n"
        "assert 'torchmetrics' in sys.modules\n"
    )
    (tmp_path / "pictures").mkdir()
    save_pictures(tmp_path / "pictures", 2)
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pictures"), str(tmp_path / "audit.json")],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "audit.json").exists()
