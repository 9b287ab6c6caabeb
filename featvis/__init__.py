"""featvis measures, predicts, locates and removes the checkerboard in the gradients of convolutional networks."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names and the module that each lives in; imported on first use, so that `import featvis` loads no torch.
_PUBLIC = {
    "Audit": "audit",
    "BlurPool1d": "layers",
    "BlurPool2d": "layers",
    "Change": "changes",
    "CheckerboardEnergy": "energy",
    "Comparison": "comparison",
    "Dream": "dream",
    "Energies": "energy",
    "Estimate": "energy",
    "FIXES": "surgery",
    "Faithfulness": "faithfulness",
    "FeatvisError": "errors",
    "Fix": "surgery",
    "GradientEngine": "gradients",
    "L2Pool1d": "layers",
    "L2Pool2d": "layers",
    "MaxBlurPool1d": "layers",
    "MaxBlurPool2d": "layers",
    "Model": "models",
    "ResizeConv1d": "layers",
    "ResizeConv2d": "layers",
    "SmoothHold1d": "layers",
    "SmoothHold2d": "layers",
    "SmoothingDeconv1d": "layers",
    "SmoothingDeconv2d": "layers",
    "SubPixelConv1d": "layers",
    "SubPixelConv2d": "layers",
    "UnshuffleConv1d": "layers",
    "UnshuffleConv2d": "layers",
    "Variant": "compare",
    "ZOO": "zoo",
    "audit_discriminator": "gan",
    "audit_generator": "gan",
    "audit_picture_files": "gan",
    "audit_pictures": "audit",
    "checkerboard_energy": "energy",
    "compare_upsampling": "generators",
    "compare_variants": "compare",
    "find_culprits": "culprits",
    "find_pictures": "images",
    "icnr_": "layers",
    "input_gradient": "gradients",
    "load_model": "models",
    "operate": "surgery",
    "parse_objective": "objectives",
    "phase_profile": "energy",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featvis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"featvis.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
