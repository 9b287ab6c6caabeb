"""Figures of small numbers, and what is read from them: pixels, texts, collisions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from featvis.plots import GradientView
from featvis.plots.page import style

HOSTILE = r"$x$ <script> % \frac{1}{2} {0} & ]]> --> ünïcode"


def picture(height=48, width=64):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows / height, columns / width, 0.5 + 0.5 * np.sin(rows / 5)], axis=-1)


def view(period, shape=(3, 48, 64), title="raw", border=(0, 0), seed=0, scale=1.0):
    """Noise whose energy follows an uneven profile: the first row and column of each period are weak."""
    profile = np.ones((period, period))
    if period > 1:
        profile[0], profile[:, 0] = 0.5, 0.5
        profile /= profile.mean()
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    noise = np.random.default_rng(seed).standard_normal(shape)
    energies = {p: (0.1 + 0.01 * p, 0.004) for p in range(2, period + 1) if period % p == 0}
    controls = dict.fromkeys((3, 5, 7), (0.0002, 0.0003))
    gradient = scale * noise * np.sqrt(profile[rows % period, columns % period])
    return GradientView(title, gradient, profile, energies, controls, period, border)


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def texts(figure):
    """Each drawn text with its box in pixels; matplotlib keeps tick labels beyond the limits that it never draws."""
    beyond = set()
    with style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
                beyond |= {tick for tick in ticks if not low <= tick.get_loc() <= high}
        unseen = {label for tick in beyond for label in (tick.label1, tick.label2)}
        found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        return [
            (text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in found if text not in unseen
        ]


def collisions(figure):
    boxes = [(text, box) for text, box in texts(figure) if box.width]
    together = [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.padded(-1).overlaps(other.padded(-1))]
    limits = figure.bbox
    cut = [
        text
        for text, box in boxes
        if box.x0 < limits.x0 or box.y0 < limits.y0 or box.x1 > limits.x1 or box.y1 > limits.y1
    ]
    return together + cut


def images(figure, colours):
    return [image for axes in figure.axes for image in axes.images if image.get_cmap().name == colours]
