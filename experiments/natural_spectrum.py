"""How strong each frequency is in photographs that may be used freely: what the parameterisation `maco` keeps.

    python experiments/natural_spectrum.py SCIKIT_IMAGE SCIKIT_LEARN MATPLOTLIB

Each argument is the folder of a package, which holds photographs: 4 of scikit-image 0.26 (public domain and CC0), 2 of scikit-learn (CC
BY 2.0), 1 of matplotlib (public domain). Their shorter side is made 256 pixels long and the middle 224 are taken, as for a classifier.
Measured are the pixels in Lucent's decorrelated colours, less their mean, under a Hann window that leaves the mean square as it is, and
four times as high: a sigmoid is a fourth as steep as its argument at half grey. The window lets no frequency below two waves a picture be
told. A magnitude is the root of the mean square over the photographs and all directions between two frequencies that are a third of an
octave apart. Writes featvis/dream/spectrum.json.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from shared.command_line import parser_of
from torch import Tensor

from featvis.data.pictures import load_picture, prepare
from featvis.dream.parameterisations import SPECTRUM, decorrelated
from featvis.files import write_document

PICTURES = {
    "skimage/data/astronaut.png": "public domain, NASA",
    "skimage/data/chelsea.png": "CC0 1.0, Stefan van der Walt",
    "skimage/data/coffee.png": "CC0 1.0, Rachel Michetti",
    "skimage/data/rocket.jpg": "CC0 1.0, SpaceX",
    "sklearn/datasets/images/china.jpg": "CC BY 2.0, danielbuechele",
    "sklearn/datasets/images/flower.jpg": "CC BY 2.0, vultilion",
    "matplotlib/mpl-data/sample_data/grace_hopper.jpg": "public domain, United States Navy",
}
"""The photographs, each in the folder of its package, and their licences."""

RESIZED, SIDE, STEEPNESS = 256, 224, 4

IN_AN_OCTAVE = 3


def powers_of(path: Path) -> Tensor:
    """The power of each Fourier coefficient of a photograph, (3, SIDE, SIDE)."""
    colours = decorrelated(prepare(load_picture(path, 3), RESIZED, (SIDE, SIDE), "bilinear").double())
    window = torch.hann_window(SIDE, dtype=torch.float64)
    window /= window.square().mean().sqrt()
    centred = STEEPNESS * (colours - colours.mean((1, 2), keepdim=True))
    spectrum = torch.fft.fft2(centred * window.outer(window), norm="ortho")
    return spectrum.abs().square()


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("packages", nargs=3, type=Path)
    packages = {folder.name: folder for folder in parser.parse_args().packages}
    powers = torch.stack([powers_of(packages[name.split("/")[0]].parent / name) for name in PICTURES]).mean(0)
    along = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    radii = torch.hypot(along.unsqueeze(1), along)
    frequencies, magnitudes = [], []
    lowest = 2 / SIDE
    for number in range(math.ceil(IN_AN_OCTAVE * math.log2(0.75 / lowest)) + 1):
        middle = lowest * 2 ** (number / IN_AN_OCTAVE)
        near = ((radii / middle).log2().abs() <= 0.5 / IN_AN_OCTAVE) & (radii > 0)
        if bool(near.any()):
            frequencies.append(round(float(radii[near].log().mean().exp()), 5))
            magnitudes.append(powers[:, near].mean(1).sqrt())
    write_document(
        SPECTRUM,
        {
            "measures": "magnitudes of Fourier coefficients of photographs: 4 (pixels - mean) in Lucent's decorrelated colours",
            "command": "python experiments/natural_spectrum.py SCIKIT_IMAGE SCIKIT_LEARN MATPLOTLIB",
            "pictures": PICTURES,
            "frequencies": frequencies,
            "magnitudes": [
                [float(f"{value:.4g}") for value in channel] for channel in torch.stack(magnitudes, 1).tolist()
            ],
        },
    )
    print(SPECTRUM, f"{SPECTRUM.stat().st_size} bytes, {len(frequencies)} frequencies")


if __name__ == "__main__":
    main()
