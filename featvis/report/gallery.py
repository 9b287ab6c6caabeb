"""Samples of a network's inputs, each beside its gradient, as images that a page holds itself and shows without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featvis.plots.palette import SIGNED
from featvis.plots.panels import percentile
from featvis.report.views import coloured, data_url, picture_url, relative

WIDE, NARROW = 96, 64
"""Screen pixels that a sample takes on wide and narrow screens, about: each of its own is a whole number of them."""

ROOM = 1_500_000
"""Bytes of all samples of a page."""


def gallery(samples: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]) -> list[dict[str, Any]]:
    """What a template reads of pictures (H, W, 1 or 3) in [0, 1] and their gradients (C, H, W), by source, all on one scale of colours.

    Of each source as many as fit into its part of the room; sources without any are left out.
    """
    signed = {
        name: [relative(gradient.sum(0, dtype=np.float64)) for _, gradient in pairs] for name, pairs in samples.items()
    }
    limit = percentile([np.abs(one) for maps in signed.values() for one in maps], 99) if any(signed.values()) else 1.0
    shown = []
    for name, pairs in samples.items():
        left, cells = ROOM // len(samples), []
        for (picture, _), one in zip(pairs, signed[name], strict=True):
            urls = picture_url(picture), data_url(coloured(one / limit / 2 + 0.5, SIGNED))
            left -= sum(map(len, urls))
            if left < 0:
                break
            cells.append(urls)
        if cells:
            height, width = pairs[0][0].shape[:2]
            times, fewer = (max(1, round(room / width)) for room in (WIDE, NARROW))
            sizes = {"width": times * width, "height": times * height, "narrow": fewer * width}
            shown.append({"name": name, "cells": cells, **sizes})
    return shown
