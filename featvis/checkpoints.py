"""Read weights from a file without running anything that is in it, and put them into a network strictly."""

from __future__ import annotations

import ast
import io
import json
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from featvis.errors import FeatvisError

SUFFIXES = (".pth", ".pt", ".safetensors")

_NESTED = ("state_dict", "model_state_dict", "model", "params")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt` or `.safetensors` file by name, on the CPU.

    A training checkpoint that keeps them under `state_dict` or `model` is understood. Raises FeatvisError for a missing or damaged file,
    for a pickle that holds more than tensors (it is not run), and for a file without tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FeatvisError(
            f"no weights file {str(path)!r}; give a .pth or .safetensors file, an enum name, DEFAULT or none"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: Any = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, weights_only=True, map_location="cpu")
            )
    except Exception as error:  # damaged files make torch.load raise anything, IndexError and KeyError included
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and (named or _is_pickle(path)):
            what = f" ({named.group(1)})" if named else ""
            raise FeatvisError(
                f"{str(path)!r} is a pickle of Python objects{what}, not only tensors, and is not run; "
                "save model.state_dict() instead, best as .safetensors"
            ) from None
        if "TorchScript archive" in str(error):
            raise FeatvisError(
                f"{str(path)!r} is a TorchScript program, not weights; save the state_dict() of what torch.jit.load gives"
            ) from None
        raise FeatvisError(
            f"{str(path)!r} is not a checkpoint that PyTorch or safetensors wrote, or is damaged; save model.state_dict() again"
        ) from None
    if isinstance(content, Mapping):
        for key in _NESTED:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    state = (
        {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not state:
        raise FeatvisError(f"{str(path)!r} holds no named tensors; expected the state_dict of a network")
    return state


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles of protocol 2 and later do."""
    with path.open("rb") as file:
        return bool(re.match(rb"\x80[\x02-\x05]", file.read(2)))


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy the tensors into the network; every name and shape must fit, after a common prefix such as `module.` is stripped.

    Raises FeatvisError naming the first missing, unexpected and misshapen ones; nothing is copied then. Values take the network's own
    precision.
    """
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    state = _without_prefix(state, expected)
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    misshapen = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    faults = []
    for fault, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)):
        if names:
            shapes = f" ({_shape(state[names[0]])} for {_shape(expected[names[0]])})" if fault == "misshapen" else ""
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            faults.append(f"{fault} {names[0]}{shapes}{more}")
    if faults:
        raise FeatvisError(
            f"the weights of {source} do not fit the network: {'; '.join(faults)}; is it the same architecture?"
        )
    with torch.no_grad():
        for name, value in expected.items():
            if name in state:
                value.copy_(state[name])


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _without_prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The state with its common dotted prefixes stripped while that makes more names fit."""
    fitting = len(state.keys() & expected.keys())
    candidate = dict(state)
    while len(prefixes := {name.partition(".")[0] for name in candidate}) == 1 and all("." in n for n in candidate):
        length = len(prefixes.pop()) + 1
        candidate = {name[length:]: value for name, value in candidate.items()}
        if len(candidate.keys() & expected.keys()) > fitting:
            return candidate
    return state


def check_finite(module: nn.Module, source: str) -> None:
    """Raises FeatvisError naming the first parameter or buffer that holds NaN or infinity."""
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            raise FeatvisError(
                f"the weight {name!r} of {source} holds NaN or infinity; nothing computed from it would be true"
            )


def check_exported(path: str | Path) -> None:
    """Refuse an exported program through which torch's loader is known to run code.

    That is: pickles of more than tensors, wherever they stand; compiled libraries; the older format, pickles throughout; sizes that are
    no arithmetic, which sympy evaluates; names that are no names, which go into generated code; Python modules to import. The guards are
    left to the caller: `module(check_guards=False)`. Raises FeatvisError for those, and for a file that is no `.pt2` archive.
    """
    path = Path(path)
    if not path.is_file():
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
