"""How a measured number is written, in figures and in sentences; without torch, as figures are drawn without it."""

from __future__ import annotations

import math


def number_words(value: float, error: float | None) -> str:
    """A value and its error, both to the error's leading digit."""
    if not error:
        return f"{value:.3g}".replace("-", "−")
    digits = min(max(-math.floor(math.log10(error)), 0), 8)
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "−")
