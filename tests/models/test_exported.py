"""Exported programs: their gradient, what they refuse."""

import zipfile

import pytest
import torch
from helpers.networks import plain_gradient
from helpers.specs import load, refusal
from torch import nn

from featvis.gradients.engine import GradientEngine


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
    """Torch writes a traceback into its log, of which only the cause is kept."""
    with zipfile.ZipFile(exported / "one.pt2") as old, zipfile.ZipFile(tmp_path / "odd.pt2", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("model.json"):
                content = content.replace(b"torch.ops.aten.relu.default", b"torch.ops.mine.relu.default")
            new.writestr(name, content)
    message = refusal(str(tmp_path / "odd.pt2"))
    assert "cannot be loaded" in message
    assert "torch.ops.mine.relu.default" in message
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_exported_programs_that_cannot_be_used(exported, tmp_path):
    assert "carries its own weights" in refusal(str(exported / "one.pt2"), weights="none")
    assert "expected one of (B, C, H, W)" in refusal(str(exported / "signals.pt2"))
    (tmp_path / "text.pt2").write_text("not a program")
    assert "not an exported program" in refusal(str(tmp_path / "text.pt2"))
    whole = (exported / "one.pt2").read_bytes()
    (tmp_path / "half.pt2").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refusal(str(tmp_path / "half.pt2"))
