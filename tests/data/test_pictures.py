"""Pictures: found in one order, loaded whole or refused in one line, prepared as torchvision prepares them."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from featvis.compat import import_torchvision
from featvis.data import pictures as images
from featvis.data.pictures import SUFFIXES, Picture, find_pictures, load_picture, prepare, save_picture
from featvis.errors import FeatvisError

ON_WHITE = "transparency composited on white"
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    """No warning may leave any of these functions."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
    assert not leaked, [str(warning.message) for warning in leaked]


def colours(height: int, width: int, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def array(picture: Picture) -> np.ndarray:
    assert isinstance(picture.pixels, Image.Image)
    return np.asarray(picture.pixels)


def refusal(call: Callable[[], object]) -> str:
    """The one line with which a call is refused."""
    with pytest.raises(FeatvisError) as caught:
        call()
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    return message


def load_refusal(path: Path, channels: int = 3) -> str:
    message = refusal(lambda: load_picture(path, channels))
    assert repr(str(path)) in message
    return message


def load_or_refusal(path: Path) -> np.ndarray | None:
    """The pixels, or None where they are refused in one line; any other exception passes."""
    try:
        return array(load_picture(path))
    except FeatvisError:
        load_refusal(path)
        return None


def _fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("error", [FeatvisError("two\nlines"), FeatvisError(""), FeatvisError("another 'name'"), None])
def test_the_helpers_can_fail(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.load_picture", lambda *_: error and _fail(error))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        load_refusal(Path("x.png"))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in body]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Finding


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    names = [
        "b.png",
        "a.JPG",
        "a/z.tif",
        "a-b/y.npy",
        "a/deep/x.webp",
        ".hidden.png",
        ".cache/w.png",
        "notes.txt",
        "a/README",
    ]
    for name in names:
        place = tmp_path / "gallery" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return tmp_path / "gallery"


def names_below(folder: Path, found: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_is_searched_in_order_without_hidden_files(gallery: Path) -> None:
    expected = ["a-b/y.npy", "a.JPG", "a/deep/x.webp", "a/z.tif", "b.png"]
    assert names_below(gallery, find_pictures([gallery])) == expected
    assert names_below(gallery, find_pictures(str(gallery))) == expected
    assert expected == sorted(expected)


def test_arguments_keep_their_order_and_files_count_once(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_pictures([gallery / "b.png", gallery, gallery / "a" / ".." / "b.png"])
    assert names_below(gallery, found) == ["b.png", "a-b/y.npy", "a.JPG", "a/deep/x.webp", "a/z.tif"]
    monkeypatch.chdir(gallery)
    assert find_pictures(["b.png", "./b.png", gallery / "b.png"]) == [Path("b.png")]


def test_a_link_is_the_file_it_points_to_and_linked_folders_are_not_followed(gallery: Path) -> None:
    (gallery / "c.png").symlink_to(gallery / "b.png")
    (gallery / "round").symlink_to(gallery)
    (gallery / "dangling.png").symlink_to(gallery / "gone.png")
    assert len(find_pictures([gallery])) == 5
    assert "dangling.png" in refusal(lambda: find_pictures([gallery / "dangling.png"]))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.JPG", "b.png"]),
        ("?.png", ["b.png"]),
        ("[ab].*", ["a.JPG", "b.png"]),
        ("a*/*", ["a-b/y.npy", "a/z.tif"]),
        ("**/*.webp", ["a/deep/x.webp"]),
        ("**", ["a-b/y.npy", "a.JPG", "a/deep/x.webp", "a/z.tif", "b.png"]),
        (".*.png", [".hidden.png"]),
    ],
)
def test_globs(gallery: Path, pattern: str, expected: list[str]) -> None:
    assert names_below(gallery, find_pictures([f"{gallery}/{pattern}"])) == expected


def test_a_path_that_exists_is_no_glob(gallery: Path) -> None:
    (gallery / "[ab].png").touch()
    (gallery / "set[1]").mkdir()
    (gallery / "set[1]" / "s.png").touch()
    assert names_below(gallery, find_pictures([gallery / "[ab].png"])) == ["[ab].png"]
    assert names_below(gallery, find_pictures([gallery / "set[1]"])) == ["set[1]/s.png"]


def test_a_named_file_may_end_in_anything(gallery: Path) -> None:
    assert names_below(gallery, find_pictures([gallery / "notes.txt"])) == ["notes.txt"]


def test_finding_refuses_in_one_line(gallery: Path) -> None:
    (gallery / "empty").mkdir()
    (gallery / "empty" / ".only.png").touch()
    assert "no pictures were given" in refusal(lambda: find_pictures([]))
    assert "gone.png" in refusal(lambda: find_pictures([gallery / "b.png", gallery / "gone.png"]))
    assert "''" in refusal(lambda: find_pictures([""]))
    assert "no picture file" in refusal(lambda: find_pictures(["a\0b"]))
    assert "no picture file" in refusal(lambda: find_pictures(["x" * 5000]))
    for nothing in (gallery / "empty", gallery / "*.gif", gallery / "[.png"):
        message = refusal(lambda nothing=nothing: find_pictures([nothing]))
        assert str(nothing) in message
        assert all(suffix in message for suffix in SUFFIXES)


@quick
@given(st.lists(st.sampled_from(["b.png", "a.JPG", "a", "a-b", "*", "**/*.tif", "."]), min_size=1))
def test_every_order_of_arguments_finds_the_same_files(gallery: Path, given: list[str]) -> None:
    found = find_pictures([gallery / name for name in given])
    backwards = find_pictures([gallery / name for name in reversed(given)])
    assert len(set(found)) == len(found)
    assert {path.resolve() for path in found} == {path.resolve() for path in backwards}
    assert found[: len(find_pictures([gallery / given[0]]))] == find_pictures([gallery / given[0]])


# Loading


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF"])
def test_every_format_loads_as_pillow_reads_it(tmp_path: Path, kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    path = tmp_path / "wrong.dat"
    path.write_bytes(encoded(colours(9, 7), kind))
    for channels, mode in ((3, "RGB"), (1, "L")):
        picture = load_picture(path, channels)
        assert (picture.path, picture.notes) == (path, ())
        assert isinstance(picture.pixels, Image.Image)
        assert picture.pixels.mode == mode
        with Image.open(path) as image:
            assert (array(picture) == np.asarray(image.convert("RGB").convert(mode))).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_greys_keep_their_values(tmp_path: Path, channels: int) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "g.png")
    Image.fromarray(grey > 100).save(tmp_path / "b.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "p.png")
    for name, expected in (("g.png", grey), ("b.png", np.where(grey > 100, 255, 0)), ("p.png", grey)):
        picture = load_picture(tmp_path / name, channels)
        assert picture.notes == ()
        assert (array(picture).reshape(16, 16, -1) == expected[..., None]).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_alpha_is_composited_on_white(tmp_path: Path, mode: str) -> None:
    colour = colours(4, 4).convert("L").convert("RGB")
    alpha = Image.fromarray(np.linspace(0, 255, 16).astype(np.uint8).reshape(4, 4))
    image = colour.copy()
    image.putalpha(alpha)
    kind = "TIFF" if mode == "PA" else "PNG"
    if mode == "PA":
        image = Image.merge("PA", (colour.convert("L").convert("P"), alpha))
    (tmp_path / "a.img").write_bytes(encoded(image if mode == "PA" else image.convert(mode), kind))
    with Image.open(tmp_path / "a.img") as reopened:
        assert reopened.mode == mode
    picture = load_picture(tmp_path / "a.img")
    share = np.asarray(alpha)[..., None] / 255
    expected = share * np.asarray(colour) + (1 - share) * 255
    assert picture.notes == (ON_WHITE,)
    assert np.abs(array(picture) - expected).max() <= 1
    assert (array(picture)[0, 0] == 255).all()
    assert (array(picture)[3, 3] == np.asarray(colour)[3, 3]).all()


def test_opaque_alpha_changes_nothing_and_leaves_no_note(tmp_path: Path) -> None:
    image = colours(5, 4)
    image.convert("RGBA").save(tmp_path / "a.png")
    picture = load_picture(tmp_path / "a.png")
    assert picture.notes == ()
    assert (array(picture) == np.asarray(image)).all()


def test_transparency_beside_the_pixels_is_composited_too(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "one.png", transparency=0)
    palette.save(tmp_path / "many.png", transparency=bytes([0, 255]))
    palette.save(tmp_path / "one.gif", transparency=0)
    colour = Image.new("RGB", (2, 1), (10, 20, 30))
    colour.putpixel((1, 0), (200, 100, 50))
    colour.save(tmp_path / "key.png", transparency=(10, 20, 30))
    for name in ("one.png", "many.png", "one.gif", "key.png"):
        picture = load_picture(tmp_path / name)
        assert picture.notes == (ON_WHITE,)
        assert array(picture).tolist() == [[[255, 255, 255], [200, 100, 50]]]
    grey = Image.fromarray(np.array([[7, 8]], np.uint8))
    grey.save(tmp_path / "grey.png", transparency=7)
    assert array(load_picture(tmp_path / "grey.png", 1)).tolist() == [[255, 8]]


def test_sixteen_bit_greys(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257], [32896, 65279, 65406, 65535]], np.uint16)
    expected = [[0, 0, 1, 1], [128, 254, 254, 255]]
    little, whole = Image.fromarray(values), Image.fromarray(values.astype(np.int32))
    little.save(tmp_path / "little.png")
    little.save(tmp_path / "little.tif")
    whole.save(tmp_path / "whole.tif")
    big = Image.frombytes("I;16B", (4, 2), values.astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    (tmp_path / "big.pgm").write_bytes(b"P5 4 2 65535\n" + values.astype(">u2").tobytes())
    for name in ("little.png", "little.tif", "whole.tif", "big.tif", "big.pgm"):
        picture = load_picture(tmp_path / name, 1)
        assert array(picture).tolist() == expected, name
        assert picture.notes == ("16-bit grey, 0 to 65535, scaled to 8 bits",)


def test_sixteen_bit_transparency_is_one_exact_grey(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">3H", 0x8080, 0x8081, 0)
    (tmp_path / "t.png").write_bytes(png(3, 1, 16, 0, row, (b"tRNS", struct.pack(">H", 0x8080))))
    picture = load_picture(tmp_path / "t.png", 1)
    assert array(picture).tolist() == [[255, 128, 0]]
    assert picture.notes[1:] == (ON_WHITE,)


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], "float grey, 0 to 1, scaled to 8 bits"),
        ([0.0, 1.0, 128.0], [0, 1, 128], "float grey, 0 to 255, scaled to 8 bits"),
        ([0.0, 257.0, 65535.0], [0, 1, 255], "float grey, 0 to 65535, scaled to 8 bits"),
        ([-1.0, 0.0, 1.0], [0, 128, 255], "float grey, -1 to 1, stretched to 8 bits"),
        ([-3.0, -3.0, -3.0], [0, 0, 0], "float grey, -3 to -3, stretched to 8 bits"),
        ([-5, 0, 250], [0, 5, 255], "32-bit grey, -5 to 250, stretched to 8 bits"),
        ([0, 2**30, 2**31 - 1], [0, 128, 255], "32-bit grey, 0 to 2.14748e+09, stretched to 8 bits"),
    ],
)
def test_deep_tiffs(tmp_path: Path, values: list[float], expected: list[int], note: str) -> None:
    kind = np.int32 if isinstance(values[0], int) else np.float32
    Image.fromarray(np.array([values], kind)).save(tmp_path / "f.tif")
    picture = load_picture(tmp_path / "f.tif", 1)
    assert array(picture).tolist() == [expected]
    assert picture.notes == (note,)


def test_floats_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "f.tif")
    assert "not finite" in load_refusal(tmp_path / "f.tif")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces(tmp_path: Path, mode: str) -> None:
    blocks = colours(2, 2).resize((16, 16), Image.Resampling.NEAREST)
    blocks.convert(mode).save(tmp_path / "c.tif")
    with Image.open(tmp_path / "c.tif") as image:
        assert image.mode == mode
    assert np.abs(array(load_picture(tmp_path / "c.tif")).astype(int) - np.asarray(blocks)).max() <= 4
    assert array(load_picture(tmp_path / "c.tif", 1)).shape == (16, 16)


def test_hsv_and_cmyk_jpeg(tmp_path: Path) -> None:
    blocks = colours(2, 2).resize((16, 16), Image.Resampling.NEAREST)
    converted, notes = images._as_rgb(blocks.convert("HSV"))
    assert notes == ()
    assert np.abs(np.asarray(converted).astype(int) - np.asarray(blocks)).max() <= 6
    blocks.convert("CMYK").save(tmp_path / "c.jpg", quality=100, subsampling=0)
    assert np.abs(array(load_picture(tmp_path / "c.jpg")).astype(int) - np.asarray(blocks)).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = encoded(colours(3, 5), kind, exif=exif, **options)
    (tmp_path / "e").write_bytes(stored)
    lying = Image.open(io.BytesIO(encoded(colours(3, 5), kind, **options)))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    upright = lying.transpose(turn[orientation]) if orientation > 1 else lying
    loaded = array(load_picture(tmp_path / "e"))
    assert np.array_equal(loaded, np.asarray(upright))
    assert np.array_equal(loaded, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))))
    assert (orientation == 1) == np.array_equal(loaded, np.asarray(lying)), "a picture left lying would pass"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    (tmp_path / "m").write_bytes(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    picture = load_picture(tmp_path / "m")
    assert picture.notes == ("first of several frames",)
    assert np.abs(array(picture).astype(int) - [255, 0, 0]).max() <= 8


def test_notes_add_up(tmp_path: Path) -> None:
    clear, red = Image.new("RGBA", (4, 3), (0, 0, 0, 0)), Image.new("RGBA", (4, 3), "red")
    clear.save(tmp_path / "m.gif", save_all=True, append_images=[red])
    picture = load_picture(tmp_path / "m.gif")
    assert picture.notes == ("first of several frames", ON_WHITE)
    assert (array(picture) == 255).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20000), (20000, 1)])
def test_extreme_sizes(tmp_path: Path, height: int, width: int) -> None:
    colours(height, width).save(tmp_path / "x.png")
    picture = load_picture(tmp_path / "x.png")
    assert array(picture).shape == (height, width, 3)
    assert prepare(picture, None, None, "bilinear").shape == (3, height, width)
    assert prepare(picture, 2, (2, 2), "bilinear").shape == (3, 2, 2)
    if height != width:
        message = refusal(lambda: prepare(picture, 256, (224, 224), "bilinear"))
        assert str(tmp_path / "x.png") in message
        assert f"{height} x {width}" in message


# Refusing


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_picture_cut_anywhere_is_refused_or_whole(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    content = encoded(colours(16, 16), kind, **options)
    path = tmp_path / "cut.png"
    path.write_bytes(content)
    whole = array(load_picture(path))
    refused = 0
    for length in {1, 8, 20, *range(40, len(content), len(content) // 16), *range(len(content) - 30, len(content))}:
        path.write_bytes(content[:length])
        pixels = load_or_refusal(path)
        assert pixels is None or np.array_equal(pixels, whole)
        refused += pixels is None
    assert refused >= 16
    assert capfd.readouterr() == ("", "")


@quick
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP"]), place=st.integers(0), value=st.integers(0, 255))
def test_a_picture_with_a_wrong_byte_loads_or_is_refused(tmp_path: Path, kind: str, place: int, value: int) -> None:
    content = bytearray(encoded(colours(8, 8), kind))
    content[place % len(content)] = value
    (tmp_path / "damaged").write_bytes(content)
    load_or_refusal(tmp_path / "damaged")


def test_what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_text("not a picture at all")
    assert "no picture" in load_refusal(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert "no picture" in load_refusal(path)
    path.write_bytes(b"")
    assert "0 bytes" in load_refusal(path)
    path.write_bytes(png(0, 0, 8, 2, b""))
    load_refusal(path)
    assert "no picture file" in load_refusal(tmp_path / "gone.png")
    assert "no picture file" in load_refusal(tmp_path)


@pytest.mark.parametrize("side", [8200, 12000, 20000, 60000])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above our limit, above the size at which Pillow warns, and above the one at which it refuses."""
    limit = Image.MAX_IMAGE_PIXELS
    (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 2, b""))
    message = load_refusal(tmp_path / "bomb.png")
    assert str(images.LARGEST_PIXELS) in message
    assert limit == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_refusal(tmp_path / "bomb.png") == message


def test_the_largest_picture_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGEST_PIXELS", 20)
    colours(4, 5).save(tmp_path / "fits.png")
    colours(3, 7).save(tmp_path / "over.png")
    np.save(tmp_path / "over.npy", np.zeros((2, 3, 7), np.float32))
    fits = load_picture(tmp_path / "fits.png")
    assert array(fits).shape == (4, 5, 3)
    assert prepare(fits, 4, None, "bilinear").shape == (3, 4, 5)
    assert "resized to 5" in refusal(lambda: prepare(fits, 5, None, "bilinear"))
    assert "20 pixels" in load_refusal(tmp_path / "over.png")
    assert "20 pixels" in load_refusal(tmp_path / "over.npy", 2)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_other_numbers_of_channels_need_arrays(tmp_path: Path, channels: int) -> None:
    colours(2, 2).convert("RGBA").save(tmp_path / "c.png")
    message = load_refusal(tmp_path / "c.png", channels)
    assert f"({channels}, H, W)" in message
    assert ".npy" in message


# Arrays


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_arrays_load_as_floats(tmp_path: Path, kind: str, channels: int) -> None:
    values = np.random.default_rng(0).random((channels, 4, 6)).astype(kind)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "a.npy").rename(tmp_path / "a.NPY")
    picture = load_picture(tmp_path / "a.NPY", channels)
    assert isinstance(picture.pixels, np.ndarray)
    assert picture.pixels.dtype == np.float32
    assert picture.pixels.flags.writeable
    assert (picture.pixels == values.astype(np.float32)).all()
    tensor = prepare(picture, None, None, "bilinear")
    assert (tensor.numpy() == picture.pixels).all()
    tensor.zero_()
    assert picture.pixels.any(), "the tensor is a copy"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((4, 4)), "shape (4, 4)"),
        (np.zeros((4, 4, 3)), "shape (4, 4, 3)"),
        (np.zeros((1, 3, 4, 4)), "shape (1, 3, 4, 4)"),
        (np.zeros((3, 0, 4)), "shape (3, 0, 4)"),
        (np.zeros(()), "shape ()"),
        (np.zeros((3, 4, 4), np.uint8), "uint8"),
        (np.zeros((3, 4, 4), complex), "complex128"),
        (np.zeros((3, 4, 4), bool), "bool"),
        (np.full((3, 4, 4), np.nan), "not finite"),
        (np.full((3, 4, 4), np.inf), "not finite"),
        (np.full((3, 4, 4), 255.0), "255"),
        (np.full((3, 4, 4), -0.5), "-0.5"),
        (np.array([[[{}]]] * 3), "cannot read"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, values: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "a.npy", values)
    message = load_refusal(tmp_path / "a.npy")
    assert reason in message
    assert "expected floats in [0, 1], shape (3, H, W)" in message


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    stream = io.BytesIO()
    np.save(stream, np.zeros((3, 1000, 1000), np.float32))
    archive = io.BytesIO()
    np.savez(archive, np.zeros((3, 4, 4)))
    others = b"text", encoded(colours(2, 2), "PNG"), archive.getvalue()
    for content in (*others, stream.getvalue()[:4000], stream.getvalue()[:60]):
        path.write_bytes(content)
        assert "as an .npy array" in load_refusal(path)
    path.write_bytes(b"")
    assert "0 bytes" in load_refusal(path)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8000000, 8000000), }".ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    assert "as an .npy array" in load_refusal(path)


# Preparing


def as_torchvision(image: Image.Image, resize: int, crop: int, interpolation: str) -> torch.Tensor:
    transforms = import_torchvision().transforms
    preset = transforms._presets.ImageClassification(
        crop_size=crop,
        resize_size=resize,
        mean=(0.0,),
        std=(1.0,),
        interpolation=transforms.InterpolationMode(interpolation),
    )
    return preset(image)


@quick
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    resize=st.integers(1, 48),
    crop=st.integers(1, 56),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    grey=st.booleans(),
)
def test_prepared_as_torchvision_prepares_bit_for_bit(
    height: int, width: int, resize: int, crop: int, interpolation: str, grey: bool
) -> None:
    image = colours(height, width).convert("L" if grey else "RGB")
    tensor = prepare(Picture(image, Path("x.png"), ()), resize, (crop, crop), interpolation)
    expected = as_torchvision(image, resize, crop, interpolation)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor.shape == (1 if grey else 3, crop, crop)
    assert torch.equal(tensor, expected)


@quick
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    resize=st.integers(1, 48),
    rows=st.integers(1, 56),
    columns=st.integers(1, 56),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    channels=st.integers(1, 4),
)
def test_arrays_and_oblong_crops_are_prepared_as_torchvision_prepares_them(
    height: int, width: int, resize: int, rows: int, columns: int, interpolation: str, channels: int
) -> None:
    functional = import_torchvision().transforms.functional
    values = np.random.default_rng(height * 41 + width).random((channels, height, width), np.float32)
    name = "nearest-exact" if interpolation == "nearest" else interpolation
    mode = functional.InterpolationMode(name)
    resized = functional.resize(torch.from_numpy(values), resize, mode)
    expected = functional.center_crop(resized, [rows, columns]).clamp(0, 1)
    assert torch.equal(prepare(Picture(values, Path("x.npy"), ()), resize, (rows, columns), interpolation), expected)
    image = colours(height, width)
    shown = functional.center_crop(functional.resize(image, resize, mode), [rows, columns])
    prepared = prepare(Picture(image, Path("x.png"), ()), resize, (rows, columns), interpolation)
    assert torch.equal(prepared, functional.pil_to_tensor(shown) / 255)


def test_a_wrong_preparation_would_be_seen() -> None:
    picture = Picture(colours(50, 60), Path("x.png"), ())
    expected = as_torchvision(colours(50, 60), 33, 32, "bilinear")
    assert torch.equal(prepare(picture, 33, (32, 32), "bilinear"), expected)
    assert not torch.equal(prepare(picture, 33, (32, 32), "bicubic"), expected)
    assert not torch.equal(prepare(picture, 32, (32, 32), "bilinear"), expected)


def test_size_and_crop_may_stay_as_they_are() -> None:
    image = colours(10, 14)
    whole = torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1)
    picture = Picture(image, Path("x.png"), ())
    assert torch.equal(prepare(picture, None, None, "bilinear"), whole)
    assert torch.equal(prepare(picture, None, (4, 6), "bilinear"), whole[:, 3:7, 4:10])
    assert prepare(picture, 5, None, "bilinear").shape == (3, 5, 7)
    padded = prepare(picture, None, (12, 14), "bilinear")
    assert torch.equal(padded[:, 1:11], whole)
    assert not padded[:, [0, 11]].any()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_arrays_are_prepared_like_pictures(interpolation: str) -> None:
    image = colours(37, 51)  # no pixel of the smaller one lies on an edge between two
    values = (np.asarray(image) / np.float32(255)).transpose(2, 0, 1).copy()
    of_picture = prepare(Picture(image, Path("x.png"), ()), 20, (18, 22), interpolation)
    of_array = prepare(Picture(values, Path("x.npy"), ()), 20, (18, 22), interpolation)
    assert of_array.shape == (3, 18, 22)
    # Pillow rounds and clips to 8 bits after each axis.
    assert (of_picture - of_array).abs().max() < (1e-6 if interpolation == "nearest" else 4 / 255)
    shifted = prepare(Picture(np.roll(values, 1, 2), Path("x.npy"), ()), 20, (18, 22), interpolation)
    assert (of_picture - shifted).abs().max() > 0.1, "a shift by one pixel would be seen"


def test_bicubic_stays_between_black_and_white() -> None:
    steps = np.zeros((2, 8, 8), np.float32)
    steps[:, :, 4:] = 1
    tensor = prepare(Picture(steps, Path("x.npy"), ()), 16, None, "bicubic")
    assert (tensor.min(), tensor.max()) == (0, 1)


def test_preparing_refuses_what_it_cannot_do() -> None:
    picture = Picture(colours(4, 4), Path("x.png"), ())
    assert "nearest, bilinear, bicubic" in refusal(lambda: prepare(picture, 4, None, "lanczos"))
    for resize, crop in ((0, None), (-1, None), (None, (0, 4)), (4, (4, -2))):
        message = refusal(lambda resize=resize, crop=crop: prepare(picture, resize, crop, "bilinear"))
        assert f"resize to {resize} and crop to {crop}" in message
    assert "crop it first" in refusal(lambda: prepare(picture, 10**6, None, "bilinear"))


# Saving


@quick
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 99))
def test_what_is_saved_loads_again(tmp_path: Path, height: int, width: int, channels: int, seed: int) -> None:
    image = colours(height, width, seed).convert("RGB" if channels == 3 else "L")
    tensor = prepare(Picture(image, Path("x.png"), ()), None, None, "bilinear")
    saved = save_picture(tensor, tmp_path / "s.png")
    assert saved == tmp_path / "s.png"
    with Image.open(saved) as reopened:
        assert (reopened.format, reopened.mode) == ("PNG", image.mode)
    assert torch.equal(prepare(load_picture(saved, channels), None, None, "bilinear"), tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]


def test_saving_clips_rounds_and_leaves_the_tensor_alone(tmp_path: Path) -> None:
    values = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 2.0, torch.inf, -torch.inf, 100.4 / 255]]], requires_grad=True)
    kept = values.detach().clone()
    for number, kind in enumerate((torch.float32, torch.float64)):
        path = save_picture(values.to(kind), tmp_path / f"{number}.PNG")
        assert array(load_picture(path, 1)).tolist() == [[0, 0, 128, 255, 255, 255, 0, 100]]
    assert torch.equal(values, kept)


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (4, 4, 3), (1, 3, 4, 4), (3, 0, 4), ()])
def test_other_shapes_are_not_saved(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert str(shape) in refusal(lambda: save_picture(torch.zeros(shape), tmp_path / "s.png"))
    assert not list(tmp_path.iterdir())


def test_saving_refuses_in_one_line(tmp_path: Path) -> None:
    picture = torch.zeros(3, 4, 4)
    assert "uint8" in refusal(lambda: save_picture(picture.to(torch.uint8), tmp_path / "s.png"))
    assert "NaN" in refusal(lambda: save_picture(picture / 0, tmp_path / "s.png"))
    assert ".png" in refusal(lambda: save_picture(picture, tmp_path / "s.jpg"))
    assert ".png" in refusal(lambda: save_picture(picture, ""))
    assert "nowhere" in refusal(lambda: save_picture(picture, tmp_path / "nowhere" / "s.png"))
    assert not list(tmp_path.iterdir())
