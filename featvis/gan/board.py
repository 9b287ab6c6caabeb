"""Scalars and pictures for TensorBoard, where it is installed."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featvis.audit.record import Audit
from featvis.errors import FeatvisError
from featvis.files import make_folder


def scalars_of(name: str, audit: Audit) -> dict[str, float]:
    """An audit's energies, controls and signed comb as TensorBoard names them: `generated/energy/4`."""
    kinds = {"energy": audit.energy, "control": audit.controls, "signed_comb": audit.signed_comb}
    scalars = {
        f"{name}/{kind}/{period}": estimate.value for kind, found in kinds.items() for period, estimate in found.items()
    }
    return {**scalars, f"{name}/high_frequency_share": audit.high_frequency_share.value}


def check_tensorboard() -> Any:
    """torch.utils.tensorboard's writer class; raises FeatvisError where TensorBoard is not installed."""
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise FeatvisError(
            f"--tensorboard needs TensorBoard, which cannot be imported ({error}); install it with `pip install tensorboard`"
        ) from None


def write_board(
    folder: str | Path, scalars: Mapping[str, float], figures: Mapping[str, Any] | None = None, step: int = 0
) -> Path:
    """Write scalars, and matplotlib figures as pictures, into a TensorBoard folder at a global step.

    Raises FeatvisError where TensorBoard is not installed or the folder cannot be written.
    """
    import numpy as np
    from PIL import Image

    writer = check_tensorboard()(log_dir=str(make_folder(folder)))
    try:
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)
        for name, figure in (figures or {}).items():
            drawn = io.BytesIO()
            figure.savefig(drawn, format="png")
            pixels = np.asarray(Image.open(drawn).convert("RGB"))
            writer.add_image(name, pixels, step, dataformats="HWC")
    finally:
        writer.close()
    return Path(folder)
