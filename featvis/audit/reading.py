"""Records of a file into dataclasses: each value of its field's type, finite and of a sane size, or an error that says where it is not."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from featvis.measure.estimates import Estimate

Record = TypeVar("Record")

LARGEST = 2**53
"""Whole numbers of a record are no larger than what JSON readers agree on."""

DEEPEST = 1000
"""Characters of the names on the way to a value."""

LONGEST = 100_000
"""Texts and lists of a record are no longer."""


SETTINGS: dict[str, Any] = {
    "model": str,
    "weights": str | None,
    "weights_hash": str,
    "seed": int | None,
    "input_size": tuple[int, int, int],
    "resize": int | None,
    "interpolation": str,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "device": str,
    "score": str,
    "method": str,
    "compensation": str,
    "output": str,
    "batch_size": int | None,
    "skip_bad": bool,
    "prepared": bool,
    "versions": dict[str, str | None],
}
"""What an audit's settings hold, where they hold it; there may be others."""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting of another type than it has."""
    for name, kind in SETTINGS.items():
        if name in settings:
            _read(kind, settings[name], f"settings.{name}")


def read_record(kind: type[Record], content: object, where: str = "") -> Record:
    """A dataclass or named tuple from the object of its fields; fields with a default may be missing, others than its own may not be there.

    Raises ValueError that names the place of the first value that is of another type, not finite, or too large.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where or 'the record'} is {_named(content)}, not an object")
    hints = typing.get_type_hints(kind)
    if is_dataclass(kind):
        needed = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}
        names = {one.name for one in fields(kind)}
    else:
        names = needed = set(hints)
    for name in sorted(needed - content.keys()):
        raise ValueError(f"{where}{'.' if where else ''}{name} is missing")
    for name in sorted(content.keys() - names):
        raise ValueError(f"{where}{'.' if where else ''}{name} is none of its fields")
    read = {name: _read(hints[name], value, f"{where}{'.' if where else ''}{name}") for name, value in content.items()}
    record = kind(**read)
    if isinstance(record, Estimate) and record.error is not None and record.error < 0:
        raise ValueError(f"{where} has a negative error")
    return record


def _read(kind: Any, value: object, where: str) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return _plain(value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        (other,) = (part for part in parts if part is not type(None))
        return _read(other, value, where)
    if origin is tuple:
        return _read_tuple(parts, value, where)
    if origin in (dict, Mapping):
        return _read_mapping(parts, value, where)
    if isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields")):
        if isinstance(value, kind):
            return value  # It was read and checked before.
        return read_record(kind, value, where)
    if kind in (int, float, str, bool):
        return _read_value(kind, value, where)
    raise TypeError(f"{where}: no way to read {kind}")


def _read_tuple(parts: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > LONGEST:
        raise ValueError(f"{where} is {_named(value)}, not a list")
    if parts[-1] is Ellipsis:
        return tuple(_read(parts[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if len(value) != len(parts):
        raise ValueError(f"{where} has {len(value)} values, not {len(parts)}")
    return tuple(
        _read(part, item, f"{where}[{place}]") for place, (part, item) in enumerate(zip(parts, value, strict=True))
    )


def _read_mapping(parts: tuple[Any, ...], value: object, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict) or len(value) > LONGEST:
        raise ValueError(f"{where} is {_named(value)}, not an object")
    read = {}
    for key, item in value.items():
        name: object = key
        if parts[0] is int:
            if not (key.isascii() and key.isdecimal() and len(key) < 10 and int(key) > 0):
                raise ValueError(f"{where} has the key {key[:40]!r}, not a whole number of pixels")
            name = int(key)
        read[name] = _read(parts[1], item, f"{where}.{key[:40]}")
    return read


def _read_value(kind: type, value: object, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {_named(value)}, not {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{where} is larger than any number of its kind")
    if isinstance(value, str) and len(value) > LONGEST:
        raise ValueError(f"{where} is a text of {len(value)} characters")
    return value


def _plain(value: object, where: str) -> Any:
    """A value of any type that JSON has, as it is."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        if len(where) > DEEPEST:
            raise ValueError(f"{where[:40]} is nested too deeply")
        return {key: _plain(item, f"{where}.{key[:40]}") for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    return _read_value(type(value), value, where)


def _named(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
