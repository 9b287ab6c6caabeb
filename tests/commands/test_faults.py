"""What goes wrong on a user's machine: hundreds of broken files, a full disk, places that cannot be written, Ctrl-C."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest
from helpers.networks import strided
from helpers.running import ZOO, files_below, printed, refused, run, save_pictures
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featvis.commands.options import BatchSize, Numbers, Size
from featvis.errors import FeatvisError
from featvis.gradients.scores import Score
from featvis.predict.overlap import parse_stack

NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def encoded(picture, kind, **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def broken_pictures():
    """Names and contents: whole pictures of odd kinds, and each of them cut at many places."""
    colour = Image.fromarray(NOISE)
    frames = [Image.fromarray(np.roll(NOISE, shift, 0)) for shift in range(3)]
    whole = {
        "colour.png": encoded(colour, "PNG"),
        "colour.jpg": encoded(colour, "JPEG"),
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG"),
        "palette.png": encoded(colour.quantize(16), "PNG"),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "deep.png": encoded(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257), "PNG"),
        "deep.tif": encoded(Image.fromarray(NOISE[..., 0].astype(np.uint16)), "TIFF"),
        "webp.webp": encoded(colour, "WEBP"),
        "bitmap.bmp": encoded(colour, "BMP"),
        "wrong_suffix.jpg": encoded(colour, "PNG"),
        "pixel.png": encoded(colour.resize((1, 1)), "PNG"),
        "line.png": encoded(Image.new("RGB", (20_000, 1)), "PNG"),
        "column.png": encoded(Image.new("RGB", (1, 20_000)), "PNG"),
        "bomb.png": encoded(Image.new("1", (30_000, 30_000)), "PNG"),
        "empty.png": b"",
        "text.png": b"not a picture",
        "zeros.jpg": bytes(1000),
    }
    yield from whole.items()
    for name, content in whole.items():
        for length in range(1, min(len(content), 320), 10) if len(content) > 100 else ():
            yield f"cut{length:04d}_{name}", content[:length]
        for length in range(len(content) // 2, len(content), max(10, len(content) // 8)):
            yield f"half{length:06d}_{name}", content[:length]


def test_three_hundred_broken_pictures_are_skipped_or_measured(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = []
    for name, content in broken_pictures():
        (folder / name).write_bytes(content)
        names.append(name)
    assert len(names) >= 300
    # A bomb and single lines would be filled up to the crop: they are refused or resized, as their size allows.
    said = printed("audit", ZOO, folder, "--skip-bad", "--json", tmp_path / "audit.json")
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["pictures"] + len(audit["skipped"]) == len(names)
    assert audit["pictures"] >= 11
    assert f"skipped {len(audit['skipped'])} pictures" in said
    for line in audit["skipped"]:
        assert "\n" not in line
        assert "Traceback" not in line
        assert any(name in line for name in names)


def test_one_broken_picture_ends_it_in_one_line(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(NOISE), "PNG")[:500])
    assert "a.png" in refused("audit", ZOO, tmp_path / "a.png", "--json", tmp_path / "audit.json")
    assert files_below(tmp_path) == {"a.png"}


def test_what_decoders_forgive_is_counted_as_skipped(tmp_path):
    whole = encoded(Image.fromarray(NOISE), "JPEG")
    (tmp_path / "a.jpg").write_bytes(whole)
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2].rstrip(b"\xff") + b"\xff\xd9")
    assert "b.jpg' is decoded with errors" in refused("audit", ZOO, tmp_path)
    printed("audit", ZOO, tmp_path, "--skip-bad", "--json", tmp_path / "audit.json")
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["pictures"] == len(audit["skipped"]) == 1
    assert "decoded with errors" in audit["skipped"][0]


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    "options",
    [
        ("audit", "--save-profile", "profile.json"),
        ("audit", "--json", "audit.json"),
        ("audit", "--state", "state", "--save-every", "1"),
        ("grad", "--out", "out"),
    ],
)
def test_a_full_disk_leaves_nothing_half_written(tmp_path, full_disk, options):
    pictures = save_pictures(tmp_path / "pictures", 6)
    with contextlib.suppress(OSError), (full_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))
    command, option, place, *rest = options
    line = refused(command, ZOO, *pictures, option, full_disk / place, *rest)
    assert re.search(r"cannot write .*: No space left on device", line)
    assert {name for name in files_below(full_disk) if (full_disk / name).stat().st_size} == {"filler"}


@pytest.mark.parametrize("option", ["--json", "--save-profile", "--state"])
def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path, option):
    pictures = save_pictures(tmp_path / "pictures", 4)
    assert "cannot write" in refused("audit", ZOO, *pictures, option, "/proc/nothing/audit.json")


def interrupted(folder, *arguments, number=signal.SIGINT):
    """`featvis` with a signal after its first saved batch; its exit code, output and error lines."""
    process = subprocess.Popen(
        [sys.executable, "-m", "featvis", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 240
    while not list(folder.glob("part-*.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    if number == signal.SIGTERM:
        # A scheduler's, and the one that torchrun passes on.
        process.send_signal(number)
    out, said = process.communicate(timeout=240)
    return process.returncode, out, said.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path, number):
    save_pictures(tmp_path / "pictures", 120)
    audit = ("audit", ZOO, tmp_path / "pictures", "--batch-size", "1", "--json", tmp_path / "audit.json")
    keep = ("--state", tmp_path / "state", "--save-every", "1")
    code, out, said = interrupted(tmp_path / "state", *audit, *keep, number=number)
    assert (code, out) == (2, "")
    assert len(said) == 1
    assert re.fullmatch(
        r"featvis: stopped after \d+ of 120 pictures; what is done is kept in '.*state': go on with --resume", said[0]
    )
    assert {name for name in files_below(tmp_path) if not name.startswith("pictures/")} == {"state/part-0.safetensors"}
    assert "120 pictures" in printed(*audit, *keep, "--resume")


texts = st.text(max_size=30) | st.text(alphabet="0123456789,x@+-:.*/kdsp ", max_size=30)


@given(texts)
@settings(max_examples=300, deadline=None)
def test_any_text_is_understood_or_refused(text):
    network = strided()
    for parse in (
        lambda given: parse_stack(given.split()),
        lambda given: Score.parse(given, network, ["cat", "dog"]),
        lambda given: BatchSize().convert(given, None, None),
        lambda given: Numbers().convert(given, None, None),
        lambda given: Size().convert(given, None, None),
    ):
        with contextlib.suppress(FeatvisError, click.UsageError):
            parse(text)


# Faults of ours


@pytest.mark.parametrize("inner", ["tracing.trace.follow", "gradients.engine.difference", "audit.run.Audit.traced_by"])
def test_a_fault_of_ours_is_said_to_be_one(tmp_path, monkeypatch, inner):
    def fault(*arguments, **keywords):
        raise TypeError("planted:\nwrong size")

    save_pictures(tmp_path, 4)
    monkeypatch.setattr(f"featvis.{inner}", fault)
    result = run("audit", ZOO, tmp_path)
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("featvis: a fault of featvis, not of what it was given: TypeError: planted: wrong size (")
    assert line.endswith("; please report it")
    assert "the network refuses" not in result.stderr
    assert "--size" not in result.stderr
