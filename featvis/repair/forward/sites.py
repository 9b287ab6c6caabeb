"""Where a network changes its resolution, and which of those places each fix is for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from featvis.tracing.windows import (
    AVERAGES,
    CONVOLUTIONS,
    MAXIMA,
    TRANSPOSED,
    Window,
    size_words,
    window_of_layer,
)

NO_WINDOW = Window((), (), (), ())

_KINDS = (
    (CONVOLUTIONS, "convolution"),
    (TRANSPOSED, "transposed convolution"),
    (MAXIMA, "maximum pooling"),
    (AVERAGES, "average pooling"),
)


@dataclass(frozen=True)
class Site:
    """One change of resolution. kind: in words; window: without axes where there is none."""

    kind: str
    window: Window = NO_WINDOW

    def __str__(self) -> str:
        if not self.window.stride:
            return self.kind
        return f"{self.kind} {size_words(self.window.kernel)} stride {size_words(self.window.stride)}"


def site_of_layer(layer: nn.Module) -> Site | None:
    """What a torch.nn layer does to the resolution; None where it leaves it alone or is of another kind."""
    window = window_of_layer(layer)
    if window is not None:
        kind = next((kind for types, kind in _KINDS if isinstance(layer, types)), None)
        return None if kind is None or max(window.stride) == 1 else Site(kind, window)
    if isinstance(layer, nn.PixelShuffle):
        return Site("pixel shuffle")
    return Site("interpolation") if isinstance(layer, nn.Upsample) else None


def downsamples(site: Site) -> bool:
    """Strided convolutions, pooling and slicing."""
    return site.kind in ("convolution", "maximum pooling", "average pooling", "slicing")


def downsamples_unevenly(site: Site) -> bool:
    """All but averages over windows that the stride divides."""
    return downsamples(site) and not (site.kind == "average pooling" and site.window.even)


def takes_maxima(site: Site) -> bool:
    """Maximum pooling."""
    return site.kind == "maximum pooling"


def overlaps_unevenly(site: Site) -> bool:
    """Windows that their stride does not divide."""
    return downsamples(site) and not site.window.even


def reads_single_pixels(site: Site) -> bool:
    """1x1 convolutions and slices with a stride."""
    return site.kind in ("convolution", "slicing") and max(site.window.kernel) == 1


def upsamples(site: Site) -> bool:
    """Transposed convolutions with a stride."""
    return site.kind == "transposed convolution"


def enlarges(site: Site) -> bool:
    """Everything that raises the resolution."""
    return site.kind in ("transposed convolution", "pixel shuffle", "interpolation")


def resamples(site: Site) -> bool:
    """Strided layers in either direction, pooling and slicing."""
    return downsamples(site) or upsamples(site)
