import pytest
from helpers.running import ZOO, files_below, printed, refused, save_pictures
from safetensors import safe_open

from featvis.models.specs import load_model
from featvis.repair.surgery import FIXES


def test_fix_says_what_changed_and_saves_weights_that_load(tmp_path):
    saved = tmp_path / "fixed.safetensors"
    said = printed("fix", ZOO, "--with", "blurpool", "--save", saved)
    lines = said.splitlines()
    assert lines[0].startswith(
        f"{ZOO} with blurpool: 3 layers changed; the gradient's checkerboard is lowered, measured E(2) 0.01"
    )
    assert "expected energy of the input gradient" in said
    assert "forward: outputs change; retrain or fine-tune" in said
    assert said.count("dense, binomial blur 4") == 3
    assert "outputs at 8 noise inputs: top class kept at " in said
    assert files_below(tmp_path) == {"fixed.safetensors"}
    with safe_open(saved, "pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "spec": ZOO,
            "weights": "zoo",
            "fixes": "blurpool",
            "images": "8x3x32x32",
        }
    assert load_model(ZOO, str(saved)).module.featvis_fixes == ("blurpool",)
    assert "the fix 'blurpool' is already applied" in refused("fix", ZOO, "--weights", saved, "--with", "blurpool")
    assert f"note: {saved} holds weights of a repaired copy: applied blurpool before" in printed(
        "fix", ZOO, "--weights", saved, "--with", "backward-even"
    )


def test_fixes_apply_in_the_order_given_and_at_pictures(tmp_path):
    paths = save_pictures(tmp_path, 3)
    said = printed("fix", ZOO, "--with", "smooth-hold", "--with", "even-kernel", "--pictures", tmp_path, "--count", 2)
    assert said.startswith(f"{ZOO} with smooth-hold, even-kernel: 6 layers changed")
    assert "outputs at 2 pictures" in said
    assert len(paths) == 3


def test_a_fix_of_the_backward_pass_is_measured():
    said = printed("fix", ZOO, "--with", "backward-blur")
    assert "the gradient's checkerboard is lowered, measured E(2) 0.01" in said.splitlines()[0]
    assert "root mean square change 0," in said
    assert "expected energy" not in said


NETWORK = """
from torch import nn
import torch.nn.functional as F

class Calls(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        return F.max_pool2d(self.second(self.first(x)), 3, 2)

class Even(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AvgPool2d(2), nn.Conv2d(3, 4, 3, padding=1))

class Pooled(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2))

class Up(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1))
"""


@pytest.fixture
def networks(tmp_path):
    (tmp_path / "networks.py").write_text(NETWORK)
    return lambda name: f"{tmp_path}/networks.py:{name}"


def test_what_is_not_reached_is_counted_and_listed(networks):
    said = printed("fix", networks("Calls"), "--with", "even-kernel", "--size", 64)
    assert "2 layers changed, 1 not reached" in said
    row = next(line for line in said.splitlines() if "not reached" in line and "(network)" in line)
    assert "maximum pooling 3 stride 2" in row
    assert "a function call in the code of Calls" in row


def test_a_fix_that_lowers_nothing_says_why(networks):
    said = printed("fix", networks("Even"), "--with", "blurpool", "--size", 64)
    assert "no checkerboard to lower in the gradient, measured E(2) 0 ± 0 -> " in said.splitlines()[0]
    assert "nothing to lower: the energy was " in said
    said = printed("fix", networks("Pooled"), "--with", "l2pool", "--size", 64)
    assert (
        "E(4) not lowered: windows that their stride does not divide are still there: 1 x convolution 3 stride 2"
        in said
    )


def test_outputs_of_upsampling_networks_are_measured(networks):
    said = printed("fix", networks("Up"), "--with", "resize-nearest", "--size", 64)
    assert "measured energy of the outputs, each channel's mean taken off, 8 inputs" in said
    assert "; the outputs' checkerboard is lowered, measured E(2) 0." in said.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (ZOO, "--with", "l2pool"),
            "the fix 'l2pool' finds nothing to change: it looks for maximum pooling; this network has only",
        ),
        ((ZOO, "--with", "blurpool", "--with", "blurpool"), "the fix 'blurpool' is already applied to this network"),
        ((ZOO, "--with", "blurpool", "--save", "x.pth"), "--save 'x.pth': weights are written as safetensors"),
        ((ZOO, "--with", "unicorn"), "'unicorn' is not one of 'blurpool'"),
        ((ZOO,), "Missing option '--with'"),
        ((ZOO, "--with", "blurpool", "--pictures", "nowhere"), "'nowhere'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, said):
    assert said in refused("fix", *arguments)


def test_every_fix_can_be_chosen():
    from featvis.commands.fix import fix

    choices = next(parameter for parameter in fix.params if parameter.name == "names").type.choices
    assert list(choices) == list(FIXES)
