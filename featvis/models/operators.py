"""What an exported program may ask for: operators whose only effect is the tensor that they give."""

from __future__ import annotations

import re
from collections.abc import Collection

import torch

from featvis.errors import FeatvisError

FUNCTIONAL = frozenset(
    """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv angle asin asinh atan atan2 atanh baddbmm bilinear bmm ceil clamp
    clamp_max clamp_min clip complex conj conj_physical copysign cos cosh cross digamma div divide dot einsum erf erfc erfinv exp exp2
    expm1 float_power floor floor_divide fmax fmin fmod frac heaviside hypot imag kron lerp lgamma linalg_cross linear log log10 log1p
    log2 logaddexp logit matmul maximum minimum mm mul multiply mv nan_to_num neg negative outer polar positive pow real reciprocal
    remainder resolve_conj resolve_neg round rsqrt rsub sgn sigmoid sign sin sinc sinh sqrt square sub subtract tan tanh tensordot
    true_divide trunc view_as_complex view_as_real xlogy

    __and__ __or__ __xor__ all any bitwise_and bitwise_not bitwise_or bitwise_xor eq equal ge greater greater_equal gt isclose isfinite
    isinf isnan le less less_equal logical_and logical_not logical_or logical_xor lt masked_fill ne not_equal where

    amax amin aminmax argmax argmin argsort count_nonzero cummax cummin cumprod cumsum frobenius_norm kthvalue linalg_norm
    linalg_vector_norm logcumsumexp logsumexp max mean median min nanmean nansum norm prod sort std std_mean sum topk trace var var_mean

    _reshape_copy _to_copy _unsafe_index _unsafe_view alias atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to
    cartesian_prod cat channel_shuffle chunk clone col2im concat concatenate constant_pad_nd contiguous copy detach diag diag_embed
    diagonal diagonal_scatter dsplit dstack expand expand_as fill flatten flip fliplr flipud gather hsplit hstack im2col index index_add
    index_copy index_fill index_put index_select lift_fresh lift_fresh_copy mT masked_scatter masked_select meshgrid moveaxis movedim
    narrow numpy_T pad permute pixel_shuffle pixel_unshuffle ravel reflection_pad1d reflection_pad2d reflection_pad3d repeat
    repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as roll rot90 scatter scatter_add
    scatter_reduce select select_scatter slice slice_scatter split split_with_sizes squeeze stack swapaxes swapdims t take
    take_along_dim tensor_split tile to transpose tril triu type_as unbind unflatten unfold unsafe_chunk unsafe_split
    unsafe_split_with_sizes unsqueeze view view_as vsplit vstack zero

    arange bucketize eye full full_like linspace new_full new_ones new_zeros one_hot ones ones_like promote_types result_type
    scalar_tensor searchsorted tril_indices triu_indices zeros zeros_like

    _adaptive_avg_pool2d _batch_norm_no_update _convolution _native_batch_norm_legit _native_batch_norm_legit_no_training
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    affine_grid_generator alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm cdist celu conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d convolution cosine_similarity dropout elu embedding feature_alpha_dropout feature_dropout gelu glu
    grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru hardshrink hardsigmoid hardswish hardtanh instance_norm layer_norm
    leaky_relu log_sigmoid log_softmax lstm max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool2d max_unpool3d mish native_batch_norm native_group_norm native_layer_norm pairwise_distance prelu
    relu relu6 rms_norm rnn_relu rnn_tanh scaled_dot_product_attention selu silu softmax softplus softshrink threshold
    _log_softmax _softmax upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d

    fft_fft fft_fft2 fft_fftn fft_fftshift fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2
    fft_rfftn

    _assert_scalar _assert_tensor_metadata item sym_constrain_range sym_constrain_range_for_size sym_numel sym_size sym_storage_offset
    sym_stride
    """.split()  # noqa: SIM905 (as many as this are read as text)
)
"""Names under `torch.ops.aten`. Those that read or write files, print, give unset memory or change a tensor's storage are none of them."""

_SIZES = frozenset(
    """
    _operator.add _operator.and_ _operator.eq _operator.floordiv _operator.ge _operator.getitem _operator.gt _operator.le _operator.lt
    _operator.mod _operator.mul _operator.ne _operator.neg _operator.or_ _operator.pos _operator.sub _operator.truediv math.trunc
    torch.sym_float torch.sym_int torch.sym_ite torch.sym_max torch.sym_min torch.sym_not torch.sym_sqrt
    """.split()  # noqa: SIM905 (as many as this are read as text)
)
"""Arithmetic with sizes; powers and shifts, whose results can be of any length, are left out."""

_AROUND_GRAPHS = frozenset(
    "torch.ops.higher_order." + name for name in ("cond", "wrap_with_autocast", "wrap_with_set_grad_enabled")
)
"""What runs a graph within the graph."""


def check_operator(target: str, arguments: Collection[str], graphs: bool) -> None:
    """Raises FeatvisError that names a target which is not allowed, or an argument which it does not take.

    arguments: their names; graphs: whether one of them is a graph.
    """
    if target in _AROUND_GRAPHS or (target in _SIZES and not graphs):
        return
    if not graphs and _fits(target, arguments):
        return
    raise FeatvisError(
        f"asks for the operator {target[:100]!r}, which is not one of those known to have no effects, or not with these arguments; "
        "load the network from its own code, as path/file.py:factory"
    )


def _fits(target: str, arguments: Collection[str]) -> bool:
    """Whether a target is a functional operator, or the in-place form of one, that takes these arguments and writes to none other."""
    parts = re.fullmatch(r"torch\.ops\.aten\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)", target, re.ASCII)
    if not parts:
        return False
    name, overload = parts.groups()
    in_place = name not in FUNCTIONAL and name.endswith("_")
    if name.removesuffix("_" if in_place else "") not in FUNCTIONAL:
        return False
    known = getattr(torch.ops.aten, name, None)
    if known is None or overload not in known.overloads():
        return False
    taken = getattr(known, overload)._schema.arguments
    written = [taker.name for taker in taken if taker.alias_info is not None and taker.alias_info.is_write]
    allowed = ["self"] if in_place else ["running_mean", "running_var"] if "batch_norm" in name else []
    return set(written) <= set(allowed) and set(arguments) <= {taker.name for taker in taken}
