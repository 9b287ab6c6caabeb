"""Exported programs, `.pt2`: written anew from what is known to be harmless, and loaded as a network."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from featvis.errors import FeatvisError
from featvis.files import document_text
from featvis.models.archives import DAMAGED, opened
from featvis.models.pickles import load_tensors
from featvis.models.program import payload_reader, read_json, read_program


def load_exported(path: str) -> tuple[nn.Module, tuple[int, int | None, int | None]]:
    """The network of an exported program, for any number of pictures, and its input's (C, H, W); None for a side of any length.

    Raises FeatvisError where `checked` does, and for a program that cannot be loaded or takes something else than pictures.
    """
    harmless = checked(path)
    with warnings.catch_warnings(), _reasons_of("torch.export") as reasons:
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(harmless)
            # Guards are Python; those of the file are left out, a newer torch writes its own.
            unguarded = "check_guards" in inspect.signature(program.module).parameters
            module: nn.Module = program.module(check_guards=False) if unguarded else program.module()
        except Exception as error:
            said = str(reasons[0] if reasons else error).strip().partition("\n")[0][:200]
            raise FeatvisError(
                f"{path!r} cannot be loaded ({type(error).__name__}: {said}); export it with this torch"
            ) from None
    inputs = program.graph_signature.user_inputs
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.name in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or not isinstance(shapes[0][1], int):
        raise FeatvisError(f"{path} takes inputs of shape {[tuple(s) for s in shapes]}; expected one of (B, C, H, W)")
    batch, channels, *sides = shapes[0]
    if isinstance(batch, int):
        module = _OneBatch(module, batch)
    height, width = (side if isinstance(side, int) else None for side in sides)
    return module, (channels, height, width)


class _OneBatch(nn.Module):
    """An exported program of a fixed batch size, fed any number of pictures."""

    def __init__(self, program: nn.Module, batch: int) -> None:
        super().__init__()
        self.program, self.batch = program, batch

    def forward(self, images: Tensor) -> Any:
        missing = -len(images) % self.batch
        padded = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])]) if missing else images
        outputs = [self.program(part) for part in padded.split(self.batch)]
        return tree_map(lambda *parts: torch.cat(parts)[: len(images)], outputs[0], *outputs[1:])


@contextlib.contextmanager
def _reasons_of(name: str) -> Iterator[list[BaseException]]:
    """Takes what a logger would print with a traceback; gives the first cause of each."""
    reasons: list[BaseException] = []

    def take(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        while error is not None and error.__cause__ is not None:
            error = error.__cause__
        reasons.extend([error] if error else [])
        return False

    logger = logging.getLogger(name)
    logger.addFilter(take)
    try:
        yield reasons
    finally:
        logger.removeFilter(take)


def checked(path: str | Path) -> io.BytesIO:
    """An exported program written anew from what is known to be harmless in the file, for torch's loader, which trusts what it reads.

    The description is read by the grammar of `featvis.models.program`: functional operators, sizes that are arithmetic, names that are
    names. Weights are plain numbers, or pickles that hold only tensors. Nothing of the file is evaluated, imported or unpickled before
    that. Raises FeatvisError that names what is something else, and for a file that is no `.pt2` archive.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise FeatvisError(f"no exported program {str(path)!r}; make one with torch.export.save")
    try:
        with opened(path) as (archive, entries):
            return _written_anew(archive, entries)
    except FeatvisError as error:
        raise FeatvisError(f"{str(path)!r} {error}") from None
    except DAMAGED:
        raise FeatvisError(
            f"{str(path)!r} is not an exported program, or is damaged; make one with torch.export.save"
        ) from None


def _written_anew(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]) -> io.BytesIO:
    _check_names(entries)
    program = read_program(read_json(_small(archive, entries[_MODEL])))
    tensors = {
        folder: _payloads(archive, entries, folder, name, prefix)
        for folder, name, prefix in (("weights", "weights", "weight"), ("constants", "constants", "tensor"))
    }
    if _EXAMPLE in entries:
        # Not handed on; a pickle of other things says what the file is for.
        _tensors_in(_small(archive, entries[_EXAMPLE]))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as new:
        for name, content in (
            ("archive_format", "pt2"),
            ("archive_version", "0"),
            ("byteorder", "little"),
            (".data/version", "6\n"),
        ):
            new.writestr(f"program/{name}", content)
        new.writestr(f"program/{_MODEL}", document_text(program))
        new.writestr(f"program/{_EXAMPLE}", b"")
        for folder, contents in tensors.items():
            for name, content in contents.items():
                data = archive.read(content) if isinstance(content, zipfile.ZipInfo) else content
                new.writestr(f"program/data/{folder}/{name}", data)
    written.seek(0)
    return written


_MODEL = "models/model.json"
_EXAMPLE = "data/sample_inputs/model.pt"
_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|\.format_version|\.storage_alignment|extra/.*"
    rf"|{_MODEL}|{_EXAMPLE}|data/weights/(weight_\d+|model_weights_config\.json|model\.pt)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json|model\.pt)"
)
_LARGEST_DESCRIPTION = 2**23
"""Bytes; those of a hundred networks take two million at most."""


def _check_names(entries: dict[str, zipfile.ZipInfo]) -> None:
    if _MODEL not in entries:
        raise FeatvisError("holds no exported program; make one with torch.export.save")
    for name in entries:
        if name.startswith("data/aotinductor/"):
            raise FeatvisError("holds compiled libraries, which are not run; export it with torch.export.save")
        if re.match(r"data/constants/(custom|opaque)_obj", name):
            raise FeatvisError("holds pickled objects, which are not run; export it with plain tensors only")
        if not _KNOWN.fullmatch(name):
            raise FeatvisError(f"holds {name[:100]!r}, which is no part of an exported program; export it again")


def _small(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > _LARGEST_DESCRIPTION:
        raise FeatvisError(f"describes itself in {entry.file_size} bytes; expected at most {_LARGEST_DESCRIPTION}")
    return archive.read(entry)


def _payloads(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], folder: str, name: str, prefix: str
) -> dict[str, Any]:
    """What is to stand in a folder of tensors: its description, and its entries; of older archives, a pickle of tensors."""
    older, description = f"data/{folder}/model.pt", f"data/{folder}/model_{name}_config.json"
    if older in entries:
        pickled = io.BytesIO()
        torch.save(_tensors_in(archive.read(entries[older])), pickled)
        return {"model.pt": pickled.getvalue()}
    if description not in entries:
        raise FeatvisError(f"lacks {description!r}; export it again")
    config = payload_reader(prefix)(read_json(_small(archive, entries[description])))
    contents: dict[str, Any] = {Path(description).name: document_text(config)}
    for tensor, meta in config["config"].items():
        file = meta["path_name"]
        entry = entries.get(f"data/{folder}/{file}")
        lengths = [length.get("as_int") for length in meta["tensor_meta"]["sizes"]]
        if entry is None or None in lengths or (not entry.file_size and 0 not in lengths):
            raise FeatvisError(f"holds no values for {tensor!r}; export it again")
        contents[file] = entry
    return contents


def _tensors_in(pickled: bytes) -> Any:
    """What a pickle of only tensors holds, such as the example inputs; torch's own loader would run any other."""
    try:
        return load_tensors(io.BytesIO(pickled)) if pickled else {}
    except Exception:  # damaged pickles raise anything
        raise FeatvisError("holds pickled objects, which are not run; export it with plain tensors only") from None
