"""Weights are read without running what is in the file, and fit strictly or are refused with the first names that do not."""

import ast
import contextlib
import io
import json
import pickle
import random
import zipfile
from collections import OrderedDict

import pytest
import torch
from helpers.refusals import refusal
from safetensors.torch import save_file
from torch import nn

from featvis.errors import FeatvisError
from featvis.models.checkpoints import check_finite, load_strictly, read_checkpoint
from featvis.models.exported import check_exported
from featvis.models.specs import load_model


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


def answer_or_line(call, *arguments):
    """What a call gives, or the one line with which it refuses; anything else is raised."""
    try:
        return call(*arguments)
    except FeatvisError as error:
        message = str(error)
    assert "\n" not in message
    return message


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


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Exported programs of one network: for one picture, and for any number."""
    folder = tmp_path_factory.mktemp("exported")
    module = network().eval()
    images = torch.rand(2, 3, 16, 16)
    torch.export.save(torch.export.export(module, (images[:1],)), folder / "one.pt2")
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.export.save(torch.export.export(module, (images,), dynamic_shapes=shapes), folder / "any.pt2")
    return folder


def rewritten(source, target, edit=lambda name, content: content, add=()):
    """A copy of an archive with its files edited, and some added; "ROOT" stands for its folder."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            content = edit(name.removeprefix(f"{root}/"), old.read(name))
            if content is not None:
                new.writestr(name.replace(root, target.stem, 1), content)
        for name, content in dict(add).items():
            new.writestr(name.replace("ROOT", target.stem), content)
    return target


def in_model(change):
    """An edit of the JSON that describes the program."""

    def edit(name, content):
        if name != "models/model.json":
            return content
        document = json.loads(content)
        return json.dumps(change(document) or document)

    return edit


def renamed(old, new):
    """An edit that gives a name or expression of the program another text."""

    def edit(name, content):
        if name != "models/model.json":
            return content
        assert json.dumps(old) in content.decode()
        return content.decode().replace(json.dumps(old), json.dumps(new))

    return edit


SYMBOL = "Symbol('{}', positive=True, integer=True)"


def symbol_of(archive):
    with zipfile.ZipFile(archive) as content:
        model = next(content.read(name).decode() for name in content.namelist() if name.endswith("models/model.json"))
    return next(SYMBOL.format(f"s{number}") for number in range(1000) if SYMBOL.format(f"s{number}") in model)


def run_program(path):
    """Load a program as featvis does, and run it; code in it that goes unnoticed goes off here."""
    return load_model(str(path), device="cpu").module(torch.zeros(1, 3, 16, 16))


def test_honest_archives_pass(archives, tmp_path):
    expected = network().eval()(torch.zeros(1, 3, 16, 16))
    for name in ("one.pt2", "any.pt2"):
        check_exported(archives / name)
        copied = rewritten(archives / name, tmp_path / name)
        assert torch.allclose(run_program(copied), expected, atol=1e-6)


@pytest.mark.parametrize(
    "place",
    ["data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt", "data/weights/MODEL.PT"],
)
def test_pickles_in_archives_are_not_run(archives, tmp_path, bomb, place):
    """Torch's loader runs those, after it failed to read them as tensors."""
    stream = io.BytesIO()
    torch.save({"weight": bomb}, stream)
    drop = lambda name, content: None if name == place else content  # noqa: E731
    path = rewritten(archives / "one.pt2", tmp_path / "a.pt2", drop, {f"ROOT/{place}": stream.getvalue()})
    assert "pickled objects, which are not run" in refusal(run_program, path)


def test_the_bombs_are_live(archives, tmp_path):
    """Torch itself runs what the tests above and below plant, so that a refusal means something."""
    mark = tmp_path / "exploded"
    stream = io.BytesIO()
    torch.save({"weight": Bomb(mark)}, stream)
    planted = {
        "pickle": rewritten(
            archives / "one.pt2", tmp_path / "p.pt2", add={"ROOT/data/weights/model.pt": stream.getvalue()}
        ),
        "expression": rewritten(
            archives / "any.pt2",
            tmp_path / "e.pt2",
            renamed(symbol_of(archives / "any.pt2"), call_without_quotes(mark)),
        ),
    }
    for name, path in planted.items():
        with contextlib.suppress(Exception):
            torch.export.load(path)
        assert mark.exists(), name
        mark.unlink()


def call_without_quotes(mark):
    """open(mark, "w") in letters, digits, brackets and plus signs only."""
    text = lambda content: "+".join(f"chr({ord(letter)})" for letter in content)  # noqa: E731
    return f"open({text(str(mark))},{text('w')})"


def test_guards_are_not_run(archives, tmp_path):
    mark = tmp_path / "exploded"
    guards = in_model(lambda document: document.update(guards_code=[f"open({str(mark)!r}, 'w') is not None"]))
    run_program(rewritten(archives / "one.pt2", tmp_path / "a.pt2", guards))
    assert not mark.exists()


@pytest.mark.parametrize(
    "expression", ["{letters}", "open('a', 'w')", "().__class__", "exit()", "x.y", "[1][0]", "1 if"]
)
def test_expressions_that_are_no_sizes_are_not_evaluated(archives, tmp_path, expression):
    mark = tmp_path / "exploded"
    expression = expression.replace("{letters}", call_without_quotes(mark))
    path = rewritten(archives / "any.pt2", tmp_path / "a.pt2", renamed(symbol_of(archives / "any.pt2"), expression))
    assert "not evaluated" in refusal(run_program, path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "expression",
    ["s0", "2*s0 + 1", "Mul(Integer(2), Symbol('s0', positive=True))", "Max(1, s0 // 2)", "Eq(s0, 3)", "s0 <= 3"],
)
def test_expressions_of_sizes_pass(archives, tmp_path, expression):
    ast.parse(expression)
    edit = in_model(lambda document: document.update(expr_str=expression))
    check_exported(rewritten(archives / "one.pt2", tmp_path / "a.pt2", edit))


@pytest.mark.parametrize("name", ["input", "p_0_bias", "conv2d"])
def test_names_that_would_become_code_are_refused(archives, tmp_path, name):
    mark = tmp_path / "exploded"
    path = rewritten(archives / "one.pt2", tmp_path / "a.pt2", renamed(name, f"x=open({str(mark)!r}, 'w')"))
    assert "holds the name" in refusal(run_program, path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda document: document.update(more=[{"config": {"w": {"path_name": "w", "use_pickle": True}}}]), "pickled"),
        (lambda document: document.update(more=[{"use_pickle": 1}]), "pickled"),
        (lambda document: document.update(path_name="custom_obj_0"), "pickled objects"),
        (lambda document: document.update(path_name="opaque_obj_0"), "pickled objects"),
        (lambda document: document.update(in_spec='[1, {"__enum__": true, "fqn": "os:x"}]'), "Python module"),
    ],
)
def test_marks_of_code_are_refused(archives, tmp_path, change, said):
    path = rewritten(archives / "one.pt2", tmp_path / "a.pt2", in_model(change))
    assert said in refusal(check_exported, path)


@pytest.mark.parametrize(
    ("add", "said"),
    [
        ({"ROOT/data/aotinductor/model/a.so": b""}, "compiled libraries"),
        ({"version": b"8.5"}, "torch 2.7 and older"),
        ({"ROOT/models/MODEL.json": b"{}"}, "twice"),
        ({"ROOT/models/second.txt": b"cos\nsystem\n"}, "is damaged"),
        ({"ROOT/data/weights/more.json": b"not json"}, "is damaged"),
    ],
)
def test_odd_archives(archives, tmp_path, add, said):
    assert said in refusal(check_exported, rewritten(archives / "one.pt2", tmp_path / "a.pt2", add=add))


def test_files_that_are_no_archives(archives, tmp_path):
    path = tmp_path / "a.pt2"
    assert "no exported program" in refusal(check_exported, path)
    whole = (archives / "one.pt2").read_bytes()
    for content in (b"", b"text\n", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        assert "is not an exported program, or is damaged" in refusal(check_exported, path)
    torch.save(network().state_dict(), path)
    assert "holds no exported program" in refusal(check_exported, path)


def test_damaged_archives_give_an_answer_or_one_line(archives, tmp_path):
    whole = (archives / "one.pt2").read_bytes()
    numbers = random.Random(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        (tmp_path / "a.pt2").write_bytes(damaged)
        assert answer_or_line(load_model, str(tmp_path / "a.pt2"))
