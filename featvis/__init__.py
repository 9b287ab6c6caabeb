"""featvis measures, predicts, locates and removes the checkerboard in the gradients of convolutional networks."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

# Public names and the module that each lives in; imported on first use, so that `import featvis` loads no torch.
_PUBLIC = {
    "Audit": "audit.record",
    "BlurPool1d": "repair.layers",
    "BlurPool2d": "repair.layers",
    "Change": "repair.changes",
    "CheckerboardEnergy": "measure.metric",
    "Comparison": "audit.comparison",
    "CycleSpinning": "gradients.compensations",
    "Dream": "dream.dreaming",
    "Energies": "measure.sums",
    "Equalise": "gradients.compensations",
    "Estimate": "measure.estimates",
    "FIXES": "repair.surgery",
    "Faithfulness": "gradients.faithfulness",
    "FeatvisError": "errors",
    "Fix": "repair.surgery",
    "GradientEngine": "gradients.engine",
    "InputXGradient": "gradients.attributions",
    "IntegratedGradients": "gradients.attributions",
    "Jitter": "gradients.compensations",
    "L2Pool1d": "repair.layers",
    "L2Pool2d": "repair.layers",
    "Laplacian": "gradients.compensations",
    "LowPass": "gradients.compensations",
    "MaxBlurPool1d": "repair.layers",
    "MaxBlurPool2d": "repair.layers",
    "Model": "models.model",
    "Request": "audit.request",
    "ResizeConv1d": "repair.layers",
    "ResizeConv2d": "repair.layers",
    "Running": "audit.request",
    "SmoothGrad": "gradients.attributions",
    "SmoothHold1d": "repair.layers",
    "SmoothHold2d": "repair.layers",
    "SmoothingDeconv1d": "repair.layers",
    "SmoothingDeconv2d": "repair.layers",
    "SubPixelConv1d": "repair.layers",
    "SubPixelConv2d": "repair.layers",
    "UnshuffleConv1d": "repair.layers",
    "UnshuffleConv2d": "repair.layers",
    "Vanilla": "gradients.attributions",
    "Variant": "audit.variants",
    "Watching": "audit.request",
    "ZOO": "models.zoo",
    "audit_discriminator": "gan",
    "audit_generator": "gan",
    "audit_picture_files": "gan",
    "audit_maps": "audit.maps",
    "audit_pictures": "audit.run",
    "checkerboard_energy": "measure.sums",
    "compare_upsampling": "gan.upsampling",
    "compare_variants": "audit.variants",
    "find_culprits": "audit.culprits",
    "find_pictures": "data.pictures",
    "icnr_": "repair.layers",
    "input_gradient": "gradients.engine",
    "load_model": "models.specs",
    "operate": "repair.surgery",
    "parse_objective": "dream.objectives",
    "phase_profile": "measure.phases",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'featvis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"featvis.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
