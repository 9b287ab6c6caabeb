"""Weights are read without running what is in the file, and fit strictly or are refused with the first names that do not."""

import pickle
import random
from collections import OrderedDict

import pytest
import torch
from helpers.refusals import answer_or_line, refusal
from safetensors.torch import save_file
from torch import nn

from featvis.models.checkpoints import check_finite, load_strictly, read_checkpoint


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


def other():
    """The same architecture with other weights."""
    module = network()
    with torch.no_grad():
        for tensor in (*module.parameters(), module[1].running_mean):
            tensor.add_(1)
    return module


def same(module, state):
    return all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


class Bomb:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def bomb(tmp_path):
    """A bomb, tried once: loaded as Python loads pickles, it goes off."""
    mark = tmp_path / "exploded"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()
    mark.unlink()
    yield Bomb(mark)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_formats(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    state = other().state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    module = network()
    load_strictly(module, read_checkpoint(path), "it")
    assert same(module, state)
    assert not same(network(), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        lambda state: {"model": state, "loss": 0.5},
        lambda state: {"model_state_dict": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"module.backbone.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: OrderedDict(reversed(state.items())),
        lambda state: {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")},
        lambda state: {name: value.double() for name, value in state.items()},
    ],
)
def test_training_checkpoints_and_prefixes(tmp_path, wrap):
    state = other().state_dict()
    torch.save(wrap(state), tmp_path / "a.pth")
    module = network()
    load_strictly(module, read_checkpoint(tmp_path / "a.pth"), "it")
    assert same(module, state)


def test_half_precision_is_widened():
    state = {name: value.half() if value.is_floating_point() else value for name, value in other().state_dict().items()}
    module = network()
    load_strictly(module, state, "it")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, state["0.weight"].float())


def test_a_prefix_that_is_the_networks_own_stays():
    module = nn.ModuleDict({"module": nn.Linear(2, 2)})
    state = {name: value + 1 for name, value in module.state_dict().items()}
    load_strictly(module, state, "it")
    assert same(module, state)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("4.bias"), "missing 4.bias;"),
        (lambda state: [state.pop("0.bias"), state.pop("4.bias")], "missing 0.bias and 1 more;"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected extra;"),
        (lambda state: state.update({"4.weight": torch.zeros(9, 4)}), "misshapen 4.weight (9x4 for 5x4);"),
        (lambda state: state.update({"1.num_batches_tracked": torch.zeros(2)}), "misshapen 1.num_batches_tracked"),
        (
            lambda state: state.update({"5.bias": state.pop("4.bias"), "0.bias": torch.tensor(0.0)}),
            "missing 4.bias; unexpected 5.bias; misshapen 0.bias (scalar for 4);",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change, said):
    state = other().state_dict()
    change(state)
    module = network()
    message = refusal(load_strictly, module, state, "'a.pth'")
    assert said in message
    assert message.startswith("the weights of 'a.pth' do not fit the network: ")
    assert same(module, network().state_dict())


def test_extra_state_is_no_weight():
    class Counted(nn.Linear):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            pass

    module = Counted(2, 2)
    state = {name: value + 1 for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    load_strictly(module, state, "it")
    assert torch.equal(module.weight, state["weight"])
    check_finite(module, "it")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["4.weight", "1.running_var"])
def test_weights_that_are_not_finite_are_named(bad, name):
    module = network()
    check_finite(module, "it")
    with torch.no_grad():
        module.state_dict()[name].view(-1)[-1] = bad
    assert repr(name) in refusal(check_finite, module, "it")


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["alone", "beside"])
def test_a_full_pickle_is_not_run(tmp_path, bomb, suffix, zipped, where):
    path = tmp_path / f"bomb{suffix}"
    content = bomb if where == "alone" else {"state_dict": network().state_dict(), "args": bomb}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    message = refusal(read_checkpoint, path)
    assert f"is a pickle of Python objects ({open.__module__}.open" in message
    assert "save model.state_dict() instead" in message


def test_a_plain_pickle_is_not_run(tmp_path, bomb):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(bomb))
    refusal(read_checkpoint, tmp_path / "a.pth")


def test_a_whole_module_is_not_run(tmp_path):
    torch.save(network(), tmp_path / "a.pth")
    assert "(torch.nn.modules.container.Sequential)" in refusal(read_checkpoint, tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_is_not_a_checkpoint(tmp_path):
    torch.jit.trace(network().eval(), torch.rand(1, 3, 8, 8)).save(tmp_path / "a.pt")
    assert "TorchScript" in refusal(read_checkpoint, tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello, this is no checkpoint\n", b"\x80", b"PK\x03\x04", b"{}", b"[1, 2]"])
def test_other_files(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    message = refusal(read_checkpoint, path)
    assert message.startswith(repr(str(path)))
    assert "is not a checkpoint that PyTorch or safetensors wrote, or is damaged" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    state = network().state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for part in (0.01, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * part)])
        assert "is damaged" in refusal(read_checkpoint, path)


@pytest.mark.parametrize("suffix", [".pth", ".old.pth", ".safetensors"])
def test_damaged_bytes_give_an_answer_or_one_line(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    state = {"weight": torch.ones(3)}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=suffix == ".pth")
    whole = path.read_bytes()
    numbers = random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(numbers.randint(1, 3)):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        path.write_bytes(damaged)
        assert answer_or_line(read_checkpoint, path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(2)], torch.zeros(2), {"state_dict": {}}, None])
def test_files_without_named_tensors(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    assert "holds no named tensors" in refusal(read_checkpoint, tmp_path / "a.pth")


def test_empty_safetensors(tmp_path):
    save_file({}, tmp_path / "a.safetensors")
    assert "holds no named tensors" in refusal(read_checkpoint, tmp_path / "a.safetensors")


def test_missing_files(tmp_path):
    (tmp_path / "folder.pth").mkdir()
    for name in ("missing.pth", "folder.pth"):
        assert "no weights file" in refusal(read_checkpoint, tmp_path / name)


COMPLEX = torch.complex(torch.ones(4, 3, 3, 3), torch.ones(4, 3, 3, 3))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("0.weight", torch.ones(4, 3, 3, 3, dtype=torch.bool), "0.weight (bool for float32)"),
        ("0.weight", torch.ones(4, 3, 3, 3, dtype=torch.int64), "0.weight (int64 for float32)"),
        ("0.weight", torch.ones(4, 3, 3, 3, dtype=torch.uint8), "0.weight (uint8 for float32)"),
        ("0.weight", COMPLEX, "0.weight (complex64 for float32)"),
        ("1.num_batches_tracked", torch.tensor(1.5), "1.num_batches_tracked (float32 for int64)"),
        ("1.num_batches_tracked", torch.tensor(float("nan")), "1.num_batches_tracked (float32 for int64)"),
        ("1.num_batches_tracked", torch.tensor(1j), "1.num_batches_tracked (complex64 for int64)"),
        ("1.num_batches_tracked", torch.tensor(True), "1.num_batches_tracked (bool for int64)"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_values_of_another_kind_are_not_cast(tmp_path, suffix, name, value, said):
    state = {**other().state_dict(), name: value}
    path = tmp_path / f"a{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    module = network()
    message = refusal(load_strictly, module, read_checkpoint(path), "'a.pth'")
    assert f"of another kind {said}" in message
    assert same(module, network().state_dict())


def test_a_whole_checkpoint_in_half_precision_keeps_its_counts():
    state = {name: value.half() for name, value in other().state_dict().items()}
    module = network()
    load_strictly(module, state, "it")
    assert module[1].num_batches_tracked == other()[1].num_batches_tracked


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda: torch.empty(4, 3, 3, 3, device="meta"), "a meta tensor"),
        (lambda: torch.eye(4).to_sparse(), "a sparse tensor"),
        (lambda: torch.eye(4).to_sparse_csr(), "a sparse tensor"),
        (lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), "a quantised tensor"),
    ],
)
def test_tensors_without_plain_values_are_named(tmp_path, value, said):
    torch.save({"0.weight": value()}, tmp_path / "a.pth")
    message = refusal(read_checkpoint, tmp_path / "a.pth")
    assert f"'0.weight' as {said}" in message


def test_names_of_a_file_do_not_reach_the_terminal(tmp_path):
    torch.save({"0.weight\x1b[2J\n": torch.ones(2)}, tmp_path / "a.pth")
    message = refusal(load_strictly, network(), read_checkpoint(tmp_path / "a.pth"), "'a.pth'")
    assert message.isprintable()
    assert "0.weight\\x1b[2J\\n" in message
