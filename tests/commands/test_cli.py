"""The command line: help without torch, one line for every mistake, and the same from every way in."""

import json
import pickle
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from helpers.running import ZOO, files_below, printed, refused, run, save_pictures

from featvis.commands import cli
from featvis.models.zoo import ZOO as NETWORKS

CHECKOUT = Path(__file__).parents[2]
HEAVY = {"torch", "numpy", "PIL", "matplotlib", "rich", "torchvision", "torchmetrics", "timm", "jinja2", "lucent"}


def process(*command, folder=CHECKOUT, **options):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


def commands():
    context = click.Context(cli.main)
    return {name: cli.main.get_command(context, name) for name in cli.main.list_commands(context)}


# Help


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in cli.COMMANDS)])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; from featvis.commands.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as left: assert left.code == 0\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = process(sys.executable, "-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"], ["grad", "--help"]])
def test_help_is_there_at_once(arguments):
    """Processor time, which a busy machine does not lengthen; the quickest of three."""

    def seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    spent = []
    for _ in range(3):
        before = seconds()
        assert process(sys.executable, "-m", "featvis", *arguments).returncode == 0
        spent.append(seconds() - before)
    assert min(spent) < 0.5


@pytest.mark.parametrize(("name", "command"), commands().items())
def test_every_command_and_option_has_help(name, command):
    assert command.name == name
    assert command.help
    assert command.get_short_help_str(200)[0].isupper()
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name
    assert name in printed("--help")
    assert printed(name, "--help").startswith(f"Usage: main {name} ")


def test_every_file_of_a_command_is_listed():
    files = (CHECKOUT / "featvis" / "commands").glob("*.py")
    assert {path.stem for path in files if "\n@command(" in path.read_text()} == set(cli.COMMANDS)


# Ways in


def test_three_ways_in_are_one(tmp_path):
    arguments = ["overlap", "3,2,1", "4,2"]
    ways = {
        "module": [sys.executable, "-m", "featvis"],
        "launcher": [sys.executable, str(CHECKOUT / "cli.py")],
        "installed": [str(Path(sys.executable).parent / "featvis")],
    }
    if not Path(ways["installed"][0]).exists():
        del ways["installed"]
    for way in ways.values():
        done = process(*way, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == printed(*arguments)
        refusal = process(*way, "overlap", "3,x")
        assert (refusal.returncode, refusal.stdout) == (2, "")
        assert len(refusal.stderr.splitlines()) == 1


def test_a_pipe_that_closes_early():
    done = process("bash", "-c", f"{sys.executable} -m featvis overlap 3,2 3,2 | head -1")
    assert (done.returncode, done.stderr) == (0, "")


def test_weights_that_cannot_be_downloaded(tmp_path, monkeypatch):
    """In a process of its own: nothing but the line reaches the error stream, also from libraries that write there by themselves."""
    code = (
        "import sys, urllib.error, torch.hub\n"
        "def refuse(*a, **k): raise urllib.error.URLError('Name or service not known')\n"
        "torch.hub.urlopen = refuse\n"
        "from featvis.commands.cli import main\n"
        "main(['layers', 'shufflenet_v2_x0_5', '--weights', 'DEFAULT'])"
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    done = process(sys.executable, "-c", code, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    for way in ("--weights FILE", "--weights none", "zoo:"):
        assert way in done.stderr
    assert files_below(tmp_path) == set()


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus"], "No such option '--bogus'; `main --help` lists"),
        (["adit"], "No such command 'adit'"),
        (["audit"], "Missing argument 'MODEL'; `main audit --help` lists"),
        (["grad", ZOO], "Missing argument 'PICTURES"),
        (["audit", "--jso", "x"], "No such option '--jso'"),
        (["layers", ZOO, "more"], "unexpected extra argument"),
        (["layers", ZOO, "--size", "16px"], "'16px' is not a size; write 224, or 224x320"),
        (["layers", ZOO, "--size", "²"], "'²' is not a size"),
        (["layers", ZOO, "--size", "0"], "'0' is not a size"),
        (["layers", ZOO, "--size", "1x2x3"], "'1x2x3' is not a size"),
        (["layers", ZOO, "--size", "100000"], "give a smaller --size"),
        (["layers", ZOO, "--mean", "a,b,c"], "'a,b,c' is not a number"),
        (["layers", ZOO, "--mean", ".5,.5"], "--mean has 2 values for 3 channels"),
        (["layers", ZOO, "--std", "0"], "--std 0.0"),
        (["layers", ZOO, "--std", "1,,1"], "'1,,1' is not a number"),
        (["layers", ZOO, "--channels", "0"], "0 is not in the range x>=1"),
        (["layers", ZOO, "--channels", "1000000", "--mean", "0", "--std", "1"], "is more than a network takes"),
        (["layers", ZOO, "--channels", "1", "--mean", ".5", "--std", ".5"], "to have 3 channels, but got 1 channels"),
        (["layers", ZOO, "--device", "tpu"], "the device 'tpu' is not available here"),
        (["layers", ZOO, "--seed", "x"], "'x' is not a valid integer"),
        (["layers", ZOO, "--seed", "-1"], "the seed -1 is out of range"),
        (["layers", "resnet81"], "no torchvision classification model 'resnet81'; nearest: resnet18"),
        (["layers", "zoo:cifar"], "no network 'cifar' in the zoo"),
        (["layers", "timm:resnet18"], "timm"),
        (["layers", "nowhere.py:net"], "no file 'nowhere.py'"),
        (["layers", "nowhere.pt2"], "no exported program 'nowhere.pt2'"),
        (["layers", ZOO, "--weights", "nowhere.pth"], "no weights file 'nowhere.pth'"),
        (["overlap", "3,x"], "3,x"),
        (["layers", "a" * 300], "no torchvision classification model"),
        (["layers", "a" * 300 + ".py:net"], "no file"),
        (["layers", "a" * 300 + ".pt2"], "no exported program"),
        (["layers", ZOO, "--weights", "a" * 300], "no weights 'aaa"),
        (["layers", ZOO, "--weights", "a" * 300 + ".pth"], "no weights file"),
        (["layers", ZOO, "--weights", "a\0.pth"], "no weights file"),
        (["audit", ZOO, "a" * 300], "no picture file or folder"),
        (["audit", ZOO, ".", "--json", "a" * 300], "aaa"),
        (["audit", ZOO, ".", "--json", "a" * 300 + "/a.json"], "cannot write to the folder"),
    ],
)
def test_mistakes_before_any_work(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)
    assert files_below(tmp_path) == set()


def bad_pictures(folder):
    """Pictures that cannot be read, by what is wrong with them."""
    folder.mkdir()
    whole = save_pictures(folder, 1)[0]
    content = whole.read_bytes()
    whole.unlink()
    for name, damaged in {"truncated": content[: len(content) // 2], "empty": b"", "text": b"no picture\n"}.items():
        (folder / f"{name}.png").write_bytes(damaged)
    np.save(folder / "array.npy", np.zeros((1, 4, 4), dtype=np.float32))


def _save_nothing(figure, path):
    path.write_bytes(b"")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with pictures, bad pictures, weights of all kinds and things that stand in the way."""
    monkeypatch.chdir(tmp_path)
    # Figures are drawn and tested elsewhere.
    monkeypatch.setattr("featvis.plots.gradient_figure", lambda *arguments: None)
    monkeypatch.setattr("featvis.plots.save_figure", _save_nothing)
    save_pictures(tmp_path / "good", 3)
    bad_pictures(tmp_path / "bad")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    network = NETWORKS["cifar-k3s2"].architecture()
    (tmp_path / "text.pth").write_text("not weights")
    torch.save(Bomb(tmp_path / "exploded"), tmp_path / "bomb.pth")
    torch.save({**network.state_dict(), "head.weight": torch.full((10, 128), torch.nan)}, tmp_path / "nan.pth")
    torch.save({name: value * 0 for name, value in network.state_dict().items()}, tmp_path / "zero.pth")
    torch.save({"other": torch.zeros(2)}, tmp_path / "other.pth")
    with zipfile.ZipFile(tmp_path / "odd.pt2", "w") as archive:
        archive.writestr("odd/models/model.json", json.dumps({"nodes": [{"target": "torch.ops.aten.nothing.default"}]}))
    (tmp_path / "audit.json").write_text(json.dumps({"schema": "featvis.audit/1"}))
    (tmp_path / "wrong.json").write_text(json.dumps({"schema": "featvis.profile/1", "profile": "high", "settings": {}}))
    flat = [[1.0] * 2] * 2
    (tmp_path / "two.json").write_text(json.dumps({"schema": "featvis.profile/1", "profile": flat, "settings": {}}))
    return tmp_path


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_the_bomb_is_live(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


MISTAKES = {
    "unknown model": (["resnet81", "good"], "nearest: resnet18"),
    "missing picture": ([ZOO, "good/7.png"], "there is no picture file or folder 'good/7.png'"),
    "truncated picture": ([ZOO, "good", "bad/truncated.png"], "cannot read the picture 'bad/truncated.png'"),
    "empty picture": ([ZOO, "bad/empty.png"], "the picture 'bad/empty.png' is empty"),
    "text picture": ([ZOO, "bad/text.png"], "'bad/text.png' is no picture"),
    "array of another shape": ([ZOO, "bad/array.npy"], "'bad/array.npy'"),
    "empty folder": ([ZOO, "nothing"], "the folder 'nothing' holds no pictures"),
    "empty glob": ([ZOO, "good/*.gif"], "the glob 'good/*.gif' holds no pictures"),
    "no readable picture": ([ZOO, "bad", "--skip-bad"], "none of 4 pictures could be read"),
    "unknown layer": ([ZOO, "good", "--score", "stage7:0"], "no layer 'stage7'; `featvis layers` lists them; nearest: stage"),
    "unknown label": ([ZOO, "good", "--score", "catt"], "no label 'catt'"),
    "class out of range": ([ZOO, "good", "--score", "10"], "the score asks for class 10, but there are 10; give 0 to 9"),
    "channel out of range": ([ZOO, "good", "--score", "stage1:99"], "channel 99 of stage1, but there are 32"),
    "odd channel": ([ZOO, "good", "--score", "stage1:x"], "write layer:channel"),
    "wrong channels": ([ZOO, "good", "--channels", "1"], "3 values for 1 channels"),
    "wrong channels, one mean": ([ZOO, "good", "--channels", "1", "--mean", "0", "--std", "1"], "to have 3 channels"),
    "full pickle": ([ZOO, "good", "--weights", "bomb.pth"], f"is a pickle of Python objects ({open.__module__}.open), not"),
    "text as weights": ([ZOO, "good", "--weights", "text.pth"], "'text.pth' is not a checkpoint"),
    "NaN weights": ([ZOO, "good", "--weights", "nan.pth"], "the weight 'head.weight' of 'nan.pth' holds NaN or infinity"),
    "other weights": ([ZOO, "good", "--weights", "other.pth"], "do not fit the network: missing stem.0.weight"),
    "zero weights": ([ZOO, "good", "--weights", "zero.pth"], "holds nothing but zeros; choose another score"),
    "odd program": (["odd.pt2", "good"], "'odd.pt2' holds 'nodes', which is not known here"),
    "equalise without a profile": ([ZOO, "good", "--compensate", "equalise"], "equalise needs a measured profile"),
    "missing profile": ([ZOO, "good", "--compensate", "equalise", "--profile", "p.json"], "cannot read the profile 'p.json'"),
    "profile of another kind": ([ZOO, "good", "--compensate", "equalise", "--profile", "audit.json"], "featvis.audit/1"),
    "picture as profile": ([ZOO, "good", "--compensate", "equalise", "--profile", "good/0.png"], "'good/0.png'"),
    "damaged profile": ([ZOO, "good", "--compensate", "equalise", "--profile", "wrong.json"], "'wrong.json': the profile is damaged"),
    "another total stride": (
        [ZOO, "good", "--compensate", "equalise", "--profile", "two.json"],
        "the profile is 2 x 2, this network and score need 8 x 8",
    ),
    "unknown method": ([ZOO, "good", "--method", "grad-cam"], "'grad-cam' is not one of 'vanilla'"),
    "a parameter out of range": ([ZOO, "good", "--method", "smoothgrad:samples=0"], "smoothgrad with samples=0; give a whole number"),
    "an unknown parameter": ([ZOO, "good", "--compensate", "jitter:steps=3"], "jitter has no parameter 'steps'; it has shifts"),
    "unknown compensation": ([ZOO, "good", "--compensate", "blur"], "'blur' is not one of 'none'"),
}  # fmt: skip


def test_a_picture_smaller_than_the_total_stride(place):
    arguments = ("shufflenet_v2_x0_5", "good", "--weights", "none", "--size", "16")
    assert "Periods 8, 16 and 32 do not fit four times" in printed("grad", *arguments, "--out", "pictures")
    printed("audit", *arguments, "--json", "small.json")
    content = json.loads((place / "small.json").read_text())
    assert content["traced"] == [32, 32]
    assert content["not_measurable"] == [[8, 8], [16, 16], [32, 32]]


@pytest.mark.parametrize("command", ["audit", "grad"])
@pytest.mark.parametrize(("arguments", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line_and_leave_no_file(command, arguments, said, place):
    before = files_below(place)
    if "--size" not in arguments:
        arguments = [*arguments, "--size", "32"]
    output = ["--json", "a.json", "--save-profile", "b.json"] if command == "audit" else ["--out", "pictures"]
    result = run(command, *arguments, *output)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    # A picture that was finished before the bad one stays, whole.
    finished = {
        f"pictures/{number}{end}" for number in range(3) for end in (".png", "_gradient.png", "_absolute.png", ".npz")
    }
    left = files_below(place) - before
    assert left == (finished if (command, said) == ("grad", MISTAKES["truncated picture"][1]) else set())
    assert not (place / "exploded").exists()


@pytest.mark.parametrize("score", ["²", "--5", "stage1:²", "stage1:--1"])
def test_numbers_that_are_none(score, place):
    assert score in refused("audit", ZOO, "good", f"--score={score}")


@pytest.mark.parametrize(
    "output",
    [
        ["audit", "--json", "taken/a.json"],
        ["audit", "--json", "good"],
        ["audit", "--save-profile", "taken/a.json"],
        ["audit", "--json", "a.json", "--save-profile", "taken/b.json"],
        ["grad", "--out", "taken"],
        ["grad", "--out", "taken/deeper"],
    ],
)
def test_places_that_cannot_be_written_are_found_before_the_work(output, place, monkeypatch):
    def work(*arguments, **keywords):
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr("featvis.models.specs.load_model", work)
    before = files_below(place)
    command, *options = output
    message = refused(command, ZOO, "good", *options)
    assert re.search("taken|good", message)
    assert files_below(place) == before
    assert (place / "taken").read_text() == "a file where a folder is wanted"


def test_a_missing_folder_is_made(place):
    printed("audit", ZOO, "good", "--size", "32", "--json", "new/deeper/a.json")
    assert json.loads((place / "new" / "deeper" / "a.json").read_text())["pictures"] == 3


@pytest.mark.parametrize("command", ["audit", "grad"])
def test_bad_pictures_are_skipped_and_counted(command, place):
    output = printed(command, ZOO, "good", "bad", "--skip-bad", "--size", "32")
    assert "skipped 4 pictures that could not be read; the first: " in output
    assert "bad/" in output


def test_a_demonstration_that_cannot_be_written(place):
    assert "'taken'" in refused("demo", "--out", "taken")


def test_markup_in_names_is_taken_literally(place):
    (place / "[bold]nets.py").write_text("from torch import nn\ndef net(): return nn.Conv2d(3, 2, 3, 2)\n")
    assert "[bold]nets.py:net" in printed("layers", "[bold]nets.py:net", "--size", "16")


def test_warnings_do_not_reach_the_user(place):
    source = "import warnings\nfrom torch import nn\nwarnings.warn('beware')\ndef net(): return nn.Conv2d(3, 2, 3, 2)\n"
    (place / "nets.py").write_text(source)
    done = process(sys.executable, "-m", "featvis", "layers", "nets.py:net", folder=place)
    assert (done.returncode, done.stderr) == (0, "")
