"""The snippets of docs/monitor.md run as they are printed, with stand-ins for what is around them."""

import re
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from featvis import CheckerboardEnergy

TEXT = (Path(__file__).parents[2] / "docs" / "monitor.md").read_text(encoding="utf-8")
LOOP, CLASSIFIER, LIGHTNING, BOARD = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


class LightningModule(nn.Module):
    """What the snippet needs of Lightning's: `log`."""

    def __init__(self):
        super().__init__()
        self.logged = {}

    def log(self, name, value):
        self.logged[name] = value


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.Flatten(), nn.Linear(64, 5))


def test_snippets_are_short():
    for snippet in (LOOP, CLASSIFIER, LIGHTNING):
        assert len(snippet.splitlines()) <= 15


def test_the_plain_loop(capsys):
    torch.manual_seed(0)
    generator = nn.Sequential(nn.ConvTranspose2d(6, 3, 4), nn.Upsample(scale_factor=4))
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 4, 2, 1))
    batches = [torch.randn(8, 6, 1, 1) for _ in range(101)]
    scope = {"generator": generator, "discriminator": discriminator, "batches": batches, "softplus": softplus}
    exec(LOOP, scope)
    assert scope["energies"].pictures == 3 * 8
    assert re.fullmatch(r"E\(4\) = -?\d\.\d{4} ± \d\.\d{4}\n", capsys.readouterr().out)


def test_the_classifier():
    metric, criterion, model = CheckerboardEnergy(4), nn.CrossEntropyLoss(), classifier()
    for step in range(52):
        images, labels = torch.randn(4, 3, 16, 16), torch.randint(0, 5, (4,))
        exec(CLASSIFIER, dict(locals()))
        assert (images.grad is not None) == (step % 50 == 0)
    assert metric.compute().pictures == 8


def test_the_lightning_module():
    scope = {"lightning": types.SimpleNamespace(LightningModule=LightningModule), "cross_entropy": cross_entropy}
    exec(LIGHTNING, scope)
    module = scope["Watched"]()
    module.model, module.metric = classifier(), CheckerboardEnergy(4)
    for number in range(51):
        module.training_step((torch.randn(8, 3, 16, 16), torch.randint(0, 5, (8,))), number).backward()
        module.on_after_backward()
    assert module.metric.compute().pictures == 16
    module.on_train_epoch_end()
    assert module.logged.keys() == {"checkerboard/4"}
    assert isinstance(module.logged["checkerboard/4"], float)
    with pytest.raises(Exception, match="no gradient was given"):
        module.metric.compute()


def test_the_board_snippet_compiles():
    assert "write_board" in BOARD
    compile(BOARD, "docs/monitor.md", "exec")
