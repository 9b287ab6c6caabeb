"""What is installed: versions for records, and torchvision where its compiled operators do not load.

torchvision's wheels expect the CUDA build of torch. Beside a CPU build its operators stay undeclared and `import torchvision`
stops at the first module that annotates one. No classification model needs them: declaring their schemas is enough.
"""

from __future__ import annotations

import importlib
import platform
import sys
from importlib.metadata import version
from types import ModuleType

import torch

from featvis.errors import FeatvisError

UNDECLARED = "operator torchvision::"
"""What the error of an import says where the operators are missing."""

_BOX_SUPPRESSION = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# The declarations last as long as this object.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """torchvision, imported as it is where that works, else with its two box operators declared first.

    Raises FeatvisError where it is not installed or does not fit the installed torch.
    """
    if sys.modules.get("torchvision"):
        return sys.modules["torchvision"]
    try:
        return importlib.import_module("torchvision")
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        if UNDECLARED not in str(error) or _declared:
            said = " ".join(str(error).split())
            raise FeatvisError(
                f"torchvision cannot be imported ({said}); install the one that fits torch {torch.__version__}"
            ) from None
    # The failed import leaves its first modules behind.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _BOX_SUPPRESSION)
    _declared.append(library)
    return import_torchvision()


def versions() -> dict[str, str]:
    """What measured, for records."""
    return {"featvis": version("featvis"), "torch": torch.__version__, "python": platform.python_version()}
