"""What a network says of an input that it does not take, in one line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.tracing.watching import Watcher

_FEATVIS = str(Path(__file__).parent.parent)
_SHAPES = re.compile(
    r"(shape|size|dim|channel|element|height|width|resolution|divisib|divide|length|broadcast|[1-5]D\b)",
    re.I,
)
_NO_SHAPES = (AttributeError, KeyError, NameError, ImportError, NotImplementedError)


class refusals:  # noqa: N801, reads as a phrase: `with refusals(images)`
    """Turns what a network raises on its input into one line that says what was given; an error of featvis itself goes through."""

    def __init__(self, images: Tensor) -> None:
        self.shape = tuple(images.shape)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, FeatvisError) and _is_the_networks(error):
            said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            name = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            hint = "; check --channels and --size" if _is_of_shapes(error) else ""
            raise FeatvisError(f"the network refuses an input of shape {self.shape}: {name}{said}{hint}") from error


def _is_of_shapes(error: Exception) -> bool:
    return not isinstance(error, _NO_SHAPES) and _SHAPES.search(str(error)) is not None


def _is_the_networks(error: Exception) -> bool:
    """Whether the network raised it: the innermost that ran was a module or a backward pass, not a hook or a record of featvis."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    # Without any frame of either, such as where a test raises it, there is nobody else.
    return next((whose for frame in reversed(frames) if (whose := _whose(frame)) is not None), True)


def _whose(frame: FrameType) -> bool | None:
    """True for the network's own work, False for that of featvis, None for a helper of either."""
    code = frame.f_code
    if isinstance(frame.f_locals.get("self"), nn.Module) or code.co_name == "_engine_run_backward":
        return True
    if code is Watcher.perform.__code__:
        return True
    return False if code.co_filename.startswith(_FEATVIS) else None


def check_traceable(module: nn.Module) -> None:
    """Raises FeatvisError for a network whose operations cannot be watched, or whose weights are not there."""
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            what = f"the layer {name!r}" if name else "the network"
            raise FeatvisError(
                f"{what} is TorchScript, whose layers cannot be watched; give the nn.Module that it was made from"
            )
    if any(one.is_meta for one in (*module.parameters(), *module.buffers())):
        raise FeatvisError(
            "the network is on the meta device and has no weights; give it some: network.to_empty(device='cpu'), then load_state_dict"
        )
