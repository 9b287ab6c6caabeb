"""How expected energy passes backwards through each operation: moves, nonlinearities, sums and products here, windows next door.

With independent zero-mean weights the expected square of a gradient has a backward pass of its own: each linear coefficient is replaced
by its square, each nonlinearity by a constant gain, and a maximum gives every pixel of its window the same chance. RULES holds a rule
for each aten operator; a rule takes a Step and yields the energy of each traced argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from featvis.predict.steps import Flow, Rule, Step
from featvis.predict.window_rules import adaptive_pooling, convolution, interpolation, pooling
from featvis.tracing.trace import Value

QUANTILES = 1001
"""Values of the standard normal distribution over which a nonlinearity is averaged."""

ATTENTION = "attention counts as an even mix of the tokens it sees; what flows through its weights is left out"
GATES = "where two activations are multiplied, each counts with its mean square for a standard normal input"
DIVISORS = "where an activation is divided by another, what flows through the divisor is left out"


# Nothing but moves: every coefficient is 0 or 1


def identity(step: Step) -> Flow:
    """The energy as it is, to the first argument of the same shape."""
    for item in step.operation.arguments:
        if isinstance(item, Value) and step.shape(item) == step.energy.shape:
            yield item, step.energy
            return
    raise ValueError("no input has the shape of the output")


def _adjoint(step: Step, factor: float = 1.0) -> Flow:
    """Copies and sums: energy flows back as the gradient itself does, by the operator's own backward pass."""
    like = next(energy for energy in step.energies if energy is not None)
    inputs: dict[Value, Tensor] = {}

    def stand_in(value: Value) -> Tensor:
        if value not in inputs:
            inputs[value] = like.new_zeros(()).expand(step.shape(value)).requires_grad_()
        return inputs[value].clone()

    with torch.enable_grad():
        arguments, keywords = tree_map_only(Value, stand_in, (step.operation.arguments, step.operation.keywords))
        results = step.operation.overload(*arguments, **keywords)
        results = [results] if isinstance(results, Tensor) else results
        # One sum: where autograd is given energies beside the results, it imports sympy.
        pairs = zip(results, step.energies, strict=True)
        total = torch.stack([(result * energy).sum() for result, energy in pairs if energy is not None]).sum()
    for value, energy in zip(inputs, torch.autograd.grad(total, list(inputs.values())), strict=True):
        yield value, energy * factor if factor != 1 else energy


def _average(step: Step) -> Flow:
    """A mean of n values: coefficients 1/n, squared."""
    yield from _adjoint(step, step.energy.numel() / math.prod(step.shape(step.argument(0))))


def _copy(step: Step) -> Flow:
    """Written into an existing tensor, whose earlier values are gone."""
    source = step.argument(1)
    if isinstance(source, Value):
        yield source, step.energy.sum_to_size(step.shape(source))


def _nothing(step: Step) -> Flow:
    """No gradient passes."""
    yield from ()


# Nonlinearities: a constant gain


def _normal(like: Tensor) -> Tensor:
    """Quantiles of the standard normal distribution."""
    steps = torch.arange(QUANTILES, dtype=torch.float64, device=like.device)
    return torch.special.ndtri((steps + 0.5) / QUANTILES)


def _elementwise(step: Step) -> Flow:
    """The mean square of the nonlinearity's own slope for a standard normal input, 1/2 for ReLU; 1 where only the architecture counts."""
    gain = 1.0
    if step.learned:
        with torch.enable_grad():
            normal = _normal(step.energy).requires_grad_()
            output = step.operation.overload(normal.clone(), *step.operation.arguments[1:], **step.operation.keywords)
            gain = float(torch.autograd.grad(output.sum(), normal)[0].square().mean())
    yield step.argument(0), step.energy * gain


def _prelu(step: Step) -> Flow:
    """Slope 1 above zero and the weight below, each half of the time."""
    slopes = (1 + step.argument(1).square()) / 2
    yield step.argument(0), step.energy * _by_channel(slopes, step.energy) if step.learned else step.energy


def _gated_linear_unit(step: Step) -> Flow:
    """The first half times the sigmoid of the second."""
    step.notes.add(GATES)
    gate = _normal(step.energy).sigmoid()
    shares = gate.square().mean(), (gate * (1 - gate)).square().mean()
    yield step.argument(0), torch.cat([step.energy * float(share) for share in shares], step.argument(1, -1))


def _by_channel(scale: Tensor, energy: Tensor) -> Tensor:
    """One factor for each channel, shaped to multiply an energy (B, C, ...)."""
    return scale.view(-1, *(1,) * (energy.ndim - 2)).to(energy)


def _batch_norm(step: Step) -> Flow:
    """The squared scale of evaluation; without running statistics the variance counts as 1."""
    value, weight, _, _, variance = step.operation.arguments[:5]
    energy = step.energy
    if step.learned and variance is not None:
        energy = energy / _by_channel(variance + step.operation.arguments[-1], energy)
    if step.learned and weight is not None:
        energy = energy * _by_channel(weight.square(), energy)
    yield value, energy


def _normalisation(position: int, channels_last: bool) -> Rule:
    """Layer or group norm: the squared scale, at that position of the arguments.

    The variance of this one input counts as 1: it scales a whole branch, and no pixel against its neighbour.
    """

    def rule(step: Step) -> Flow:
        weight, energy = step.argument(position), step.energy
        if step.learned and weight is not None:
            energy = energy * (weight.square() if channels_last else _by_channel(weight.square(), energy))
        yield step.argument(0), energy

    return rule


# Sums, products and matrices


def _sum(step: Step) -> Flow:
    """A sum or difference of two, the second times alpha."""
    factors = 1.0, float(step.operation.keywords.get("alpha", 1)) ** 2
    for item, factor in zip(step.operation.arguments[:2], factors, strict=False):
        if isinstance(item, Value):
            yield item, step.energy.sum_to_size(step.shape(item)) * factor


def _either(step: Step) -> Flow:
    """The larger or smaller of two, each half of the time."""
    for item in step.operation.arguments[:2]:
        if isinstance(item, Value):
            yield item, step.energy.sum_to_size(step.shape(item)) / 2


def _product(step: Step) -> Flow:
    """The energy times the mean square of the other factor, for both factors."""
    one, other = step.operation.arguments[:2]
    for item, factor in ((one, other), (other, one)):
        if isinstance(item, Value):
            yield item, (step.energy * _mean_square(step, factor)).sum_to_size(step.shape(item))


def _quotient(step: Step) -> Flow:
    """The energy by the mean square of the divisor."""
    item, divisor = step.operation.arguments[:2]
    if isinstance(divisor, Value):
        step.notes.add(DIVISORS)
    if isinstance(item, Value):
        yield item, (step.energy / _mean_square(step, divisor)).sum_to_size(step.shape(item))


def _mean_square(step: Step, factor: Any) -> Tensor | float:
    """The square of a fixed factor; of an activation, that of its nonlinearity for a standard normal input, 1 where it has none."""
    if isinstance(factor, Tensor):
        return factor.square().to(step.energy) if step.learned or not factor.ndim else 1.0
    if not isinstance(factor, Value):
        return float(factor) ** 2
    step.notes.add(GATES)
    maker = step.makers.get(factor.number)
    if not step.learned or maker is None or RULES.get(maker.operator) is not _elementwise:
        return 1.0
    return float(maker.overload(_normal(step.energy), *maker.arguments[1:], **maker.keywords).square().mean())


def _matrix_product(first: int) -> Rule:
    """A product of two matrices, the left one at position `first` of the arguments; two traced ones are attention."""

    def rule(step: Step) -> Flow:
        left, right = step.argument(first), step.argument(first + 1)
        if first and isinstance(step.argument(0), Value):
            yield step.argument(0), step.energy.sum_to_size(step.shape(step.argument(0)))
        if isinstance(left, Value) and isinstance(right, Value):
            yield from _attention(step, right)
        elif isinstance(left, Value):
            yield left, step.energy @ step.squares(right, right.shape[-2]).transpose(-1, -2)
        elif isinstance(right, Value):
            yield right, step.squares(left, left.shape[-1]).transpose(-1, -2) @ step.energy

    return rule


def _evenly(energy: Tensor, tokens: int) -> Tensor:
    """What (..., queries, features) send to each of the tokens (..., tokens, features) that they all average."""
    return (energy.sum(-2, keepdim=True) / tokens**2).expand(*energy.shape[:-2], tokens, energy.shape[-1])


def _attention(step: Step, value: Value | None = None) -> Flow:
    """Each query averages all tokens, value (..., tokens, features); what flows through the weights of the average is left out."""
    step.notes.add(ATTENTION)
    value = step.argument(2) if value is None else value
    yield value, _evenly(step.energy, step.shape(value)[-2])


def _multi_head(step: Step) -> Flow:
    """The fused nn.MultiheadAttention: the value's and the output's projection around an even mix."""
    step.notes.add(ATTENTION)
    value, width, inward, outward = step.argument(2), step.argument(3), step.argument(5), step.argument(7)
    mixed = _evenly(step.energy @ step.squares(outward, width), step.shape(value)[-2])
    yield value, mixed @ step.squares(inward[2 * width :], width)


def _extreme(step: Step) -> Flow:
    """A maximum over whole dimensions, any value alike; without dimensions over all."""
    value, dimensions = step.argument(0), step.argument(1, ())
    shape, energy = step.shape(value), step.energy
    dimensions = (dimensions,) if isinstance(dimensions, int) else tuple(dimensions) or tuple(range(len(shape)))
    if not step.argument(2, False):
        for dimension in sorted(dimension % len(shape) for dimension in dimensions):
            energy = energy.unsqueeze(dimension)
    yield value, (energy * (energy.numel() / math.prod(shape))).expand(shape)


def _table(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {name: rule for names, rule in rules.items() for name in names.split()}


RULES = _table(
    {
        "convolution": convolution,
        "mm bmm": _matrix_product(0),
        "addmm baddbmm": _matrix_product(1),
        "_native_multi_head_attention": _multi_head,
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention": _attention,
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention": _attention,
        "native_batch_norm cudnn_batch_norm miopen_batch_norm": _batch_norm,
        "native_layer_norm": _normalisation(2, channels_last=True),
        "native_group_norm": _normalisation(1, channels_last=False),
        "relu hardtanh leaky_relu elu celu selu gelu silu mish softplus hardswish hardsigmoid sigmoid tanh": _elementwise,
        "log_sigmoid_forward softshrink hardshrink threshold clamp clamp_min clamp_max abs exp erf sin cos": _elementwise,
        "_prelu_kernel prelu": _prelu,
        "glu": _gated_linear_unit,
        "add sub": _sum,
        "maximum minimum": _either,
        "mul": _product,
        "div": _quotient,
        "max_pool2d_with_indices max_pool2d": pooling(2, average=False),
        "max_pool1d": pooling(1, average=False),
        "avg_pool2d": pooling(2, average=True),
        "avg_pool1d": pooling(1, average=True),
        "_adaptive_avg_pool2d": adaptive_pooling(2, average=True),
        "adaptive_max_pool2d": adaptive_pooling(2, average=False),
        "upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d _upsample_bicubic2d_aa": interpolation(2),
        "upsample_linear1d": interpolation(1),
        "mean": _average,
        "amax amin max min": _extreme,
        "view _unsafe_view reshape permute transpose t clone contiguous alias expand squeeze unsqueeze _to_copy": _adjoint,
        "slice select split split_with_sizes unbind index index_select cat stack repeat roll flip unfold": _adjoint,
        "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d": _adjoint,
        "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col col2im sum": _adjoint,
        "upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d": _adjoint,
        "masked_fill put lift_fresh": _adjoint,
        # Gains that say nothing about pixels
        "neg as_strided _softmax _log_softmax native_dropout pow sqrt rsqrt log reciprocal rsub": identity,
        "copy": _copy,
        "sign gt lt ge le eq ne argmax detach fill": _nothing,
    }
)
"""The rule of each aten operator, by its name without overload."""
