"""What the figures of studies have in common: colours, estimates with their errors, axes without a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from featvis.measure.estimates import Estimate

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
"""They differ for every kind of colour vision: Okabe and Ito 2008."""

GREY, LINE = "#999999", "#666666"
"""What is not the subject, and lines that help the eye."""


def draw_estimates(axes: Axes, places: Sequence[float], estimates: Sequence[Estimate], **style: Any) -> None:
    """Values with their errors as bars."""
    values = [estimate.value for estimate in estimates]
    axes.errorbar(places, values, [estimate.error or 0 for estimate in estimates], **style)


def open_box(axes: Axes) -> None:
    """Take the upper and the right edge away."""
    axes.spines[["top", "right"]].set_visible(False)
