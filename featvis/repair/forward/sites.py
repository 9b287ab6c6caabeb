"""Where a network changes its resolution, and which of those places each fix is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


@dataclass(frozen=True)
class Site:
    """One change of resolution. kind: in words; kernel, stride: along each axis, empty where there is none."""

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]

    def __str__(self) -> str:
        if not self.stride:
            return self.kind
        return f"{self.kind} {size_words(self.kernel)} stride {size_words(self.stride)}"

    @property
    def even(self) -> bool:
        """Whether the stride divides the kernel along each axis, so that every value is read equally often."""
        return all(kernel % stride == 0 for kernel, stride in zip(self.kernel, self.stride, strict=True))


def site_of_layer(layer: nn.Module) -> Site | None:
    """What a torch.nn layer does to the resolution; None where it leaves it alone or is of another kind."""
    kinds = (
        (CONVOLUTIONS, "convolution"),
        (TRANSPOSED, "transposed convolution"),
        (MAXIMA, "maximum pooling"),
        (AVERAGES, "average pooling"),
    )
    for types, kind in kinds:
        if isinstance(layer, types):
            axes = next(number for number, base in enumerate(types, 1) if isinstance(layer, base))
            site = Site(kind, each_axis(layer.kernel_size, axes), each_axis(layer.stride, axes))
            return site if max(site.stride) > 1 else None
    if isinstance(layer, nn.PixelShuffle):
        return Site("pixel shuffle", (), ())
    return Site("interpolation", (), ()) if isinstance(layer, nn.Upsample) else None


def size_words(sizes: Sequence[int]) -> str:
    """One number where the sizes along all axes are the same, "3x5" where they are not."""
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def each_axis(value: Any, axes: int) -> tuple[int, ...]:
    """One number for each axis, from one for all or one for each."""
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    return values if len(values) == axes else values * axes


def downsamples(site: Site) -> bool:
    """Strided convolutions, pooling and slicing."""
    return site.kind in ("convolution", "maximum pooling", "average pooling", "slicing")


def downsamples_unevenly(site: Site) -> bool:
    """All but averages over windows that the stride divides."""
    return downsamples(site) and not (site.kind == "average pooling" and site.even)


def takes_maxima(site: Site) -> bool:
    """Maximum pooling."""
    return site.kind == "maximum pooling"


def overlaps_unevenly(site: Site) -> bool:
    """Windows that their stride does not divide."""
    return downsamples(site) and not site.even


def reads_single_pixels(site: Site) -> bool:
    """1x1 convolutions and slices with a stride."""
    return site.kind in ("convolution", "slicing") and max(site.kernel) == 1


def upsamples(site: Site) -> bool:
    """Transposed convolutions with a stride."""
    return site.kind == "transposed convolution"


def enlarges(site: Site) -> bool:
    """Everything that raises the resolution."""
    return site.kind in ("transposed convolution", "pixel shuffle", "interpolation")


def resamples(site: Site) -> bool:
    """Strided layers in either direction, pooling and slicing."""
    return downsamples(site) or upsamples(site)
