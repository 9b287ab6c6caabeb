"""The first picture of the README: a photograph dreamed through random weights at a fixed position and with jitter, side by side.

    python experiments/screen_door.py

The photograph and the network ship with featvis; the objective is the last stage, in one octave. Eighty small steps go as far as the usual
ten, and give jitter eighty positions to average over. E is that of what the dream drew, the photograph and its smooth part taken off.
Writes docs/screen_door.png, each pixel of the dream as 2 x 2 pixels of the screen, and prints E and its controls.
"""

from __future__ import annotations

import torch
from shared.command_line import parser_of
from shared.dreams import side_by_side
from shared.tables import DOCS

from featvis.dream.comparison import Measured, timed_dream
from featvis.models.specs import load_model
from featvis.models.zoo import PHOTOGRAPH
from featvis.plots import save_figure
from featvis.plots.page import style

SIZE, ZOOM = (120, 180), 2
"""Rows and columns of a dream, and screen pixels for each of its own: narrow enough for a page of text."""

STEPS, USUAL = 80, 10
RATE = 1.5 / 255 * USUAL / STEPS


def dreamt(jitter: int) -> Measured:
    """The dream with shifts of at most so many pixels."""
    model = load_model("zoo:cifar-k3s2", "none", size=SIZE)
    _, start = model.load(PHOTOGRAPH)
    title = f"jitter {jitter}" if jitter else "a fixed position"
    return timed_dream(title, model, "stage3", start, octaves=1, jitter=jitter, steps=STEPS, rate=RATE)


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    dreams = [dreamt(jitter) for jitter in (0, 16)]
    with style():
        save_figure(side_by_side(dreams, dreams[0].dream.total_stride, ZOOM), DOCS / "screen_door.png")
    for one in dreams:
        assert one.picture is not None
        print(one.title, one.picture.energy[one.dream.total_stride], "controls", one.picture.controls)


if __name__ == "__main__":
    main()
