"""Read what was saved, and write a file whole or not at all, or a stream as it is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open

from featvis.errors import FeatvisError

if TYPE_CHECKING:
    from torch import Tensor

Saved = TypeVar("Saved")


def read_saved(path: str | Path, what: str, parse: Callable[[str], Saved], option: str = "--json") -> Saved:
    """What `parse` makes of a text file; raises FeatvisError that names the file.

    what: "the profile " or the like, may be empty; option: the command line's that makes such a file.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FeatvisError(
            f"cannot read {what}{str(path)!r} ({type(error).__name__}); make one with {option}"
        ) from None
    except FeatvisError as error:
        raise FeatvisError(f"{str(path)!r}: {error}") from None


def make_folder(path: str | Path) -> Path:
    """The folder, made with its parents; raises FeatvisError where it cannot be made or written to."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FeatvisError(f"cannot write to the folder {str(folder)!r}: {error.strerror}; give another one") from None
    return folder


STANDARD_OUTPUT = "-"
"""The name of the standard output, wherever a file can be written."""


def check_file(path: str | Path) -> Path:
    """Makes the folder of a file that is to be written later; raises FeatvisError where that would fail."""
    path = Path(path)
    if os.path.isdir(path):
        raise FeatvisError(f"{str(path)!r} is a folder; give the name of a file")
    if is_stream(path):
        return path
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    temporary = _temporary(target)
    try:
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(0, "it is read-only")
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise FeatvisError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
    return path


def is_stream(path: str | Path) -> bool:
    """Whether a path is the standard output, a device, a pipe or an open file: what is written to as it is, and never replaced."""
    if str(path) == STANDARD_OUTPUT:
        return True
    try:
        found = os.stat(path)
    except OSError:
        return False
    named = os.path.abspath(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))
    return named or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))


def is_standard_output(path: str | Path) -> bool:
    """Whether what is written to a path goes where commands print."""
    if str(path) == STANDARD_OUTPUT:
        return True
    try:
        return is_stream(path) and os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def _write_stream(path: Path, write: Callable[[Path], object]) -> None:
    """Make the content in a folder of its own, and hand it on."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"content{path.suffix}"
        write(made)
        content = memoryview(made.read_bytes())
    if is_standard_output(path):
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        stream = os.dup(1)
    else:
        stream = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        while content:
            content = content[os.write(stream, content) :]
    except BrokenPipeError:
        pass  # Nobody reads on, which is no fault.
    finally:
        os.close(stream)


def _temporary(path: Path) -> Path:
    """A hidden name beside the file; it keeps the suffix, from which many writers choose the format."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path in the same folder, then rename: nobody ever sees half a file.

    A link stays, and the file that it leads to is replaced; a device, a pipe or the standard output ("-") gets the content as it is.
    Raises FeatvisError where the place cannot be written; whatever happens, no temporary file is left.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    temporary = _temporary(target)
    try:
        if is_stream(path):
            _write_stream(path, write)
            return path
        write(temporary)
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        raise FeatvisError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write text as UTF-8, whole or not at all."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Write named tensors as safetensors, whole or not at all."""
    from safetensors.torch import save

    # As bytes, so that a full disk is an OSError like everywhere.
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(metadata))
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a `.safetensors` file says of its tensors; nothing for any other file, and for one that cannot be read."""
    if Path(path).suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def plain(value: Any) -> Any:
    """A value as JSON takes it: objects by their own `content()`, else by their fields, arrays as lists, keys as text."""
    if hasattr(value, "content"):
        return value.content()
    if is_dataclass(value):
        value = vars(value)
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def document_text(content: Any) -> str:
    """A record as the text of a JSON object; `read_document` reads it by its `schema`."""
    return json.dumps(plain(content), indent=2) + "\n"


def write_document(path: str | Path, content: Any) -> Path:
    """Write a record as JSON, whole or not at all."""
    return write_text(path, document_text(content))


class _NotFiniteError(ValueError):
    pass


def _no_number(name: str) -> float:
    raise _NotFiniteError(f"it holds {name}")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:20])


def read_document(text: str, schema: str, expected: str) -> dict[str, Any]:
    """A JSON object of a schema, without that key."""
    try:
        content = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        said = f": {error}" if isinstance(error, _NotFiniteError) else ""
        raise FeatvisError(f"not JSON{said}; expected {expected}") from None
    if not isinstance(content, dict) or content.get("schema") != schema:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise FeatvisError(f"schema {found!r}; expected {schema!r}, {expected}")
    return {key: value for key, value in content.items() if key != "schema"}
