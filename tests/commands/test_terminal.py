"""What commands print fits the width that there is, with every name whole, on every kind of output.

A command runs once. All that it prints goes through one function, which is handed the lines as they are at a width; so that they are
looked at for every width without another run.
"""

import os
import subprocess
import sys
import threading

import pytest
from helpers.running import ZOO, run, save_pictures

from featvis.commands import tables
from featvis.commands.cli import COMMANDS

WIDTHS = (80, 100, 160)

NETS = """
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.downsampling_convolution = nn.Conv2d(4, 4, 3, 2, 1)
        self.pooling = nn.MaxPool2d(2)

    def forward(self, images):
        return self.pooling(self.downsampling_convolution(images)).relu()

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Block())})
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.backbone["body"](images).mean((2, 3)))
"""

LAYER = "backbone.body.1.downsampling_convolution"

SMALL = ("--size", "64", "--weights", "none")

PAIR = ("--samples", "4", "--seed", "1")

CALLS = {
    "layers": ("layers", "nets.py:Named", "--size", "64"),
    "layers marked": ("layers", ZOO, "--marked"),
    "grad": ("grad", ZOO, "photos/0.png", *SMALL, "--compensate", "jitter:shifts=2"),
    "maps": ("maps", "maps"),
    "audit": ("audit", "nets.py:Named", "photos", "--size", "64", "--culprits", "--limit", "4"),
    "overlap": ("overlap", "3,2,1", "3,2,1"),
    "overlap of many": ("overlap", "7,2,3", *("3,2,1",) * 5),
    "overlap by axis": ("overlap", "11x5,4x2,2", "3,2", "3x5,2"),
    "linear": ("linear", "deconv4", "subpixel3", "icnr3", "deconv9s4", "--weights", "random"),
    "predict": ("predict", "nets.py:Named", "--size", "64"),
    "fix": ("fix", "nets.py:Named", "--size", "64", "--with", "blurpool", "--count", "2"),
    "compare": (
        *("compare", "nets.py:Named", "photos", "--size", "64", "--limit", "4", "--html", "compare.html"),
        *("--with", "blurpool", "--with", "backward-even", "--compensate", "cycle-spinning", "--out", "figures"),
    ),
    "compare generators": (
        *("compare", "--generator", "dcgan", "--upsample", "deconv3,icnr-last-smooth4,nearest"),
        *("--samples", "8", "--size", "32"),
    ),
    "dream": ("dream", ZOO, "photos/0.png", "--objective", "stage3", "--steps", "1", "--octaves", "1", "--size", "32"),
    "dreams": (
        *("dream", ZOO, "--objective", "stage3", "--steps", "1", "--octaves", "1", "--size", "32", "--jitter", "1"),
        *("--compare", "--out", "grid.png"),
    ),
    "discriminator": (
        *("discriminator", "zoo:discriminator-k3s2", "--generator", "zoo:generator-deconv3", *PAIR),
        *("--culprits", "--real", "photos"),
    ),
    "generator": ("generator", "zoo:generator-deconv3", "--samples", "8", "--real", "photos"),
    "images": ("images", "photos"),
    "report": ("report", "audit.json", "--out", "a-page-of-a-name-that-is-rather-long/report.html"),
    "zoo": ("zoo",),
    "zoo card": ("zoo", "generator-deconv3-smooth4"),
    "demo": ("demo",),
}

NAMES = {
    "layers": (LAYER, "backbone.body.1.pooling"),
    "audit": (LAYER,),
    "predict": (LAYER,),
    "fix": (LAYER, "blurpool"),
    "compare": ("cycle-spinning", "backward-even", "figures/energies.png"),
    "compare generators": ("icnr-last-smooth4",),
    "discriminator": ("high-frequency",),
    "zoo": ("generator-deconv3-smooth4",),
    "report": ("a-page-of-a-name-that-is-rather-long/report.html",),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with pictures, a network and what an audit saved."""
    folder = tmp_path_factory.mktemp("widths")
    save_pictures(folder / "photos", 4, (64, 64))
    (folder / "nets.py").write_text(NETS)
    began = os.getcwd()
    os.chdir(folder)
    try:
        assert run("audit", ZOO, "photos/0.png", *SMALL, "--json", "audit.json").exit_code == 0
        assert run("grad", ZOO, "photos", *SMALL, "--out", "maps").exit_code == 0
        yield folder
    finally:
        os.chdir(began)


def test_every_command_is_called():
    assert {arguments[0] for arguments in CALLS.values()} == set(COMMANDS)


def too_wide(lines, width):
    return [line for line in lines if len(line) > width]


@pytest.mark.parametrize("name", CALLS)
def test_what_a_command_prints_fits(name, place, monkeypatch):
    parts = []
    monkeypatch.setattr(tables, "show", lambda part, bold=False: parts.append(part))
    result = run(*CALLS[name])
    assert result.exit_code in (0, 1), result.stderr
    assert result.stdout == "", "printed beside the one function that knows the width"
    assert parts
    for width in WIDTHS:
        lines = [line for part in parts for line in part(width)]
        assert too_wide(lines, width) == []
        text = "\n".join(lines)
        for whole in NAMES.get(name, ()):
            assert whole in text
    lines = [line for part in parts for line in part(None)]
    assert not any("have no room for" in line for line in lines)


def test_a_planted_wide_line_is_found():
    assert too_wide(["x" * 81, "x" * 80, ""], 80) == ["x" * 81]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits(name, width, monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback=(80, 24): os.terminal_size((width, 24)))
    result = run(*filter(None, [name]), "--help")
    assert too_wide(result.stdout.splitlines(), width) == []


def in_terminal(width, arguments, folder, **environment):
    """What a process writes to a terminal of this width, as bytes; the error stream is none."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    kept = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "PYTHONIOENCODING")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "featvis", *arguments],
        cwd=folder,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**kept, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    found = []

    def read():
        try:
            while part := os.read(ours, 65536):
                found.append(part)
        except OSError:  # Linux says that the other side is closed.
            pass

    reader = threading.Thread(target=read)
    reader.start()
    _, said = process.communicate(timeout=60)
    reader.join()
    os.close(ours)
    assert process.returncode == 0, said
    return b"".join(found).replace(b"\r\n", b"\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal")
@pytest.mark.parametrize(
    ("width", "name", "environment"),
    [
        (80, "zoo", {}),
        (100, "overlap of many", {"PYTHONIOENCODING": "ascii"}),
        (160, "zoo", {"NO_COLOR": "1"}),
        (80, "layers", {"PYTHONIOENCODING": "cp1252", "NO_COLOR": "1"}),
    ],
)
def test_in_a_terminal(width, name, environment, place):
    output = in_terminal(width, CALLS[name], place, PYTHONPATH=os.pathsep.join(sys.path), **environment)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    text = output.decode(encoding)
    assert ("\x1b[" in text) == ("NO_COLOR" not in environment and "layers" not in name)
    plain = text.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b" not in plain
    assert too_wide(plain.splitlines(), width) == []
    for whole in NAMES.get(name, ()):
        assert whole in plain
    assert "?" not in plain


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal")
def test_wide_shows_all_and_so_does_a_pipe(place):
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"}
    piped = subprocess.run(
        [sys.executable, "-m", "featvis", "zoo"], capture_output=True, check=True, env={**os.environ, **path}
    )
    assert in_terminal(80, ("zoo", "--wide"), place, **path) == piped.stdout
    narrow = in_terminal(160, ("zoo",), place, **path, COLUMNS="70").decode()
    assert too_wide(narrow.splitlines(), 70) == []
    assert too_wide(narrow.splitlines(), 60)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_every_encoding_shows_what_commands_print(encoding, place):
    """In a pipe; what an encoding lacks stands as something plain, and rows keep their columns."""
    done = subprocess.run(
        [sys.executable, "-m", "featvis", "zoo"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    text = done.stdout.decode(encoding)
    assert "?" not in text
    rows = [line for line in text.splitlines() if line.startswith("  twin-")]
    assert len(rows) == 9
    assert len({*map(len, rows)}) == 1
