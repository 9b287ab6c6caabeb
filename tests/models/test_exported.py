"""Exported programs: their gradient, which of them load, which are refused."""

import io
import random
import zipfile

import pytest
import torch
from helpers.hostile import in_json, in_model, rewritten
from helpers.networks import plain_gradient
from helpers.refusals import answer_or_line
from helpers.specs import load, refusal
from torch import nn

from featvis.compat import import_torchvision
from featvis.gradients.engine import GradientEngine
from featvis.models.exported import load_exported
from featvis.models.specs import load_model
from featvis.models.zoo import ZOO


class Eager(nn.Module):
    """Two strides and a batch norm; the head adapts to any size."""

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(channels, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 8, 3, 2, 1), nn.Linear(8, 5)

    def forward(self, images):
        features = torch.relu(self.second(torch.relu(self.norm(self.first(images)))))
        return self.head(features.mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    batch = torch.export.Dim("batch", min=1, max=64)
    for name, count, dynamic in (("one", 1, None), ("two", 2, None), ("any", 2, ({0: batch},))):
        program = torch.export.export(Eager().eval(), (torch.rand(count, 3, 24, 32),), dynamic_shapes=dynamic)
        torch.export.save(program, folder / f"{name}.pt2")
    signals = nn.Sequential(nn.Conv1d(3, 2, 3), nn.Flatten())
    torch.export.save(torch.export.export(signals, (torch.rand(1, 3, 8),)), folder / "signals.pt2")
    return folder


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize(("name", "count"), [("one", 1), ("one", 3), ("two", 3), ("any", 3)])
def test_an_exported_program_has_the_gradient_of_its_network(exported, name, count):
    model = load(str(exported / f"{name}.pt2"))
    assert (model.input_size, model.weights, model.resize) == ((3, 24, 32), "exported", 24)
    images = torch.randn(count, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    reference = plain_gradient(Eager().eval(), images)
    engine = GradientEngine(model, prepare=False)
    gradient = engine(images)
    assert torch.allclose(gradient, reference, rtol=1e-4, atol=1e-6)
    # A planted fault: another class has another gradient.
    assert not torch.allclose(gradient, plain_gradient(Eager().eval(), images, 1), rtol=1e-4, atol=1e-6)
    assert engine.total_stride == 4


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_exported_program_with_several_outputs(tmp_path):
    class Several(Eager):
        def forward(self, images):
            return {"aux": images.mean((1, 2, 3)), "out": super().forward(images)}

    torch.export.save(torch.export.export(Several().eval(), (torch.rand(1, 3, 24, 32),)), tmp_path / "several.pt2")
    images = torch.rand(2, 3, 24, 32)
    found = load(str(tmp_path / "several.pt2")).module(images)
    assert torch.allclose(found["out"], Eager().eval()(images), atol=1e-5)
    assert torch.allclose(found["aux"], images.mean((1, 2, 3)), atol=1e-6)


def test_an_operation_that_is_not_known_is_one_line(exported, tmp_path, caplog):
    """It is named before torch is asked."""
    with zipfile.ZipFile(exported / "one.pt2") as old, zipfile.ZipFile(tmp_path / "odd.pt2", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("model.json"):
                content = content.replace(b"torch.ops.aten.relu.default", b"torch.ops.mine.relu.default")
            new.writestr(name, content)
    message = refusal(str(tmp_path / "odd.pt2"))
    assert "asks for the operator 'torch.ops.mine.relu.default'" in message
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_exported_programs_that_cannot_be_used(exported, tmp_path):
    assert "carries its own weights" in refusal(str(exported / "one.pt2"), weights="none")
    assert "expected one of (B, C, H, W)" in refusal(str(exported / "signals.pt2"))
    (tmp_path / "text.pt2").write_text("not a program")
    assert "not an exported program" in refusal(str(tmp_path / "text.pt2"))
    whole = (exported / "one.pt2").read_bytes()
    (tmp_path / "half.pt2").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(str(tmp_path / "half.pt2"))


@pytest.mark.parametrize(
    ("add", "said"),
    [
        ({"ROOT/data/aotinductor/model/a.so": b""}, "compiled libraries"),
        ({"ROOT/data/constants/custom_obj_0": b""}, "pickled objects"),
        ({"version": b"8.5"}, "beside its one folder"),
        ({"ROOT/models/MODEL.json": b"{}"}, "twice"),
        ({"ROOT/models/second.txt": b"cos\nsystem\n"}, "'models/second.txt', which is no part"),
        ({"ROOT/data/weights/more.json": b"not json"}, "'data/weights/more.json', which is no part"),
        ({"ROOT/../escaped": b""}, "/../escaped', which leaves its folder"),
        ({"beside": b""}, "beside its one folder"),
    ],
)
def test_odd_archives(exported, tmp_path, add, said):
    assert said in refusal(str(rewritten(exported / "one.pt2", tmp_path / "a.pt2", add=add)))


def test_files_that_are_no_archives(exported, tmp_path):
    path = tmp_path / "a.pt2"
    assert "no exported program" in refusal(str(path))
    whole = (exported / "one.pt2").read_bytes()
    for content in (b"", b"text\n", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        assert "is not an exported program, or is damaged" in refusal(str(path))
    torch.save(Eager().state_dict(), path)
    assert "holds no exported program" in refusal(str(path))


def test_damaged_archives_give_an_answer_or_one_line(exported, tmp_path):
    whole = (exported / "one.pt2").read_bytes()
    numbers = random.Random(0)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        (tmp_path / "a.pt2").write_bytes(damaged)
        assert answer_or_line(load_model, str(tmp_path / "a.pt2"), device="cpu")


def test_a_long_description_is_not_read(exported, tmp_path):
    large = in_model(lambda document: document.update(torch_version=" " * 2**23))
    assert "describes itself in" in refusal(str(rewritten(exported / "one.pt2", tmp_path / "b.pt2", large)))


def test_weights_without_values_are_refused(exported, tmp_path):
    """They would be made as large as the description says."""

    def large(document):
        next(iter(document["config"].values()))["tensor_meta"]["sizes"] = [{"as_int": 10**11}]

    edit = in_json("data/weights/model_weights_config.json", large)
    empty = lambda name, content: b"" if name == "data/weights/weight_0" else edit(name, content)  # noqa: E731
    assert "holds no values for 'first.weight'" in refusal(
        str(rewritten(exported / "one.pt2", tmp_path / "a.pt2", empty))
    )
    assert "cannot be loaded" in refusal(str(rewritten(exported / "one.pt2", tmp_path / "b.pt2", edit)))


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_weights_that_older_versions_pickled(exported, tmp_path):
    """As a pickle of plain tensors, which is read as one."""
    stream = io.BytesIO()
    module = Eager()
    torch.save(dict(torch.export.export(module.eval(), (torch.rand(1, 3, 24, 32),)).state_dict), stream)
    drop = lambda name, content: None if name.startswith("data/weights/") else content  # noqa: E731
    path = rewritten(exported / "one.pt2", tmp_path / "a.pt2", drop, {"ROOT/data/weights/model.pt": stream.getvalue()})
    images = torch.rand(1, 3, 24, 32)
    assert torch.allclose(load(str(path)).module(images), module.eval()(images), atol=1e-6)


HONEST = (
    *(f"zoo:{name}" for name, card in ZOO.items() if card.kind != "generator"),
    *("efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"),
)
"""More, and timm's, in `experiments/exported_programs.py`."""


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", HONEST)
def test_what_torch_exports_loads_and_gives_the_same(name, tmp_path):
    import_torchvision()
    kind = ZOO[name.removeprefix("zoo:")].kind if name.startswith("zoo:") else None
    network = load_model(name, weights="none", device="cpu", kind=kind).module
    images = torch.rand(1, 3, 64, 64) if kind is None else torch.rand(1, 3, 32, 32)
    torch.export.save(torch.export.export(network, (images,)), tmp_path / "net.pt2")
    module, _ = load_exported(str(tmp_path / "net.pt2"))
    with torch.no_grad():
        assert torch.equal(module(images), network(images))
