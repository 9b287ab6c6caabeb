"""Resize-convolution: interpolate, pad, then convolve, so that every pixel is read equally often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.layers.padding import PADDING_MODES, Margins, PaddingMode, choice, pad, same_margins, whole_numbers

if TYPE_CHECKING:
    from typing import Self

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d}


class _ResizeConv(nn.modules.conv._ConvNd):
    """What both resize-convolutions share; `margins` are the pixels added between interpolation and convolution."""

    axes: int
    modes: tuple[str, ...]
    scale_factor: tuple[int, ...]
    mode: str
    margins: Margins

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        scale_factor: int | tuple[int, ...] = 2,
        mode: str = "nearest",
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "reflect",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        convolution: Any = super()  # nn.Conv1d or nn.Conv2d, which the class mixes in
        convolution.__init__(
            in_channels, out_channels, kernel_size, 1, "same", dilation, groups, bias, padding_mode, device, dtype
        )
        choice(self.padding_mode, PADDING_MODES, "padding_mode")
        self.scale_factor = whole_numbers(scale_factor, self.axes, "scale_factor")
        self.mode = choice(mode, self.modes, "mode")
        self.margins = same_margins(self.kernel_size, self.dilation)

    def forward(self, images: Tensor) -> Tensor:
        single = images.ndim == self.axes + 1
        images = images[None] if single else images
        aligned = None if self.mode == "nearest" else False
        scales = [float(scale) for scale in self.scale_factor]
        wide = F.interpolate(images, scale_factor=scales, mode=self.mode, align_corners=aligned)
        wide = pad(wide, self.margins, self.padding_mode)
        output = _CONVOLVE[self.axes](wide, self.weight, self.bias, 1, 0, self.dilation, self.groups)
        return output[0] if single else output

    def extra_repr(self) -> str:
        margins = "" if self.margins == same_margins(self.kernel_size, self.dilation) else f", margins={self.margins}"
        return f"{super().extra_repr()}, scale_factor={self.scale_factor}, mode={self.mode}{margins}"

    @classmethod
    def from_deconv(cls, deconv: Any, mode: str = "nearest", padding_mode: PaddingMode = "reflect") -> Self:
        """The resize-convolution that stands for a transposed convolution: same channels, groups, output size and brightness.

        Its scale is the stride, its kernel the smallest odd one that, behind the interpolation, reaches as far as the
        transposed convolution (k3 s2, k4 s2: 3; k2 s2: 1; k5 s2: 5). The weights are the least-squares fit of what one
        input pixel writes, among those that answer a constant with the same mean; the bias is taken over. What a trained
        network wrote differently at each phase is lost, and that can be most of it: expect to train again.

        Raises FeatvisError for a stride of 1, and for a padding that crops more than a resize-convolution can.
        """
        if not isinstance(deconv, (nn.ConvTranspose1d, nn.ConvTranspose2d)[cls.axes - 1]):
            raise FeatvisError(
                f"{cls.__name__}.from_deconv got {type(deconv).__name__}; give an nn.ConvTranspose{cls.axes}d"
            )
        if max(deconv.stride) == 1:
            raise FeatvisError(
                f"a transposed convolution of stride {deconv.stride} enlarges nothing; leave it as it is"
            )
        spans = zip(deconv.kernel_size, deconv.dilation, strict=True)
        reach = [step * (size - 1) + 1 for size, step in spans]
        sizes = tuple(_kernel_size(*pair) for pair in zip(reach, deconv.stride, strict=True))
        build: Any = cls
        layer: Any = build(
            deconv.in_channels,
            deconv.out_channels,
            sizes,
            deconv.stride,
            mode=mode,
            groups=deconv.groups,
            bias=deconv.bias is not None,
            padding_mode=padding_mode,
            device="meta",
        )
        axes: Any = zip(sizes, reach, deconv.padding, deconv.output_padding, deconv.stride, strict=True)
        layer.margins = tuple((size - 1 - crop, span + extra - crop - scale) for size, span, crop, extra, scale in axes)
        if min(min(pair) for pair in layer.margins) < 0:
            raise FeatvisError(f"{deconv} crops more than a resize-convolution can; give it less padding")
        layer.weight = nn.Parameter(_fitted(layer, deconv).to(deconv.weight))
        if deconv.bias is not None:
            layer.bias = nn.Parameter(deconv.bias.detach().clone())
        return layer.requires_grad_(deconv.weight.requires_grad).train(deconv.training)


class ResizeConv1d(_ResizeConv, nn.Conv1d):
    """Enlarge by a whole factor, then convolve; the output is exactly scale_factor times as long.

    mode: "nearest" or "linear". The arguments else are those of nn.Conv1d with padding="same" and stride 1; maps of any size can
    be reflected (see `pad`). Source: Odena, Dumoulin and Olah, Distill 2016, "Better Upsampling".

    >>> featvis.ResizeConv1d(8, 3, kernel_size=3)(torch.rand(1, 8, 16)).shape
    torch.Size([1, 3, 32])
    """

    axes, modes = 1, ("nearest", "linear")


class ResizeConv2d(_ResizeConv, nn.Conv2d):
    """Enlarge by a whole factor, the same or one for each axis, then convolve; the output is exactly scale_factor times as large.

    mode: "nearest" or "bilinear". The arguments else are those of nn.Conv2d with padding="same" and stride 1; maps of any size can
    be reflected (see `pad`). Source: Odena, Dumoulin and Olah, Distill 2016, "Better Upsampling".

    >>> featvis.ResizeConv2d(8, 3, kernel_size=3, mode="bilinear")(torch.rand(1, 8, 16, 16)).shape
    torch.Size([1, 3, 32, 32])
    >>> featvis.ResizeConv2d.from_deconv(nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1))
    ResizeConv2d(8, 3, kernel_size=(3, 3), stride=(1, 1), padding=same, padding_mode=reflect, scale_factor=(2, 2), mode=nearest)
    """

    axes, modes = 2, ("nearest", "bilinear")


def _kernel_size(reach: int, stride: int) -> int:
    """The smallest odd kernel that reaches as far behind the interpolation; the same kernel where the axis keeps its size."""
    if stride == 1:
        return reach
    least = max(1, reach - stride + 1)
    return least + 1 - least % 2


def _fitted(layer: Any, deconv: Any) -> Tensor:
    """Weights of the resize-convolution, fitted axis by axis to those of the transposed convolution."""
    weight = deconv.weight.detach().to(torch.float64)
    grouped = weight.unflatten(0, (deconv.groups, -1)).transpose(1, 2).flatten(0, 1)
    for axis in range(layer.axes):
        fit = _fit_of_axis(
            layer.kernel_size[axis], layer.mode, deconv.kernel_size[axis], deconv.stride[axis], deconv.dilation[axis]
        )
        grouped = torch.movedim(torch.movedim(grouped, axis + 2, -1) @ fit.to(weight.device).T, -1, axis + 2)
    return grouped


def _fit_of_axis(size: int, mode: str, taps: int, stride: int, dilation: int) -> Tensor:
    """The matrix (size, taps) from the weights of a transposed convolution along one axis to those of the resize-convolution."""
    middle = size + taps * dilation
    impulse = torch.zeros(1, 1, 2 * middle + 1, dtype=torch.float64)
    impulse[..., middle] = 1
    kinds = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}
    aligned = None if mode == "nearest" else False
    wide = F.interpolate(impulse, scale_factor=float(stride), mode=kinds[mode], align_corners=aligned)
    kernels = torch.eye(size, dtype=torch.float64)[:, None]
    # What one input pixel writes, for each tap alone: both start `padding` pixels before its own place.
    written = F.conv1d(wide, kernels, padding=size - 1)[0].T
    wanted = torch.zeros(len(written), taps, dtype=torch.float64)
    for tap in range(taps):
        wanted[middle * stride + tap * dilation, tap] = 1
    ones = torch.ones(size, 1, dtype=torch.float64)
    system = torch.cat(
        [torch.cat([written.T @ written, ones], 1), torch.cat([ones.T, torch.zeros(1, 1, dtype=torch.float64)], 1)]
    )
    target = torch.cat([written.T @ wanted, torch.full((1, taps), 1 / stride, dtype=torch.float64)])
    return torch.linalg.solve(system, target)[:size]
