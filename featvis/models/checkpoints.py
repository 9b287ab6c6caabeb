"""Read weights from a file without running anything that is in it, and put them into a network strictly."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from featvis.errors import FeatvisError, shown
from featvis.models.pickles import load_tensors

SUFFIXES = (".pth", ".pt", ".safetensors")

_NESTED = ("state_dict", "model_state_dict", "model", "params")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pt` or `.safetensors` file by name, on the CPU.

    A training checkpoint that keeps them under `state_dict` or `model` is understood. Raises FeatvisError for a missing or damaged file,
    for a pickle that holds more than tensors (it is not run), and for a file without tensors.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise FeatvisError(
            f"no weights file {str(path)!r}; give a .pth or .safetensors file, an enum name, DEFAULT or none"
        )
    try:
        content: Any = _load_safetensors(path) if path.suffix == ".safetensors" else load_tensors(path)
    except FeatvisError as error:
        raise FeatvisError(f"{str(path)!r} {error}") from None
    except Exception as error:  # damaged files make torch.load raise anything, IndexError and KeyError included
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and (named or _is_pickle(path)):
            what = f" ({named.group(1)})" if named else ""
            raise FeatvisError(
                f"{str(path)!r} is a pickle of Python objects{what}, not only tensors, and is not run; "
                "save model.state_dict() instead, best as .safetensors"
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
    for name, value in state.items():
        if kind := _unusual(value):
            raise FeatvisError(
                f"{str(path)!r} holds {shown(name)!r} as a {kind} tensor; save the plain values, such as model.cpu().state_dict()"
            )
    return state


_LONGEST_HEADER = 2**23
"""Bytes that describe the tensors of a `.safetensors` file, about 100 for each."""


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if _LONGEST_HEADER < length < path.stat().st_size:
        raise FeatvisError(f"describes its tensors in {length} bytes; expected at most {_LONGEST_HEADER}")
    return load_file(path)


def _unusual(tensor: Tensor) -> str | None:
    """What keeps a tensor from being plain values; None for nothing."""
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout != torch.strided:
        return "sparse"
    return None if type(tensor) in (Tensor, nn.Parameter) and not tensor.is_nested else "nested or derived"


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles of protocol 2 and later do."""
    with path.open("rb") as file:
        return bool(re.match(rb"\x80[\x02-\x05]", file.read(2)))


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy the tensors into the network; every name and shape must fit, after a common prefix such as `module.` is stripped.

    Raises FeatvisError naming the first missing, unexpected and misshapen ones, and those of another kind: whole numbers for floating
    ones, complex ones. Nothing is copied then. Values take the network's own precision.
    """
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    state = _without_prefix(state, expected)
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    misshapen = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    other = [name for name in expected if name in state and not misshapen and not _fits(state[name], expected[name])]
    faults = []
    for fault, names, of in (
        ("missing", missing, None),
        ("unexpected", unexpected, None),
        ("misshapen", misshapen, _shape),
        ("of another kind", other, _kind),
    ):
        if names:
            both = f" ({of(state[names[0]])} for {of(expected[names[0]])})" if of else ""
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            faults.append(f"{fault} {shown(names[0])}{both}{more}")
    if faults:
        raise FeatvisError(
            f"the weights of {source} do not fit the network: {'; '.join(faults)}; is it the same architecture?"
        )
    with torch.no_grad():
        for name, value in expected.items():
            if name in state:
                value.copy_(state[name])


def _fits(given: Tensor, expected: Tensor) -> bool:
    """Whether no value changes but by rounding to a floating-point precision."""
    if expected.is_floating_point():
        return given.is_floating_point()
    if given.dtype == expected.dtype or expected.is_complex():
        return given.is_complex() == expected.is_complex()
    # Whole numbers in the precision that all of a checkpoint was saved in.
    return given.is_floating_point() and torch.equal(given.to(expected.dtype).to(given.dtype), given)


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
