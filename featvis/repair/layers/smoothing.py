"""A transposed convolution of stride 1, as the last layer of a generator: it smooths what the strided ones before it left."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.layers.padding import same_margins


class _SmoothingDeconv(nn.modules.conv._ConvTransposeNd):
    """What both share: the full transposed convolution, cropped to the size of its input."""

    axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        groups: int = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        convolution: Any = super()  # nn.ConvTranspose1d or nn.ConvTranspose2d, which the class mixes in
        convolution.__init__(
            in_channels, out_channels, kernel_size, groups=groups, bias=bias, device=device, dtype=dtype
        )

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            raise FeatvisError("a SmoothingDeconv keeps its input's size; leave output_size out")
        full = super().forward(images)
        for axis, (before, _) in enumerate(same_margins(self.kernel_size), start=-self.axes):
            full = full.narrow(axis, before, images.shape[axis])
        return full

    @torch.no_grad()
    def box_(self) -> Any:
        """Make it the mean over the kernel of each channel alone, without bias; returns itself.

        Raises FeatvisError where it has not as many channels out as in.
        """
        if self.in_channels != self.out_channels:
            raise FeatvisError(
                f"{self.in_channels} channels in and {self.out_channels} out; a box needs as many out as in"
            )
        self.weight.zero_()
        for channel in range(self.in_channels):
            self.weight[channel, channel % self.weight.shape[1]] = 1 / self.weight[0, 0].numel()
        if self.bias is not None:
            self.bias.zero_()
        return self


class SmoothingDeconv1d(_SmoothingDeconv, nn.ConvTranspose1d):
    """A transposed convolution of stride 1 that keeps its input's length; see `SmoothingDeconv2d`.

    >>> featvis.SmoothingDeconv1d(1, 1, kernel_size=2).box_()(torch.tensor([[[0.0, 1.0, 0.0, 1.0]]]))[..., 1:].detach()
    tensor([[[0.5000, 0.5000, 0.5000]]])
    """

    axes = 1


class SmoothingDeconv2d(_SmoothingDeconv, nn.ConvTranspose2d):
    """A transposed convolution of stride 1 that keeps its input's size, for even and odd kernels; beyond the border is zero.

    It multiplies the harmonics that strided layers left: widths 2 and 4 remove period 2, width 3 leaves a part of it.
    Source: Odena, Dumoulin and Olah, Distill 2016, "Deconvolution & Overlap".

    >>> featvis.SmoothingDeconv2d(16, 3, kernel_size=4)(torch.rand(1, 16, 32, 32)).shape
    torch.Size([1, 3, 32, 32])
    """

    axes = 2
