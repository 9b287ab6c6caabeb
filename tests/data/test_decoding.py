"""What decoders forgive is refused, and honest pictures are not."""

import struct
import zlib

import pytest
from helpers.refusals import refusal
from PIL import Image

from featvis.data.pictures import load_picture

WAYS = {
    "plain": {},
    "fine": {"quality": 95, "subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.fixture
def picture():
    corners = Image.frombytes("RGB", (4, 3), bytes((37 * number) % 256 for number in range(36)))
    return corners.resize((128, 96), Image.Resampling.BICUBIC)


def saved(tmp_path, image, kind, **options):
    path = tmp_path / f"a.{kind}"
    image.save(path, **options)
    return path, path.read_bytes()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def parts_of(content):
    """What stands before the pixels of a PNG that Pillow wrote, and the pixels' bytes, compressed."""
    place = content.index(b"IDAT")
    return content[: place - 4], content[place + 4 : place + 4 + int.from_bytes(content[place - 4 : place], "big")]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_that_lacks_data_is_refused_though_its_stream_ends(tmp_path, picture, way, mode):
    path, content = saved(tmp_path, picture.convert(mode), "jpg", **WAYS[way])
    load_picture(path)
    for share in (0.5, 0.65, 0.8, 0.95):
        path.write_bytes(content[: int(share * len(content))].rstrip(b"\xff") + b"\xff\xd9")
        with Image.open(path) as image:
            decoded = True
            try:
                image.load()
            except OSError:
                decoded = False
        assert ("is decoded with errors: " in refusal(load_picture, path)) == decoded


@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_whose_header_promises_more_is_refused(tmp_path, picture, way):
    path, content = saved(tmp_path, picture, "jpg", **WAYS[way])
    place = content.index(b"\xff\xc2\x00\x11" if way == "progressive" else b"\xff\xc0\x00\x11") + 5
    assert content[place : place + 4] == struct.pack(">HH", 96, 128)
    path.write_bytes(content[:place] + struct.pack(">HH", 640, 640) + content[place + 4 :])
    with Image.open(path) as image:
        image.load()
    assert "is decoded with errors: " in refusal(load_picture, path)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("grey", [127, 128])
def test_honest_grey_is_no_missing_data(tmp_path, picture, way, mode, grey):
    image = picture.convert(mode)
    image.paste(grey if mode == "L" else (grey,) * len(mode), (0, 40, 128, 96))
    assert load_picture(saved(tmp_path, image, "jpg", **WAYS[way])[0]).notes == ()


def test_what_stands_behind_a_jpeg_is_not_its_own(tmp_path, picture):
    path, content = saved(tmp_path, picture, "jpg", progressive=True)
    path.write_bytes(content + content[: len(content) // 2])
    assert load_picture(path).size == (96, 128)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "I;16"])
def test_a_png_with_a_wrong_checksum_or_missing_rows(tmp_path, picture, mode):
    image = picture.convert("I").convert("I;16") if mode == "I;16" else picture.convert(mode)
    path, content = saved(tmp_path, image, "png")
    load_picture(path)
    before, data = parts_of(content)

    place = len(before) + 8 + len(data)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert "is decoded with errors: a checksum is wrong" in refusal(load_picture, path)

    rows = zlib.decompress(data)
    path.write_bytes(before + chunk(b"IDAT", zlib.compress(rows[: len(rows) // 2])) + chunk(b"IEND", b""))
    assert "is decoded with errors: its data end before its last rows" in refusal(load_picture, path)

    header = struct.pack(">II", 640, 640) + content[24:29]
    path.write_bytes(content[:8] + chunk(b"IHDR", header) + before[33:] + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    assert "picture" in refusal(load_picture, path)  # Pillow's refusal where rows begin with an unknown filter


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA"])
def test_honest_black_is_no_missing_row(tmp_path, picture, mode):
    image = picture.convert(mode)
    image.paste(0 if len(image.getbands()) == 1 else (0,) * len(mode), (0, 40, 128, 96))
    assert load_picture(saved(tmp_path, image, "png")[0]).size == (96, 128)


def test_an_interlaced_png_is_counted_by_its_passes(tmp_path):
    """9 x 5 grey pixels; the sizes of the seven passes are those of the PNG specification, section 8.2."""
    sizes = ((1, 2), (1, 1), (1, 3), (2, 2), (1, 5), (3, 4), (2, 9))
    rows = b"".join((b"\0" + bytes([200]) * columns) * count for count, columns in sizes)
    path = tmp_path / "a.png"
    for data, fine in ((rows, True), (rows[:-1], False), (rows[:-10], False)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 5, 8, 0, 0, 0, 1))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
        if fine:
            assert load_picture(path, 1).pixels.getextrema() == (200, 200)
        else:
            assert "picture" in refusal(load_picture, path, 1)
