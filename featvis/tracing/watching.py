"""Seeing every operation of a computation while it runs, below autograd."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Watcher(TorchDispatchMode):
    """Whose `__torch_dispatch__` sees each operation while it is entered; compiled networks run uncompiled meanwhile."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would import its whole compiler, longer than all else, to keep it from a method that it rarely meets.
        return False

    @staticmethod
    def perform(operation: Any, arguments: Any, keywords: Any) -> Any:
        """What the network asked for: an error from here is its own, one from the rest of `__torch_dispatch__` is not."""
        return operation(*arguments, **keywords)

    def __enter__(self) -> Any:
        # A compiled network has imported the compiler.
        compiled = "torch._dynamo" in sys.modules
        self._uncompiled = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
        self._uncompiled.__enter__()
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._uncompiled.__exit__(*raised)
