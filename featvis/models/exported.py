"""Exported programs, `.pt2`: refused where torch's loader would run code from the file, else loaded as a network."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import logging
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from featvis.errors import FeatvisError


def load_exported(path: str) -> tuple[nn.Module, tuple[int, int | None, int | None]]:
    """The network of an exported program, for any number of pictures, and its input's (C, H, W); None for a side of any length.

    Raises FeatvisError where `check_exported` does, and for a program that cannot be loaded or takes something else than pictures.
    """
    check_exported(path)
    with warnings.catch_warnings(), _reasons_of("torch.export") as reasons:
        warnings.simplefilter("ignore")
        try:
            program = torch.export.load(path)
            # The guards are Python from the file; a newer torch would run them.
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


def check_exported(path: str | Path) -> None:
    """Refuse an exported program through which torch's loader is known to run code.

    That is: pickles of more than tensors, wherever they stand; compiled libraries; the older format, pickles throughout; sizes that are
    no arithmetic, which sympy evaluates; names that are no names, which go into generated code; Python modules to import. The guards are
    left to the caller: `module(check_guards=False)`. Raises FeatvisError for those, and for a file that is no `.pt2` archive.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise FeatvisError(f"no exported program {str(path)!r}; make one with torch.export.save")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            documents = [json.loads(archive.read(name)) for name in names if _is_document(name)]
            pickles = [archive.read(name) for name in names if name.lower().endswith(".pt")]
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError):
        raise FeatvisError(
            f"{str(path)!r} is not an exported program, or is damaged; make one with torch.export.save"
        ) from None
    if "version" in names:
        raise FeatvisError(f"{str(path)!r} is in the format of torch 2.7 and older; export it again with a newer torch")
    if not any("/models/" in name for name in names):
        raise FeatvisError(f"{str(path)!r} holds no exported program; make one with torch.export.save")
    if len({name.lower() for name in names}) < len(names):
        raise FeatvisError(f"{str(path)!r} holds a file twice, so that readers may differ; export it again")
    if any("aotinductor" in name.lower() for name in names):
        raise FeatvisError(
            f"{str(path)!r} holds compiled libraries, which are not run; export it with torch.export.save"
        )
    if not all(_is_tensors(pickled) for pickled in pickles):
        raise FeatvisError(f"{str(path)!r} holds pickled objects, which are not run; export it with plain tensors only")
    for key, value in _items(documents):
        if fault := _fault(key, value):
            raise FeatvisError(f"{str(path)!r} holds {fault}; export it again, with plain tensors only")


def _is_document(name: str) -> bool:
    return name.lower().endswith(".json") or "/models/" in name


def _is_tensors(pickled: bytes) -> bool:
    """Whether a pickle, such as the example inputs, holds only tensors; torch's own loader would run it otherwise."""
    try:
        torch.load(io.BytesIO(pickled), weights_only=True, map_location="cpu")
    except Exception:  # damaged pickles raise anything
        return not pickled
    return True


def _fault(key: str, value: Any) -> str | None:
    """What torch's loader would run or import for one entry of an exported program; None for nothing."""
    if key == "use_pickle" and value:
        return "pickled tensors, which are not run"
    if key == "path_name" and isinstance(value, str) and ("custom_obj" in value or "opaque" in value):
        return "pickled objects, which are not run"
    if key == "expr_str" and not (isinstance(value, str) and _is_arithmetic(value)):
        return f"the expression {value!r}, which is not a size and is not evaluated"
    if key.endswith("name") and isinstance(value, str) and not re.fullmatch(r"[\w.\-/: ]*", value):
        return f"the name {value!r}, which is none"
    if isinstance(value, str) and ("__enum__" in value or "defaultdict" in value):
        return f"a reference to a Python module under {key!r}, which is not imported"
    return None


def _is_arithmetic(expression: str) -> bool:
    """Whether numbers, names, operators and calls of sympy's classes on them are all there is; classes are in capitals there."""
    try:
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in nodes:
        if isinstance(node, ast.Call):
            fitting = isinstance(node.func, ast.Name) and node.func.id[0].isupper()
        elif isinstance(node, ast.Constant):
            fitting = not isinstance(node.value, str) or node.value.isidentifier()
        else:
            fitting = isinstance(node, _ARITHMETIC)
        if not fitting:
            return False
    return True


_ARITHMETIC = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.Name,
    ast.Load,
    ast.keyword,
)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _items(item)
    elif isinstance(value, list):
        for item in value:
            yield from _items(item)
