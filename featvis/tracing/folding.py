"""The fastest form of a network for gradients: folded batch norms, channels last, and a quick backward pass into the pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from featvis.tracing.trace import Operation, Trace

FEW_CHANNELS = 4
"""A strided convolution of at most this many input channels has a slow backward pass in today's libraries."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def prepare_network(
    network: nn.Module, record: Trace, keep: str | Sequence[str] | None = None, channels_last: bool = True
) -> nn.Module:
    """Fold a network, lay it out and speed up its backward pass; it may be changed, so give a fresh copy. Returns it.

    record: the trace of the same network. keep: layers, one or several, whose own output must stay what it is. channels_last: lay
    memory out so, which a network that takes its tensors apart by `view` refuses.
    """
    for convolution, norm in foldable(network, record, keep):
        folded = fuse_conv_bn_eval(
            cast(nn.Conv2d, network.get_submodule(convolution)), cast(nn.BatchNorm2d, network.get_submodule(norm))
        )
        network.set_submodule(convolution, folded)
        network.set_submodule(norm, nn.Identity())
    for name in few_channel_convolutions(network, record):
        network.set_submodule(name, FewChannelConvolution(cast(nn.Conv2d, network.get_submodule(name))))
    network.requires_grad_(False)
    if channels_last and any(parameter.ndim == 4 for parameter in network.parameters()):
        network = cast(Any, network).to(memory_format=torch.channels_last)
    return network


def foldable(network: nn.Module, record: Trace, keep: str | Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Names of the (convolution, batch norm) pairs where the norm alone reads what the convolution wrote, each called once."""
    kept = {record.layer_outputs.get(name) for name in ([keep] if isinstance(keep, str) else keep or ())}
    readers = Counter(number for operation in record.operations for number in set(operation.inputs))
    writer = {number: operation for operation in record.operations for number in operation.outputs}
    pairs = []
    for operation in record.operations:
        if "batch_norm" not in operation.operator or not operation.inputs:
            continue
        source = writer.get(operation.inputs[0])
        if source is None or source.operator != "convolution" or kept.intersection(source.outputs):
            continue
        alone = readers[operation.inputs[0]] == 1 and record.output != operation.inputs[0]
        if alone and _plain(network, record, source, _CONVOLUTIONS) and _plain(network, record, operation, _NORMS):
            pairs.append((source.layer, operation.layer))
    return pairs


def _plain(network: nn.Module, record: Trace, operation: Operation, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether an operation is all that a layer of one of these very types does, once, with nothing hooked to it."""
    try:
        layer = network.get_submodule(operation.layer)
    except AttributeError:
        return False
    names = [name for name, part in network.named_modules(remove_duplicate=False) if part is layer]
    hooked = bool(layer._forward_hooks or layer._forward_pre_hooks)
    statistics = getattr(layer, "running_mean", ...) is not None
    # A network that is a single layer has no name by which to replace it.
    return (
        operation.layer != ""
        and type(layer) in kinds
        and len(names) == 1
        and record.layer_calls[operation.layer] == 1
        and not hooked
        and statistics
    )


def few_channel_convolutions(network: nn.Module, record: Trace) -> list[str]:
    """Names of the strided convolutions that read the pixels, or as few channels, and that FewChannelConvolution can stand for."""
    return [
        operation.layer
        for operation in record.operations
        if operation.operator == "convolution"
        and _plain(network, record, operation, (nn.Conv2d,))
        and _fits(cast(nn.Conv2d, network.get_submodule(operation.layer)))
    ]


def _fits(layer: nn.Conv2d) -> bool:
    few = layer.in_channels <= FEW_CHANNELS and layer.groups == 1
    square = layer.stride[0] == layer.stride[1] > 1 and layer.kernel_size[0] == layer.kernel_size[1]
    simple = layer.dilation == (1, 1) and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)
    return few and square and simple and not layer.weight.is_complex()


class FewChannelConvolution(nn.Module):
    """A frozen strided convolution whose backward pass is a convolution and a pixel shuffle.

    The backward pass of a strided convolution is a transposed convolution, and one whose kernel is padded to a multiple of the
    stride is a sub-pixel convolution (Shi et al. 2016): all of it runs at the resolution of the output, with a full set of channels.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        stride, size = layer.stride[0], layer.kernel_size[0]
        outputs, inputs = layer.weight.shape[:2]
        taps = -(-size // stride)
        missing = stride * taps - size
        weight = F.pad(layer.weight.detach(), (0, missing, 0, missing))
        # Pixel stride * a + phase is reached by tap `phase + stride * t` of the window a - t: flipped, as convolutions correlate.
        phases = weight.view(outputs, inputs, taps, stride, taps, stride).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
        adjoint = phases.reshape(inputs * stride**2, outputs, taps, taps)
        self.adjoint = nn.Parameter(adjoint.contiguous(), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return _FewChannels.apply(images, self.layer, self.adjoint)


class _FewChannels(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor, layer: nn.Conv2d, adjoint: Tensor) -> Tensor:
        context.layer, context.adjoint, context.shape, context.dtype = layer, adjoint, images.shape, images.dtype
        return layer(images)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        layer, (height, width) = context.layer, context.shape[2:]
        stride, taps = layer.stride[0], context.adjoint.shape[-1]
        # Under autocast the gradient comes in the precision of the output.
        adjoint = context.adjoint.to(gradient.dtype)
        shuffled = F.pixel_shuffle(F.conv2d(gradient, adjoint, padding=taps - 1), stride).to(context.dtype)
        top, left = layer.padding
        # Pixels past the last window, if any, get nothing.
        missing = (0, max(0, left + width - shuffled.shape[3]), 0, max(0, top + height - shuffled.shape[2]))
        return F.pad(shuffled, missing)[:, :, top : top + height, left : left + width], None, None
