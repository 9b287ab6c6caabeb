"""Pictures that climb an objective: DeepDream and feature visualisation, with and without compensation."""

from __future__ import annotations

from typing import Any

__all__ = ["Dream", "check", "dream"]


def __getattr__(name: str) -> Any:
    # What a dream is made of serves without the loop around it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from featvis.dream import dreaming

    return getattr(dreaming, name)
