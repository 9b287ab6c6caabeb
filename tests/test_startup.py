"""What a command loads: each in a process of its own, held against the heavy modules that it may need."""

import os
import subprocess
import sys

import pytest
from helpers.running import save_pictures

HEAVY = (
    "jinja2",
    "lucent",
    "matplotlib",
    "matplotlib.pyplot",
    "rich.console",
    "sympy",
    "timm",
    "torch",
    "torch._dynamo",
    "torchmetrics",
    "torchvision",
)

RUN = f"""
import sys
from featvis.commands.cli import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *(name for name in {HEAVY} if name in sys.modules))
"""


POLICY = """
import os
from featvis.commands.cli import main
main(["--version"], standalone_mode=False)
print(os.environ["OMP_WAIT_POLICY"])
"""


def loaded(arguments, folder):
    """The heavy modules that a command leaves behind."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two pictures in `pictures`."""
    place = tmp_path_factory.mktemp("startup")
    save_pictures(place / "pictures", 2)
    return place


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ("--help", set()),
        ("audit --help", set()),
        ("overlap 3,2", set()),
        ("zoo", set()),
        ("zoo twin-k3s2", set()),
        ("layers zoo:cifar-k3s2", {"torch"}),
        ("predict zoo:cifar-k3s2", {"torch"}),
        ("audit zoo:cifar-k3s2 pictures", {"torch", "rich.console"}),
        ("grad zoo:cifar-k3s2 pictures --out maps", {"torch", "matplotlib", "rich.console"}),
    ],
)
def test_a_command_loads_what_it_needs(arguments, needed, folder):
    assert loaded(arguments, folder) == needed


def test_what_is_loaded_is_seen(folder):
    """A planted fault: a figure needs matplotlib."""
    assert loaded("overlap 3,2 --png overlap.png", folder) == {"matplotlib"}


@pytest.mark.parametrize(("set_by_user", "then"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_unless_they_are_asked_to(set_by_user, then):
    """Processor time of short commands is mostly that of threads that wait."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if set_by_user is not None:
        environment["OMP_WAIT_POLICY"] = set_by_user
    done = subprocess.run([sys.executable, "-c", POLICY], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == then
