"""The first picture of the README: a photograph dreamed through random weights at a fixed position and with jitter, side by side.

    python experiments/screen_door.py

The photograph and the network ship with featvis; the objective is the last stage, in one octave. Eighty small steps go as far as the usual
ten, and give jitter eighty positions to average over. E is that of what the dream drew, the photograph and its smooth part taken off.
Writes docs/screen_door.png, each pixel of the dream as 2 x 2 pixels of the screen, and prints E and its controls.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from shared.command_line import parser_of
from shared.tables import DOCS

from featvis.dream.comparison import Measured, timed_dream
from featvis.models.specs import load_model
from featvis.models.zoo import PHOTOGRAPH
from featvis.plots import save_figure
from featvis.plots.page import Page, style

SIZE, ZOOM, GAP, HEAD = (120, 180), 2, 8, 28
"""Rows and columns of a dream, screen pixels for each of its own, between the two, and above them: narrow enough for a page of text."""

STEPS, USUAL = 80, 10
RATE = 1.5 / 255 * USUAL / STEPS


def dreamt(jitter: int) -> Measured:
    """The dream with shifts of at most so many pixels."""
    model = load_model("zoo:cifar-k3s2", "none", size=SIZE)
    _, start = model.load(PHOTOGRAPH)
    title = f"jitter {jitter}" if jitter else "a fixed position"
    return timed_dream(title, model, "stage3", start, octaves=1, jitter=jitter, steps=STEPS, rate=RATE)


def figure_of(dreams: list[Measured]) -> Figure:
    """The dreams side by side, each under its title and its E."""
    height, width = (side * ZOOM for side in SIZE)
    page = Page(2 * width + GAP, HEAD + height)
    for number, one in enumerate(dreams):
        assert one.picture is not None
        period = one.dream.total_stride
        x = number * (width + GAP)
        page.text(x, 4, f"{one.title}: E({period}) = {one.picture.energy[period].value:.2f}", 11.5, weight="bold")
        axes = page.axes(x, HEAD, width, height)
        axes.imshow(one.dream.picture.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
        axes.set_axis_off()
    return page.finished()


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    dreams = [dreamt(jitter) for jitter in (0, 16)]
    with style():
        save_figure(figure_of(dreams), DOCS / "screen_door.png")
    for one in dreams:
        assert one.picture is not None
        print(one.title, one.picture.energy[one.dream.total_stride], "controls", one.picture.controls)


if __name__ == "__main__":
    main()
