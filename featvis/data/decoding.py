"""What a decoder forgave: pictures that it hands over whole although their file is not.

Pillow raises where a file ends too early, but hides what libjpeg warns of, does not look at the checksums of a PNG's data, and leaves
rows empty that a finished stream never gave. Decoding each picture twice would tell more; these checks cost 3 to 8 % of loading one,
and decode again only progressive JPEGs and those whose last block is grey.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

_FILLER = bytes(range(1, 255)) * 2
"""Bytes that a decoder reads only where it still lacks some; none of them is a marker."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")

_BASELINE, _PROGRESSIVE = 0xC0, (0xC2, 0xCA)
_TABLES_ALONE = (0xC4, 0xC8, 0xCC)
_START_OF_SCAN, _END, _RESTART_INTERVAL = 0xDA, 0xD9, 0xDD

_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT")


def forgiven(image: Image.Image, path: Path) -> str | None:
    """What is wrong with a picture that was decoded all the same, in a few words; None where nothing is.

    image: as the decoder left it, loaded. Sees in a JPEG whatever lacks data, scans or restart markers, in a PNG wrong checksums and
    missing rows. Bits that were changed in a JPEG without leaving it too short are not seen.
    """
    if image.format in ("JPEG", "MPO"):
        return _forgiven_jpeg(image, path.read_bytes())
    if image.format == "PNG":
        return _forgiven_png(image, path.read_bytes())
    return None


def _forgiven_jpeg(image: Image.Image, content: bytes) -> str | None:
    frame, scans, interval, components = 0, [], 0, b""
    simple, end = False, 0
    for marker, place, segment in _segments(content):
        if marker == _END:
            end = place
        elif 0xC0 <= marker <= 0xCF and marker not in _TABLES_ALONE:
            frame, components = marker, segment
        elif marker == _RESTART_INTERVAL:
            interval = int.from_bytes(segment[:2], "big")
        elif marker == _START_OF_SCAN:
            scans.append((place, segment, interval))
            # Only what lacks data leaves the last block in the grey that blocks begin with.
            simple = frame == _BASELINE and not interval
            if simple and not _ends_in_grey(image):
                return None
    if not end or not scans:
        return None  # Pillow refuses what has no end; streams of other structure are its own affair.
    if frame in _PROGRESSIVE and not _refined(components, [segment for _, segment, _ in scans]):
        return "some of its scans are missing"
    if interval and len(scans) == 1 and not _restarted(image, content[scans[0][0] : end], interval, components):
        return "restart markers are missing"
    if frame in _PROGRESSIVE or _ends_in_grey(image):
        try:
            with Image.open(io.BytesIO(content[:end] + _FILLER + content[end:]), formats=("JPEG",)) as again:
                again.load()
                same = again.mode == image.mode and again.tobytes() == image.tobytes()
        except Exception:  # the filler was decoded, and that can raise anything
            same = False
        if not same:
            return "its data end before its last rows"
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each marker of a JPEG with its place and what its segment holds, to the end of the first picture."""
    place = 2
    while found := _MARKER.search(content, place):
        marker, place = content[found.start() + 1], found.end()
        if marker == _END:
            yield marker, found.start(), b""
            return
        length = int.from_bytes(content[place : place + 2], "big")
        yield marker, found.start(), content[place + 2 : place + length]
        place += length


def _ends_in_grey(image: Image.Image) -> bool:
    """Whether the last block of 8 x 8 pixels is all grey, as blocks are before anything is decoded."""
    corner = image.crop((8 * ((image.width - 1) // 8), 8 * ((image.height - 1) // 8), *image.size))
    ranges = corner.getextrema()
    flat = [value for pair in (ranges if isinstance(ranges[0], tuple) else (ranges,)) for value in pair]
    return all(127 <= value <= 128 for value in flat)


def _refined(components: bytes, scans: list[bytes]) -> bool:
    """Whether the scans of a progressive JPEG give each coefficient of each component to its last bit."""
    left = {components[6 + 3 * number]: set(range(64)) for number in range(components[5])}
    for scan in scans:
        count = scan[0]
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        if not bits & 15:
            for number in range(count):
                left.get(scan[1 + 2 * number], set()).difference_update(range(first, last + 1))
    return not any(left.values())


def _restarted(image: Image.Image, scan: bytes, interval: int, components: bytes) -> bool:
    """Whether a scan of all components has a restart marker after each interval of its blocks."""
    sizes = [components[7 + 3 * number] for number in range(components[5])]
    across, down = (max(sizes) >> 4, max(size & 15 for size in sizes)) if len(sizes) > 1 else (1, 1)
    blocks = -(-image.width // (8 * across)) * -(-image.height // (8 * down))
    found = [marker[0] & 7 for marker in _RESTART.findall(scan)]
    wanted = -(-blocks // interval) - 1
    return found[:wanted] == [number & 7 for number in range(wanted)]


def _forgiven_png(image: Image.Image, content: bytes) -> str | None:
    parts, header, place = [], b"", 8
    while place + 8 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        data = memoryview(content)[place + 8 : place + 8 + length]
        if kind in _PIXEL_CHUNKS:
            checksum = int.from_bytes(content[place + 8 + length : place + 12 + length], "big")
            if zlib.crc32(data, zlib.crc32(kind)) != checksum:
                return "a checksum is wrong"
        if kind == b"IHDR":
            header = bytes(data)
        elif kind == b"IDAT":
            parts.append(data)
        elif kind in (b"IEND", b"fcTL") and parts:
            break
        place += 12 + length
    interlaced = len(header) == 13 and header[12] == 1
    # Rows that never came are zero, the last ones first; of an interlaced picture they lie anywhere.
    if not interlaced and any(image.crop((0, image.height - 1, *image.size)).tobytes()):
        return None
    return None if _inflated(parts, _png_bytes(header, interlaced)) else "its data end before its last rows"


def _png_bytes(header: bytes, interlaced: bool) -> int:
    """The bytes of all rows of a PNG, each with the one that names its filter."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[header[9]]
    passes = (
        ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
        if interlaced
        else ((0, 1, 0, 1),)
    )
    sizes = ((-((x - width) // right), -((y - height) // down)) for x, right, y, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _inflated(parts: list[memoryview], wanted: int) -> bool:
    """Whether compressed parts hold so many bytes; they are never all in memory."""
    stream, got = zlib.decompressobj(), 0
    for part in parts:
        left: bytes | memoryview = part
        while left and got < wanted:
            got += len(stream.decompress(left, 1 << 20))
            left = stream.unconsumed_tail
    return got + len(stream.flush()) >= wanted if got < wanted else True
