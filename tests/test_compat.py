"""torchvision is imported as it is, or with its box operators declared first, or refused in one line."""

import json
import subprocess
import sys

import pytest

from featvis.compat import import_torchvision

MISSING_OPERATOR = """
import torchvision.part, torch
if not hasattr(torch.ops.torchvision, "nms"):
    raise RuntimeError("operator torchvision::nms does not exist")
torch.ops.torchvision.qnms
"""

PACKAGES = {
    "works": "",
    "operators missing": MISSING_OPERATOR,
    "operators missing twice": "raise RuntimeError('operator torchvision::nms does not exist')",
    "another build": "raise RuntimeError('built for\\nanother torch')",
    "a dependency missing": "import surely_missing",
    "a library missing": "raise ImportError('libcudart.so.12: cannot open shared object file')",
    "a symbol missing": "raise OSError('undefined symbol: _ZN5torch')",
    "an older torch": "import torch; torch.surely_missing",
}

EACH = """
import json, sys
from featvis import compat
from featvis.errors import FeatvisError
said = {}
for folder in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    compat._declared.clear()
    sys.path.insert(0, folder)
    if not folder:
        sys.modules["torchvision"] = None
    try:
        module = compat.import_torchvision()
        said[folder] = f"{compat.import_torchvision() is module} {len(compat._declared)}"
    except FeatvisError as error:
        said[folder] = str(error)
    sys.path.remove(folder)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What import_torchvision does where each of these packages shadows the installed one, in one fresh interpreter."""
    folders = {"not installed": ""}
    for name, source in PACKAGES.items():
        folder = tmp_path_factory.mktemp("shadow")
        (folder / "torchvision").mkdir()
        (folder / "torchvision" / "part.py").write_text("")
        (folder / "torchvision" / "__init__.py").write_text(source)
        folders[name] = str(folder)
    command = [sys.executable, "-c", EACH, *folders.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return {name: said[folder] for name, folder in folders.items()}


def test_one_import_serves_all():
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision is sys.modules["torchvision"]
    assert torchvision.models.list_models()


def test_operators_are_declared_only_where_they_are_missing(outcomes):
    assert outcomes["works"] == "True 0"
    assert outcomes["operators missing"] == "True 1"


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("operators missing twice", "torchvision::nms does not exist"),
        ("another build", "built for another torch"),
        ("a dependency missing", "No module named 'surely_missing'"),
        ("a library missing", "libcudart.so.12"),
        ("a symbol missing", "undefined symbol"),
        ("an older torch", "surely_missing"),
        ("not installed", "torchvision"),
    ],
)
def test_what_does_not_fit_is_one_line(outcomes, package, said):
    message = outcomes[package]
    assert message.startswith("torchvision cannot be imported (")
    assert said in message
    assert "install the one that fits torch" in message
    assert "\n" not in message


FACTORIES = {
    "at the top": "import torchvision\ndef make():\n    return torchvision.models.resnet18()\n",
    "within the function": "def make():\n    import torchvision\n    return torchvision.models.resnet18()\n",
}


@pytest.mark.parametrize("code", FACTORIES.values(), ids=FACTORIES)
def test_a_users_file_may_import_torchvision(tmp_path, code):
    (tmp_path / "mine.py").write_text(code)
    check = (
        "import sys, torch; from featvis import load_model; assert 'torchvision' not in sys.modules; "
        "mine = load_model('mine.py:make', seed=3).module; torch.manual_seed(3); import torchvision; "
        "print(torch.equal(mine.fc.weight, torchvision.models.resnet18().fc.weight))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "True\n", done.stderr
