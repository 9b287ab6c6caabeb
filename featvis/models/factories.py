"""Networks that a user's own Python makes: `package.module:factory` or `path/file.py:factory`."""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from featvis.errors import FeatvisError, nearest_names


def network_from(spec: str) -> nn.Module:
    """What a class, or a function without arguments, returns; of an instance, a copy.

    Modules beside a file, or in the working folder, can be imported meanwhile, also from within the function. Raises FeatvisError for a
    source that cannot be imported, an unknown name, and for what is no network with shapes.
    """
    source, _, name = spec.rpartition(":")
    with _importable(source), _torch_as_before():
        made = _attribute(source, name)
        is_factory = callable(made) and not isinstance(made, nn.Module)
        try:
            made = made() if is_factory else copy.deepcopy(made)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and whatever else a user's code thinks of
            how = (
                "it is called without arguments" if is_factory else "it is copied first; give a function that makes it"
            )
            raise FeatvisError(f"{spec} raised {type(error).__name__}: {' '.join(str(error).split())}; {how}") from None
    if not isinstance(made, nn.Module):
        raise FeatvisError(
            f"{spec} gave {type(made).__name__}; expected a torch.nn.Module, or a function that returns one"
        )
    for name, tensor in (*made.named_parameters(), *made.named_buffers()):
        if is_lazy(tensor):
            raise FeatvisError(f"{spec}: {name!r} has no shape yet; run the network once before returning it")
        if tensor.is_meta:
            raise FeatvisError(f"{spec}: {name!r} is on the meta device, without values; make it on the CPU")
    return made


@contextlib.contextmanager
def _torch_as_before() -> Iterator[None]:
    """What code of others sets for all of torch is set back: default device and precision, gradients, threads, algorithms."""
    device, dtype, gradients = torch.get_default_device(), torch.get_default_dtype(), torch.is_grad_enabled()
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        torch.use_deterministic_algorithms(strict, warn_only=warned)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _importable(source: str) -> Iterator[None]:
    """The folder of a file, or the working folder, is importable meanwhile.

    What a file imported from its own folder is forgotten afterwards: another file may have neighbours of the same names.
    """
    is_file = source.endswith(".py")
    folder = Path(source).resolve().parent if is_file else Path.cwd()
    path, loaded = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        if is_file and str(folder) not in path:
            new = sys.modules.keys() - loaded
            neighbours = {name for name in new if "." not in name and _is_neighbour(folder, name)}
            for name in new:
                if name.partition(".")[0] in neighbours:
                    del sys.modules[name]


def _is_neighbour(folder: Path, name: str) -> bool:
    module = sys.modules[name]
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
    return Path(place).parent in (folder, folder / name)


def _attribute(source: str, name: str) -> Any:
    """A name in a module or file."""
    if source.endswith(".py") and not os.path.isfile(source):
        raise FeatvisError(f"no file {source!r}; write path/file.py:factory")
    try:
        module = _run(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise FeatvisError(f"{source!r} cannot be imported ({type(error).__name__}: {error})") from None
    if not hasattr(module, name):
        callables = [key for key, value in vars(module).items() if inspect.isclass(value) or inspect.isfunction(value)]
        raise FeatvisError(f"{source!r} has no {name!r}{nearest_names(name, callables)}")
    return getattr(module, name)


def _run(path: Path) -> Any:
    """The module that a file makes; it stays known, since dataclasses and type hints look their module up."""
    found = importlib.util.spec_from_file_location(f"featvis_user_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[found.name]
        raise
    return module
