"""Files that are small, or mostly a hole, and would take gigabytes where they are read before they are judged."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

GIGABYTES = 4_400_000_000


def with_hole(path: Path, parts: dict[str, bytes], hole: str, add: dict[str, bytes]) -> None:
    """A zip archive with an entry of GIGABYTES that are not on the disk."""
    with path.open("wb") as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        entry = zipfile.ZipInfo(hole)
        entry.file_size = entry.compress_size = GIGABYTES
        entry.CRC = 0
        entry.header_offset = file.tell()
        file.write(entry.FileHeader(zip64=True))
        file.seek(GIGABYTES, 1)
        archive.filelist.append(entry)
        archive.NameToInfo[hole] = entry
        archive._didModify = True
        archive.start_dir = file.tell()
        for name, content in add.items():
            archive.writestr(name, content)


def entries_of(saved: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def saved(content: object, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def extend(path: Path, content: bytes, size: int = GIGABYTES) -> None:
    """The content, and a hole after it."""
    with path.open("wb") as file:
        file.write(content)
        file.truncate(size)


def checkpoints(folder: Path) -> list[Path]:
    """Bombs that are weights."""
    large = torch.empty(GIGABYTES // 4, device="meta")
    parts = entries_of(saved({"0.weight": torch.zeros(7)}))
    root = next(iter(parts)).partition("/")[0]
    content = parts.pop(f"{root}/data/0")
    values = {name: data.replace(b"K\x07", b"J" + struct.pack("<i", large.numel())) for name, data in parts.items()}
    with_hole(folder / "archive.pth", values, f"{root}/data/0", {})
    extend(folder / "older.pth", saved({"0.weight": torch.zeros(7)}, zipped=False))
    extend(folder / "half-older.pth", saved({"0.weight": torch.zeros(7)}, zipped=False), 10**9)
    extend(folder / "zeros.pth", b"\0" * 8)
    described = {"0.weight": {"dtype": "F32", "shape": [large.numel()], "data_offsets": [0, GIGABYTES]}}
    header = json.dumps(described).encode()
    extend(folder / "values.safetensors", safetensors(header), 8 + len(header) + GIGABYTES)
    (folder / "lying.safetensors").write_bytes(safetensors(header))
    (folder / "length.safetensors").write_bytes(safetensors(header, 2**62))
    extend(folder / "length-hole.safetensors", safetensors(header, 2**31))
    long = json.dumps({"__metadata__": {str(number): "x" * 90 for number in range(200_000)}}).encode()
    (folder / "metadata.safetensors").write_bytes(safetensors(long))
    (folder / "list.pth").write_bytes(b"\x80\x02" + b"]" * 60_000_000 + b".")
    for name, steps in (
        ("steps", b"]" * 3_900_000),
        ("long", b"]" * 60_000_000),
        ("memory", pickle.dumps(bytearray(8), 2)),
    ):
        with zipfile.ZipFile(folder / f"{name}.pth", "w") as archive:
            text = steps if name == "memory" else b"\x80\x02" + steps + b"."
            archive.writestr("a/data.pkl", text.replace(b"K\x08", b"\x8a\x05" + (10**10).to_bytes(5, "little")))
            archive.writestr("a/version", b"3")
    with zipfile.ZipFile(folder / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
        archive.writestr(f"{root}/data/0", content + b"\0" * 40_000_000)
    directory = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 2, 0, 0)
    with (folder / "directory.pth").open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(2**32 - 2)
        file.write(directory)
    with zipfile.ZipFile(folder / "entries.pth", "w") as archive:
        for number in range(15_000):
            archive.writestr(f"a/{number}", b"")
    network = nn.Conv2d(3, 4, 3)
    for shape in ("8x3x2000x2000", "99999999999x3x32x32", "1x3x999999999x1", "x".join(["9"] * 5000)):
        metadata = {"format": "pt", "spec": "zoo:cifar-k3s2", "fixes": "backward-even", "images": shape}
        save_file(network.state_dict(), folder / f"shape-{len(shape)}.safetensors", metadata)
    return sorted([*folder.glob("*.pth"), *folder.glob("*.safetensors")])


def programs(folder: Path, honest: Path) -> list[Path]:
    """Bombs that are exported programs."""
    parts = entries_of(honest.read_bytes())
    root = next(iter(parts)).partition("/")[0]
    model = f"{root}/models/model.json"
    odd = {**parts, model: parts[model].replace(b"torch.ops.aten.relu.default", b"torch.ops.aten.from_file.default")}
    with_hole(folder / "operator.pt2", odd, f"{root}/data/weights/weight_99", {})
    less = {name: content for name, content in parts.items() if name != model}
    with_hole(folder / "description.pt2", less, model, {})
    with zipfile.ZipFile(folder / "deflated.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in less.items():
            archive.writestr(name, content)
        archive.writestr(model, b" " * 40_000_000)
    deep = {**parts, model: b'{"graph_module": ' + b"[" * 4_000_000 + b"]" * 4_000_000 + b"}"}
    wide = {**parts, model: b'{"graph_module": [' + b"[]," * 2_700_000 + b"[]]}"}
    for name, content in (("deep", deep), ("wide", wide)):
        with zipfile.ZipFile(folder / f"{name}.pt2", "w") as archive:
            for entry, data in content.items():
                archive.writestr(entry, data)
    extend(folder / "zeros.pt2", b"PK\3\4")
    return sorted(path for path in folder.glob("*.pt2") if path.name not in ("whole.pt2", honest.name))


def pictures(folder: Path) -> list[Path]:
    """Bombs that are pictures."""
    (folder / "wide.png").write_bytes(png(100_000, 100_000))
    (folder / "widest.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    packed = zlib.compress(b"\0" * 40_000_000)
    (folder / "text.png").write_bytes(png(64, 64, (b"zTXt", b"a\0\0" + packed)))
    (folder / "texts.png").write_bytes(png(64, 64, *[(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 2**20))] * 100))
    (folder / "profile.png").write_bytes(png(64, 64, (b"iCCP", b"a\0\0" + packed)))
    (folder / "data.png").write_bytes(png(8192, 8192))
    (folder / "wide.gif").write_bytes(
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + b"\0\0\0"
        + b","
        + struct.pack("<4HB", 0, 0, 65535, 65535, 0)
        + b"\2\1\0\0;"
    )
    (folder / "wide.ppm").write_bytes(b"P6 99999 99999 255\n\0")
    (folder / "wide.bmp").write_bytes(
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 90000, 90000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    tags = ((256, 100_000), (257, 100_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 100_000), (279, 1))
    (folder / "wide.tif").write_bytes(
        struct.pack("<2sHIH", b"II", 42, 8, len(tags))
        + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        + b"\0" * 4
    )
    array = (
        struct.pack("<6sBBH", b"\x93NUMPY", 1, 0, 118)
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 99999, 99999), }".ljust(117)
        + b"\n"
    )
    (folder / "wide.npy").write_bytes(array)
    extend(folder / "hole.npy", array.replace(b"(3, 99999, 99999)", b"(3, 19000, 19000)"), 128 + 3 * 19000 * 19000 * 4)
    extend(folder / "hole.png", b"\x89PNG\r\n\x1a\n")
    return sorted(
        [
            *folder.glob("*.png"),
            *folder.glob("*.gif"),
            *folder.glob("*.p[pn]m"),
            *folder.glob("*.bmp"),
            *folder.glob("*.tif"),
            *folder.glob("*.npy"),
        ]
    )


def write_all(folder: Path, honest: Path) -> list[Path]:
    return [*checkpoints(folder), *programs(folder, honest), *pictures(folder)]


def reader_of(path: Path) -> Callable[[Path], object]:
    from featvis.data.pictures import load_picture
    from featvis.models.specs import load_model

    if path.suffix == ".pt2":
        return lambda path: load_model(str(path), device="cpu")
    if path.suffix in (".pth", ".safetensors"):
        return lambda path: load_model("zoo:cifar-k3s2", weights=str(path), device="cpu")
    return load_picture


def most_memory() -> float:
    """The most memory that this program has had, in MiB; on Linux without that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    # Each file named: what its refusal said, the seconds of the processor it took, and the most memory so far in MiB.
    from featvis.errors import FeatvisError
    from featvis.models.specs import load_model

    load_model("zoo:cifar-k3s2", device="cpu")
    for name in sys.argv[1:]:
        path, start = Path(name), time.process_time()
        try:
            reader_of(path)(path)
            said = ""
        except FeatvisError as error:
            said = str(error)
        most = most_memory()
        print(json.dumps([path.name, said, round(time.process_time() - start, 3), round(most)]), flush=True)
