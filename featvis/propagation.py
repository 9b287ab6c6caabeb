"""How expected energy passes backwards through one operation.

With independent zero-mean weights the expected square of a gradient obeys a backward pass of its own: each linear coefficient is
replaced by its square, each nonlinearity by a constant gain, and a maximum by an even chance for every pixel of its window. RULES
holds one rule for each aten operator; a rule takes a Step and yields the energy of each traced argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from featvis.errors import FeatvisError
from featvis.tracing import Operation, Value

SAMPLES = 1001
"""Quantiles of the standard normal distribution over which the gain of a nonlinearity is averaged."""


@dataclass(frozen=True)
class Step:
    """One operation on the way back.

    energies: of each of its outputs, None where nothing flows. shapes: of every value of the trace. makers: the operation that made a
    value. learned: whether weights count with their own squares or all alike. notes: takes a line for each simplification.
    """

    operation: Operation
    energies: Sequence[Tensor | None]
    shapes: Mapping[int, tuple[int, ...]]
    makers: Mapping[int, Operation]
    learned: bool
    notes: set[str]

    @property
    def energy(self) -> Tensor:
        """The energy of the first output, which every operator but a split has alone."""
        energy = self.energies[0]
        return torch.zeros(()) if energy is None else energy

    def argument(self, position: int, default: Any = None) -> Any:
        arguments = self.operation.arguments
        return arguments[position] if len(arguments) > position else default

    def shape(self, value: Value) -> tuple[int, ...]:
        return self.shapes[value.number]


Flow: TypeAlias = Iterator[tuple[Value, Tensor]]
Rule: TypeAlias = Callable[[Step], Flow]


def identity(step: Step) -> Flow:
    """The energy as it is, for the first argument of the output's shape."""
    for item in step.operation.arguments:
        if isinstance(item, Value) and step.shape(item) == tuple(step.energy.shape):
            yield item, step.energy
            return
    raise FeatvisError(
        f"the operator {step.operation.operator!r} of layer {step.operation.layer!r} changes the shape of its input; "
        "it cannot be taken for an identity"
    )


def moved(step: Step) -> Flow:
    """Sums and copies: every coefficient is 0 or 1, so that energy flows back as the gradient itself does."""
    yield from _adjoint(step, 1.0)


def _adjoint(step: Step, factor: float) -> Flow:
    leaves: dict[Value, Tensor] = {}

    def stand_in(value: Value) -> Tensor:
        if value not in leaves:
            leaves[value] = step.energy.new_zeros(()).expand(step.shape(value)).requires_grad_()
        return leaves[value].clone()

    with torch.enable_grad():
        arguments, keywords = tree_map_only(Value, stand_in, (step.operation.arguments, step.operation.keywords))
        outputs = step.operation.overload(*arguments, **keywords)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    pairs = [(out, e) for out, e in zip(outputs, step.energies, strict=True) if e is not None]
    energies = torch.autograd.grad([out for out, _ in pairs], list(leaves.values()), [e for _, e in pairs])
    yield from zip(leaves, (energy * factor for energy in energies), strict=True)


def _averaged(step: Step) -> Flow:
    """A mean over n values: coefficients 1/n, squared."""
    share = step.energy.numel() / math.prod(step.shape(step.argument(0)))
    yield from _adjoint(step, share)


def _one_of(step: Step) -> Flow:
    """A maximum or minimum over whole dimensions: any value may be the one, with equal probability."""
    value, dimensions = step.argument(0), step.argument(1, [])
    keep = bool(step.argument(2, False))
    shape = step.shape(value)
    dimensions = [dimensions] if isinstance(dimensions, int) else dimensions or range(len(shape))
    energy = step.energy
    if not keep:
        for dimension in sorted(d % len(shape) for d in dimensions):
            energy = energy.unsqueeze(dimension)
    count = math.prod(shape) / energy.numel()
    yield value, (energy / count).expand(shape)


def _either(step: Step) -> Flow:
    """The larger or smaller of two: each with equal probability."""
    for item in step.operation.arguments[:2]:
        if isinstance(item, Value):
            yield item, step.energy.sum_to_size(step.shape(item)) / 2


def _normal(like: Tensor) -> Tensor:
    """Standard normal quantiles."""
    return torch.special.ndtri((torch.arange(SAMPLES, dtype=torch.float64, device=like.device) + 0.5) / SAMPLES)


def _elementwise(step: Step) -> Flow:
    """A nonlinearity: the mean square of its own slope over standard normal values, 1/2 for ReLU."""
    value = step.argument(0)
    if not step.learned:
        yield value, step.energy
        return
    with torch.enable_grad():
        normal = _normal(step.energy).requires_grad_()
        rest = [item for item in step.operation.arguments[1:]]
        output = step.operation.overload(normal.clone(), *rest, **step.operation.keywords)
        slope = torch.autograd.grad(output.sum(), normal)[0]
    yield value, step.energy * float(slope.square().mean())


def _prelu(step: Step) -> Flow:
    """Slope 1 above zero and the weight below, with equal probability."""
    value, weight = step.argument(0), step.argument(1)
    if step.learned:
        yield value, step.energy * _by_channel((1 + weight.square()) / 2, step.energy)
    else:
        yield value, step.energy


def _by_channel(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *(1,) * (like.ndim - 2)) if like.ndim > 1 else scale


def _squares(step: Step, weight: Tensor, fan_in: int) -> Tensor:
    """The weights' own squares, or all alike and of the size that keeps the energy: 1 / (values that an output reads)."""
    weight = weight.to(step.energy.dtype)
    return weight.square() if step.learned else torch.full_like(weight, 1 / fan_in)


def _convolution(step: Step) -> Flow:
    value, weight, _, stride, padding, dilation, transposed, output_padding, groups = step.operation.arguments
    if not isinstance(weight, Tensor):
        raise FeatvisError(
            f"the convolution of layer {step.operation.layer!r} has weights that depend on the input; "
            "--assume-identity takes it for an identity"
        )
    shape, energy = step.shape(value), step.energy
    weight = weight.to(energy.dtype)
    if not step.learned:
        # The channels of a group carry the same energy: one channel stands for all.
        energy = energy.unflatten(1, (groups, -1)).sum(2)
        shape = (shape[0], groups, *shape[2:])
        weight = weight.new_full((groups, 1, *weight.shape[2:]), groups / step.shape(value)[1] / weight[0, 0].numel())
    else:
        weight = weight.square()
    energy = torch.ops.aten.convolution_backward(
        energy,
        energy.new_empty(1).expand(shape),
        weight,
        None,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
        (True, False, False),
    )[0]
    if not step.learned:
        energy = energy.repeat_interleave(step.shape(value)[1] // groups, 1)
    yield value, energy


def _matrix_product(left: int) -> Rule:
    """A product with a fixed matrix on the right, `left` being the position of the other; of two traced ones: see `_mixed`."""

    def rule(step: Step) -> Flow:
        first, second = step.argument(left), step.argument(left + 1)
        if isinstance(first, Value) and isinstance(second, Value):
            yield from _mixed(second, step)
        elif isinstance(first, Value):
            yield first, step.energy @ _squares(step, second, second.shape[-2]).transpose(-1, -2)
        else:
            yield second, _squares(step, first, first.shape[-1]).transpose(-1, -2) @ step.energy

    return rule


def _mixed(value: Value, step: Step) -> Flow:
    """Attention: every query reads all tokens of its window alike; what flows through the attention weights is left out.

    value: (..., tokens, features).
    """
    shape = step.shape(value)
    yield value, (step.energy.sum(-2, keepdim=True) / shape[-2] ** 2).expand(shape)


def _attention(step: Step) -> Flow:
    yield from _mixed(step.argument(2), step)


def _multi_head(step: Step) -> Flow:
    """The fused block of nn.MultiheadAttention: projections around the even mixing of `_mixed`."""
    value, width = step.argument(2), step.argument(3)
    inward, outward = step.argument(5)[2 * width :], step.argument(7)
    energy = step.energy @ _squares(step, outward, width)
    energy = (energy.sum(-2, keepdim=True) / energy.shape[-2] ** 2).expand_as(energy)
    yield value, energy @ _squares(step, inward, width)


def _batch_norm(step: Step) -> Flow:
    """The squared scale of evaluation; without running statistics the variance counts as 1."""
    value, weight, _, _, variance = step.operation.arguments[:5]
    energy = step.energy
    if step.learned:
        if variance is not None:
            energy = energy / _by_channel(variance + step.operation.arguments[-1], energy)
        if weight is not None:
            energy = energy * _by_channel(weight.square(), energy)
    yield value, energy


def _layer_norm(step: Step) -> Flow:
    """The squared scale; the variance of the features counts as 1, which scales the whole branch and no pixel against another."""
    value, weight = step.argument(0), step.argument(2)
    yield value, step.energy * weight.square() if weight is not None and step.learned else step.energy


def _group_norm(step: Step) -> Flow:
    """As `_layer_norm`, with a scale for each channel."""
    value, weight = step.argument(0), step.argument(1)
    scaled = weight is not None and step.learned
    yield value, step.energy * _by_channel(weight.square(), step.energy) if scaled else step.energy


def _sum(step: Step) -> Flow:
    """A sum or difference; what is added without being traced changes no gradient."""
    factors = (1.0, float(step.operation.keywords.get("alpha", 1)) ** 2)
    for item, factor in zip(step.operation.arguments[:2], factors, strict=False):
        if isinstance(item, Value):
            yield item, step.energy.sum_to_size(step.shape(item)) * factor


def _product(step: Step) -> Flow:
    """A product: the energy times the mean square of the other factor, a gate where both are traced."""
    for item, other in (step.operation.arguments[:2], step.operation.arguments[1::-1]):
        if isinstance(item, Value):
            yield item, (step.energy * _mean_square(step, other)).sum_to_size(step.shape(item))


def _quotient(step: Step) -> Flow:
    """A quotient: the energy by the mean square of the divisor; what flows through the divisor is left out."""
    item, other = step.operation.arguments[:2]
    if isinstance(item, Value):
        yield item, (step.energy / _mean_square(step, other)).sum_to_size(step.shape(item))


def _gated_linear(step: Step) -> Flow:
    """GLU: the first half times the sigmoid of the second."""
    value, dimension = step.argument(0), step.argument(1, -1)
    normal = _normal(step.energy)
    gate = torch.sigmoid(normal)
    open_, slope = float(gate.square().mean()), float((gate * (1 - gate)).square().mean())
    yield value, torch.cat([step.energy * open_, step.energy * slope], dimension)


def _written(step: Step) -> Flow:
    """A copy into an existing tensor, whose earlier values are gone."""
    source = step.argument(1)
    if isinstance(source, Value):
        yield source, step.energy.sum_to_size(step.shape(source))


def _mean_square(step: Step, factor: Any) -> Tensor | float:
    """The square of a fixed factor; of a traced one the mean that its nonlinearity gives on standard normal values, else 1."""
    if isinstance(factor, Tensor):
        return factor.square() if step.learned or not factor.ndim else 1.0
    if not isinstance(factor, Value):
        return float(factor) ** 2
    maker = step.makers.get(factor.number)
    if maker is None or RULES.get(maker.operator) is not _elementwise:
        return 1.0
    output = maker.overload(_normal(step.energy), *maker.arguments[1:], **maker.keywords)
    return float(output.square().mean())


def _along_axes(energy: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply a matrix (outputs, inputs), transposed, along each of the last axes."""
    for axis, matrix in enumerate(matrices, energy.ndim - len(matrices)):
        energy = (energy.transpose(axis, -1) @ matrix.to(energy)).transpose(axis, -1)
    return energy


def _windows(inputs: int, first: Tensor, offsets: Tensor) -> Tensor:
    """(outputs, inputs), 1 where a window reads a value. first: each window's first position, offsets: its other ones from there."""
    positions = first.view(-1, 1, 1) + offsets.view(1, -1, 1)
    return (positions == torch.arange(inputs)).any(1).double()


def _pooling(axes: int, average: bool) -> Rule:
    """Pooling by windows; a maximum may come from each valid pixel alike, a mean weighs each by the square of 1/count."""

    def rule(step: Step) -> Flow:
        value, kernel = step.argument(0), per_axis(step.argument(1), axes)
        stride, padding = per_axis(step.argument(2) or kernel, axes), per_axis(step.argument(3, 0), axes)
        dilation = (1,) * axes if average else per_axis(step.argument(4, 1), axes)
        count_padding = average and step.argument(5, True)
        divisor = step.argument(6) if average else None
        matrices = []
        sizes = zip(step.shape(value)[-axes:], step.energy.shape[-axes:], strict=True)
        for axis, (inputs, outputs) in enumerate(sizes):
            first = torch.arange(outputs) * stride[axis] - padding[axis]
            matrix = _windows(inputs, first, torch.arange(kernel[axis]) * dilation[axis])
            counts = matrix.sum(1)
            if count_padding:
                counts = (first + kernel[axis]).clamp_max(inputs + padding[axis]) - first
            if divisor:
                counts = torch.full_like(counts, divisor if axis == 0 else 1)
            weights = matrix / counts.view(-1, 1)
            matrices.append(weights.square() if average else weights)
        yield value, _along_axes(step.energy, matrices)

    return rule


def per_axis(values: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One value for each axis, from one for all or, where a signal stands in a picture of one row, from the last ones."""
    values = (values,) if isinstance(values, int) else tuple(values)
    return values[-axes:] if len(values) >= axes else values * axes


def _adaptive_pooling(axes: int, average: bool) -> Rule:
    """Adaptive pooling: window i of n reads from floor(i L / n) to before ceil((i + 1) L / n)."""

    def rule(step: Step) -> Flow:
        value = step.argument(0)
        matrices = []
        for inputs, outputs in zip(step.shape(value)[-axes:], step.energy.shape[-axes:], strict=True):
            starts = torch.arange(outputs).view(-1, 1) * inputs // outputs
            ends = -(-(torch.arange(1, outputs + 1).view(-1, 1) * inputs) // outputs)
            positions = torch.arange(inputs)
            weights = ((positions >= starts) & (positions < ends)).double() / (ends - starts)
            matrices.append(weights.square() if average else weights)
        yield value, _along_axes(step.energy, matrices)

    return rule


def _interpolation(axes: int) -> Rule:
    """Upsampling, whose coefficients are products over the axes: found by sending one-hot lines through the operator, squared."""

    def rule(step: Step) -> Flow:
        value = step.argument(0)
        sizes = step.shape(value)[-axes:]
        matrices = []
        for axis, size in enumerate(sizes):
            shape = [size, *(1,) * axes]
            shape[axis + 1] = size
            lines = torch.eye(size, dtype=step.energy.dtype, device=step.energy.device).view(shape)
            output = step.operation.overload(
                lines.expand(size, *sizes).unsqueeze(0).contiguous(), *step.operation.arguments[1:]
            )
            others = [d for d in range(2, axes + 2) if d != axis + 2]
            matrices.append(output.mean(others)[0].T.square())
        yield value, _along_axes(step.energy, matrices)

    return rule


def _nothing(step: Step) -> Flow:
    """The result does not depend on the values, or only by comparison."""
    yield from ()


def _named(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "addmm": _matrix_product(1),
    "mm": _matrix_product(0),
    "bmm": _matrix_product(0),
    "baddbmm": _matrix_product(1),
    "_native_multi_head_attention": _multi_head,
    **_named(
        _attention,
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention "
        "_scaled_dot_product_cudnn_attention _scaled_dot_product_attention_math",
    ),
    **_named(_batch_norm, "native_batch_norm cudnn_batch_norm miopen_batch_norm"),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    **_named(
        _elementwise,
        "relu relu6 hardtanh leaky_relu elu celu selu gelu silu mish softplus hardswish hardsigmoid sigmoid tanh log_sigmoid_forward "
        "softshrink hardshrink threshold clamp clamp_min clamp_max abs exp erf sin cos square atan rrelu_with_noise",
    ),
    **_named(_sum, "add sub"),
    "mul": _product,
    "div": _quotient,
    "glu": _gated_linear,
    "copy": _written,
    "max_pool2d_with_indices": _pooling(2, average=False),
    "max_pool2d": _pooling(2, average=False),
    "max_pool1d": _pooling(1, average=False),
    "avg_pool2d": _pooling(2, average=True),
    "avg_pool1d": _pooling(1, average=True),
    "_adaptive_avg_pool2d": _adaptive_pooling(2, average=True),
    "adaptive_avg_pool1d": _adaptive_pooling(1, average=True),
    "adaptive_max_pool2d": _adaptive_pooling(2, average=False),
    **_named(
        _interpolation(2), "upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa"
    ),
    "upsample_linear1d": _interpolation(1),
    "mean": _averaged,
    **_named(_one_of, "amax amin max min logsumexp"),
    **_named(_either, "maximum minimum"),
    **_named(
        moved,
        "view _unsafe_view reshape permute transpose t clone contiguous alias expand squeeze unsqueeze slice select split "
        "split_with_sizes unbind index index_select cat stack constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d "
        "replication_pad2d roll flip pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle repeat unfold im2col col2im "
        "sum upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d masked_fill as_strided_scatter _to_copy lift_fresh "
        "diagonal tril triu",
    ),
    **_named(
        identity,
        "neg as_strided _softmax _log_softmax dropout native_dropout pow sqrt rsqrt log reciprocal",
    ),
    **_named(_nothing, "sign gt lt ge le eq ne argmax detach fill"),
}
"""The rule of each aten operator, by its name without overload."""
