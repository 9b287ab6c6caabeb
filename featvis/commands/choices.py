"""Names that options choose among, so that help loads no torch; a test holds each tuple against the registry that it names."""

from __future__ import annotations

METHODS = ("vanilla", "input-x-gradient", "smoothgrad", "integrated-gradients")

COMPENSATIONS = ("none", "jitter", "cycle-spinning", "low-pass", "equalise", "laplacian")

FIXES = (
    "blurpool",
    "avgpool",
    "l2pool",
    "even-kernel",
    "pool-shortcut",
    "smooth-hold",
    "resize-nearest",
    "resize-bilinear",
    "subpixel",
    "subpixel-icnr",
    "stride1-smooth",
    "backward-blur",
    "backward-smooth-maxpool",
    "backward-even",
)

PARAMETERISATIONS = ("plain", "pixel", "fourier", "cppn", "maco")

ASCENTS = ("mean-absolute", "standard-deviation", "adam")

SCHEDULES = ("constant", "linear", "cosine")

LATENTS = ("normal", "uniform")
