"""A photograph dreamed through a trained MobileNetV2 at a fixed position and with jitter, side by side.

    python experiments/deep_dream.py --weights mobilenet_v2.pth

The photograph ships with featvis. The usual settings of `featvis dream`: four octaves of 20 steps, jitter 32; the objective is features.10.
E is that of what the dream drew, the photograph and its smooth part taken off, at the period that the dream at a fixed position shows.
Writes docs/deep_dream.jpg, as PNG would be five times as large, and prints E and its controls.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from PIL import Image
from shared.command_line import parser_of
from shared.dreams import side_by_side
from shared.tables import DOCS

from featvis.dream.comparison import Measured, timed_dream
from featvis.dream.verdict import spoken_period
from featvis.models.specs import load_model
from featvis.models.zoo import PHOTOGRAPH
from featvis.plots import save_figure
from featvis.plots.page import style

SIZE, OBJECTIVE = (300, 400), "features.10"
QUALITY = 88


def dreamt(weights: Path, jitter: int) -> Measured:
    """The dream with shifts of at most so many pixels."""
    model = load_model("mobilenet_v2", str(weights), mean=(0.5,), std=(0.5,), size=SIZE)
    _, start = model.load(PHOTOGRAPH)
    title = f"jitter {jitter}" if jitter else "a fixed position"
    return timed_dream(title, model, OBJECTIVE, start, octaves=4, jitter=jitter, steps=20)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--weights", type=Path, required=True, help="of torchvision's MobileNetV2, for a mean and deviation of .5"
    )
    weights = parser.parse_args().weights
    torch.set_num_threads(1)
    dreams = [dreamt(weights, jitter) for jitter in (0, 32)]
    with style():
        figure = side_by_side(dreams, spoken_period(dreams[0].picture), zoom=1)
    with tempfile.TemporaryDirectory() as folder:
        drawn = save_figure(figure, Path(folder) / "pair.png")
        Image.open(drawn).convert("RGB").save(DOCS / "deep_dream.jpg", quality=QUALITY, subsampling=0)
    for one in dreams:
        assert one.picture is not None
        print(one.title, one.picture.energy, "controls", one.picture.controls)


if __name__ == "__main__":
    main()
