"""What to expect of a network without a picture: in closed form for stacks of windows, and from architecture and weights."""

from __future__ import annotations

from typing import Any

__all__ = ["LayerPrediction", "Prediction", "predict"]


def __getattr__(name: str) -> Any:
    # The closed form needs no torch, so that the prediction of networks is imported where it is asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from featvis.predict import prediction

    return getattr(prediction, name)
