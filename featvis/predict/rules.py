"""How expected energy passes backwards through each operation: moves, nonlinearities, sums and products here, windows next door.

With independent zero-mean weights the expected square of a gradient has a backward pass of its own: each linear coefficient is replaced
by its square, each nonlinearity by a constant gain, and a maximum gives every pixel of its window the same chance. RULES holds a rule
for each aten operator; a rule takes a Step and yields the energy of each traced argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from featvis.predict.draws import FUNCTIONS, QUANTILES, STEPS, normal
from featvis.predict.pointwise import GATES, pointwise, softmax
from featvis.predict.reductions import deviation, extreme, log_sum, norm, ranked, running_extreme
from featvis.predict.steps import Flow, Rule, Step
from featvis.predict.transforms import complex_of_two, fourier, two_of_complex
from featvis.predict.window_rules import adaptive_pooling, convolution, grid_sample, interpolation, pooling, unpooling
from featvis.tracing.trace import Value

ATTENTION = "attention counts as an even mix of the tokens it sees; what flows through its weights is left out"


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

    def real(constant: Tensor) -> Tensor:
        return constant.abs() if constant.is_complex() else constant

    with torch.enable_grad():
        arguments, keywords = tree_map_only(Tensor, real, (step.operation.arguments, step.operation.keywords))
        arguments, keywords = tree_map_only(Value, stand_in, (arguments, keywords))
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


def _strided(step: Step) -> Flow:
    """Another view of the same memory, which counts as contiguous unless nothing moves."""
    value = step.argument(0)
    yield from identity(step) if step.shape(value) == step.energy.shape else _adjoint(step)


def _copy(step: Step) -> Flow:
    """Written into an existing tensor, whose earlier values are gone."""
    source = step.argument(1)
    if isinstance(source, Value):
        yield source, step.energy.sum_to_size(step.shape(source))


def _nothing(step: Step) -> Flow:
    """No gradient passes."""
    yield from ()


# Normalisations and gates with weights of their own


def _prelu(step: Step) -> Flow:
    """Slope 1 above zero and the weight below, each half of the time."""
    slopes = (1 + step.argument(1).square()) / 2
    yield step.argument(0), step.energy * _by_channel(slopes, step.energy) if step.learned else step.energy


def _gated_linear_unit(step: Step) -> Flow:
    """The first half times the sigmoid of the second."""
    step.notes.add(GATES)
    gate = normal(QUANTILES, step.energy.device).sigmoid()
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
    """A sum or difference of two, the second times alpha, turned round the first; of common values it is a function of them."""
    if step.learned and step.operation.outputs[0] not in step.apart:
        yield from pointwise(step)
        return
    factors = [1.0, float(step.operation.keywords.get("alpha", step.argument(2, 1))) ** 2]
    if step.operation.operator == "rsub":
        factors.reverse()
    for item, factor in zip(step.operation.arguments[:2], factors, strict=False):
        if isinstance(item, Value):
            yield item, step.energy.sum_to_size(step.shape(item)) * factor


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


def _long_short_term(step: Step) -> Flow:
    """One direction of an LSTM: energy runs back from step to step through its four gates, each for standard normal inputs."""
    value, inward, across = (step.argument(position) for position in range(3))
    energy = step.energies[0]
    if step.argument(9) != 2 or energy is None:
        raise ValueError("only the outputs of an LSTM are followed")
    step.notes.add(GATES)
    draws = normal(QUANTILES, step.energy.device)
    gate, slope = (float(mean) for mean in _gate(draws.sigmoid()))
    size, steep = (float(mean) for mean in _gate(draws.tanh(), tanh=True))
    inward, across = step.squares(inward, inward.shape[1]), step.squares(across, across.shape[1])
    output = cell = torch.zeros_like(energy[0])
    found = torch.zeros((*energy.shape[:2], inward.shape[1]), dtype=energy.dtype, device=energy.device)
    for moment in range(len(energy)) if step.argument(7) else reversed(range(len(energy))):
        output = output + energy[moment]
        cell = cell + output * gate * steep
        # Into the input's gate, the forgetting one, the new content and the output's gate, in torch's order.
        gates = torch.cat([cell * size * slope, cell * slope, cell * gate * steep, output * size * slope], -1)
        found[moment], output, cell = gates @ inward, gates @ across, cell * gate
    yield value, found


def _gate(values: Tensor, tanh: bool = False) -> tuple[Tensor, Tensor]:
    """The mean squares of a gate's values and slopes."""
    slopes = 1 - values.square() if tanh else values * (1 - values)
    return values.square().mean(), slopes.square().mean()


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
        " ".join(FUNCTIONS | STEPS): pointwise,
        "_prelu_kernel prelu": _prelu,
        "glu": _gated_linear_unit,
        "add sub rsub": _sum,
        "_softmax": softmax,
        "mkldnn_rnn_layer": _long_short_term,
        "max_pool2d_with_indices max_pool2d": pooling(2, average=False),
        "max_pool1d": pooling(1, average=False),
        "avg_pool2d": pooling(2, average=True),
        "avg_pool1d": pooling(1, average=True),
        "avg_pool3d": pooling(3, average=True),
        "_adaptive_avg_pool2d": adaptive_pooling(2, average=True),
        "adaptive_max_pool2d": adaptive_pooling(2, average=False),
        "upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d _upsample_bicubic2d_aa": interpolation(2),
        "upsample_linear1d": interpolation(1),
        "mean": _average,
        "amax amin max min median": extreme,
        "topk sort kthvalue": ranked,
        "cummax cummin": running_extreme,
        "linalg_vector_norm": norm,
        "std var": deviation,
        "logsumexp": log_sum,
        "_fft_r2c _fft_c2r _fft_c2c": fourier,
        "view_as_real": two_of_complex,
        "view_as_complex complex": complex_of_two,
        "_conj conj_physical resolve_conj _neg_view": identity,
        "grid_sampler_2d": grid_sample,
        "max_unpool2d": unpooling,
        "view _unsafe_view _reshape_alias reshape permute transpose t contiguous alias expand squeeze unsqueeze": _adjoint,
        "slice select split split_with_sizes unsafe_split unbind index index_select cat stack repeat roll flip unfold": _adjoint,
        "gather take tril triu diagonal scatter scatter_add index_add index_put select_scatter slice_scatter": _adjoint,
        "cumsum trace diag_embed": _adjoint,
        "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d": _adjoint,
        "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col col2im sum": _adjoint,
        "upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d": _adjoint,
        "put lift_fresh": _adjoint,
        "as_strided": _strided,
        # Gains that say nothing about pixels
        "_log_softmax native_dropout": identity,
        "copy": _copy,
        "argmax argmin argsort detach fill": _nothing,
    }
)
"""The rule of each aten operator, by its name without overload."""
