"""The article's style-transfer case: a trained network that upsamples by two 3x3 stride-2 transposed convolutions, before and after fixes.

    python experiments/style_transfer.py --weights style_udnie.pth --pictures set14

The network is fast-style-transfer's (Johnson et al. 2016; weights by reiinakano, MIT), painted on flat pictures, where everything that
repeats is the network's own, and on lossless photographs. No fix is followed by training. Writes experiments/results/style_transfer.csv and
docs/style_transfer.png.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from shared.command_line import parser_of
from shared.tables import DOCS, RESULTS, write_rows
from shared.weights import with_weights
from torch import Tensor, nn

from featvis.data.pictures import find_pictures
from featvis.measure.metric import CheckerboardEnergy
from featvis.measure.phases import fold
from featvis.plots import save_figure
from featvis.plots.page import MARGIN, Page, pixel_edges
from featvis.plots.palette import FAINT
from featvis.repair.surgery import operate

TABLE, FIGURE = RESULTS / "style_transfer.csv", DOCS / "style_transfer.png"
PERIOD, LARGEST = 4, 256
"""The product of the last two strides; the largest side of a picture, a photograph being cropped from its middle."""

BORDERS = {"flat": 64, "photographs": 16}
"""Pixels left out on each side: padding reaches 55 pixels far, and is all that there is to see on flat pictures."""

FAINTEST = 0.01
"""Grey levels of 255: pictures of which one varies less are called constant."""

FIXES = (None, "resize-nearest", "resize-bilinear", "subpixel", "subpixel-icnr", "stride1-smooth")
CROPS = {"flowers.png": (96, 120), "face.png": (100, 96), "zebra.png": (120, 60)}
"""What the figure shows up close: the upper left corner of 48 x 48 pixels of the cropped picture."""

COLOURS = [*itertools.product((0, 255), repeat=3), (128, 128, 128)]


class Block(nn.Module):
    """A convolution with TensorFlow's "same" padding, instance norm, and ReLU where wanted; `conv` and `norm` name the weights."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, up: bool = False, active: bool = True
    ) -> None:
        super().__init__()
        kind = nn.ConvTranspose2d if up else nn.Conv2d
        self.conv = kind(inputs, outputs, kernel, stride, bias=False)
        self.norm = nn.Module()
        self.norm.scale = nn.Parameter(torch.ones(outputs))
        self.norm.shift = nn.Parameter(torch.zeros(outputs))
        self.up, self.active, self.kernel, self.stride = up, active, kernel, stride

    def forward(self, images: Tensor) -> Tensor:
        if self.up:
            rows, columns = (self.stride * side for side in images.shape[-2:])
            features = self.conv(images)[..., :rows, :columns]
        else:
            margins: list[int] = []
            for side in reversed(images.shape[-2:]):
                total = max(0, (-(-side // self.stride) - 1) * self.stride + self.kernel - side)
                margins += [total // 2, total - total // 2]
            features = self.conv(F.pad(images, margins))
        features = F.instance_norm(features, weight=self.norm.scale, bias=self.norm.shift, eps=1e-3)
        return F.relu(features) if self.active else features


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a, self.b = Block(channels, channels, 3), Block(channels, channels, 3, active=False)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.b(self.a(features))


class StyleNetwork(nn.Module):
    """RGB in 0..255, (B, 3, H, W) with sides that are multiples of 4, to the same painted, -22.5..277.5."""

    def __init__(self) -> None:
        super().__init__()
        down = [Block(3, 32, 9), Block(32, 64, 3, 2), Block(64, 128, 3, 2)]
        up = [Block(128, 64, 3, 2, up=True), Block(64, 32, 3, 2, up=True), Block(32, 3, 9, active=False)]
        self.net = nn.Sequential(*down, *(Residual(128) for _ in range(5)), *up)

    def forward(self, images: Tensor) -> Tensor:
        return 150 * torch.tanh(self.net(images)) + 127.5


def flat_pictures() -> Tensor:
    return torch.tensor(COLOURS, dtype=torch.float32)[:, :, None, None].expand(-1, -1, LARGEST, LARGEST)


def load(path: Path) -> Tensor:
    """A photograph, (1, 3, H, W) in 0..255, cropped from its middle to sides that are multiples of 4."""
    pixels = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1).float()
    for axis in (1, 2):
        side = min(LARGEST, pixels.shape[axis]) // PERIOD * PERIOD
        pixels = pixels.narrow(axis, (pixels.shape[axis] - side) // 2, side)
    return pixels[None]


def high_passed(pictures: Tensor) -> Tensor:
    """The pictures less their mean over 9 x 9 pixels whose outermost count half: periods 2, 4 and 8 stay whole, slow content goes."""
    taps = torch.tensor([0.5, *[1.0] * 7, 0.5], dtype=pictures.dtype) / 8
    kernel = torch.outer(taps, taps).expand(pictures.shape[1], 1, 9, 9)
    mean = F.conv2d(F.pad(pictures, (4,) * 4, mode="reflect"), kernel, groups=pictures.shape[1])
    return pictures - mean


def measure(outputs: list[Tensor], border: int) -> dict[str, str]:
    """Energies and combs of pictures (1, 3, H, W), without their border."""
    row: dict[str, str] = {}
    inside = (..., slice(border, -border), slice(border, -border))
    fine = [high_passed(output.double())[inside] for output in outputs]
    for name, pictures in (("raw", [output.double()[inside] - 127.5 for output in outputs]), ("high-passed", fine)):
        varying = [picture for picture in pictures if float(picture.var((-2, -1)).max()) > FAINTEST**2]
        metric = CheckerboardEnergy(PERIOD)
        for picture in varying:
            metric.update(picture)
        energies = metric.compute() if len(varying) == len(pictures) else None
        for key in ("E(2)", "E(4)", "E(3)", "S(2)", "S(4)"):
            if energies is None:
                row[f"{key} {name}"] = "constant"
                continue
            kind = {"E": energies.energy | energies.controls, "S": energies.signed_comb}[key[0]]
            row[f"{key} {name}"] = "{:.5f} ± {:.5f}".format(*kind[int(key[2])])
    for period in (2, 4, 3, 5):
        strength = torch.stack([fold(picture, period, period).square().mean() for picture in fine]).mean().sqrt()
        row[f"comb({period}), grey levels"] = f"{strength:.3f}"
    return row


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="style_udnie.pth")
    parser.add_argument("--pictures", required=True, help="a folder of lossless pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    network = with_weights(StyleNetwork(), arguments.weights).requires_grad_(False)
    paths = find_pictures([arguments.pictures])
    photographs = [load(path) for path in paths]
    sets = {"flat": list(flat_pictures().split(1)), "photographs": photographs}
    rows: list[dict[str, str]] = []
    painted: dict[str, dict[str, list[Tensor]]] = {}
    for fix in FIXES:
        repaired = network if fix is None else operate(network, fix)[0].eval()
        painted[fix or "none"] = {}
        for kind, pictures in sets.items():
            with torch.inference_mode():
                outputs = [repaired(picture) for picture in pictures]
            painted[fix or "none"][kind] = outputs
            before = painted["none"][kind]
            off = torch.cat([(a - b).flatten() for a, b in zip(outputs, before, strict=True)]).square().mean().sqrt()
            rows.append(
                {
                    "fix": fix or "none",
                    "pictures": kind,
                    **measure(outputs, BORDERS[kind]),
                    "rms change, grey levels": f"{off:.2f}",
                }
            )
            print(rows[-1], flush=True)
    write_rows(TABLE, list(rows[0]), rows)
    draw(painted, [path.name for path in paths], rows)


def draw(painted: dict[str, dict[str, list[Tensor]]], names: list[str], rows: list[dict[str, str]]) -> None:
    """Crops of 48 x 48 pixels, each pixel four by four on the screen: a flat picture with its contrast raised, then photographs."""
    side, step, row_height = 192, 208, 284
    page = Page(2 * MARGIN + step * (1 + len(CROPS)), 90 + row_height * len(painted))
    page.text(MARGIN, MARGIN - 8, "A style network before and after fixes, without retraining", 15, weight="bold")
    for column, name in enumerate(("mid-grey, contrast x 8", *CROPS)):
        page.text(MARGIN + step * column, 60, name, 10, color=FAINT)
    for number, (fix, outputs) in enumerate(painted.items()):
        top = 90 + row_height * number
        row = {entry["pictures"]: entry for entry in rows if entry["fix"] == fix}
        flat, photographs = row["flat"], row["photographs"]
        said = (
            f"comb on flat pictures {float(flat['comb(4), grey levels']):.2f} grey levels; on photographs "
            f"S(4) {float(photographs['S(4) high-passed'].split()[0]):.4f}, changed by {photographs['rms change, grey levels']} rms"
        )
        page.text(MARGIN, top, fix, 12, weight="bold")
        page.text(MARGIN, top + 28, said.replace("-", "\N{MINUS SIGN}"), 10, color=FAINT)
        grey = outputs["flat"][-1][0, :, 104:152, 104:152]
        crops = [127.5 + 8 * (grey - grey.mean((-2, -1), keepdim=True))]
        for name, (upper, left) in CROPS.items():
            output = outputs["photographs"][names.index(name)][0]
            crops.append(output[:, upper : upper + 48, left : left + 48])
        for column, picture in enumerate(crops):
            pixels = picture.clamp(0, 255).permute(1, 2, 0).numpy() / 255
            axes, _ = page.map(MARGIN + step * column, top + 54, side, pixels, pixel_edges(pixels.shape))
            axes.set(xticks=[], yticks=[])
    save_figure(page.finished(), FIGURE)


if __name__ == "__main__":
    main()
