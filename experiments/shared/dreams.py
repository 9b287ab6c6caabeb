"""Two dreams side by side, for the pages."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from featvis.dream.comparison import Measured
from featvis.measure.finding import named
from featvis.plots.page import Page

GAP, HEAD = 8, 28
"""Screen pixels between the two, and above them."""

SMALLEST = 43
"""Screen pixels of width for each point of a title's letters."""


def side_by_side(dreams: Sequence[Measured], period: int, zoom: int) -> Figure:
    """Dreams of one size, each under its title and E of a period. zoom: screen pixels for each of a dream's own."""
    height, width = (side * zoom for side in dreams[0].dream.picture.shape[1:])
    page = Page(len(dreams) * (width + GAP) - GAP, HEAD + height)
    for number, one in enumerate(dreams):
        assert one.picture is not None
        x = number * (width + GAP)
        said = f"{one.title}: {named(period, one.picture.energy[period])}"
        page.text(x, 4, said, min(11.5, width / SMALLEST), weight="bold")
        axes = page.axes(x, HEAD, width, height)
        axes.imshow(one.dream.picture.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
        axes.set_axis_off()
    return page.finished()
