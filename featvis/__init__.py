"""featvis measures, predicts, locates and removes the checkerboard in the gradients of convolutional networks."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names and the module that each lives in; imported on first use, so that `import featvis` loads no torch.
_PUBLIC = {
    "Audit": "audit",
    "CheckerboardEnergy": "energy",
    "Energies": "energy",
    "Estimate": "energy",
    "FeatvisError": "errors",
    "GradientEngine": "gradients",
    "Model": "models",
    "ZOO": "zoo",
    "audit_pictures": "audit",
    "checkerboard_energy": "energy",
    "find_culprits": "culprits",
    "find_pictures": "images",
    "input_gradient": "gradients",
    "load_model": "models",
    "phase_profile": "energy",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featvis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"featvis.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
