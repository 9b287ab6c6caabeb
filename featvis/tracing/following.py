"""How an operation moves the places of a tensor's elements.

What only moves elements (views, indices, padding, windows laid out as columns) is done to the coordinates as it is done to the values.
What computes over windows or dimensions gives the mean coordinate of what it reads. Operators are told by what they are: by their schema
and tags, and by whole names. What none of this describes leaves no known place.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from featvis.tracing.mixing import (
    adaptive,
    attended,
    attended_fast,
    contracted,
    convolved,
    linear,
    pooled,
    reduced,
    transformed,
)
from featvis.tracing.steps import (
    Lost,
    Places,
    Rule,
    Step,
    as_complex,
    as_real,
    converted,
    copied,
    first,
    moved,
    ordered,
    overwritten,
    padded,
    passed,
    relaid,
    strided,
    unfolded,
    viewed,
)


def follow(step: Step) -> list[Places]:
    """The places of each result. Raises Lost where they cannot be followed."""
    rule = _rule(step)
    if rule is None:
        raise Lost(step.name)
    try:
        return rule(step)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        raise Lost(step.name) from error


def rearranges(function: Any) -> bool:
    """Whether an operator computes nothing and keeps all elements: a cut into windows that is undone leaves no period behind."""
    return function.overloadpacket.__name__.removesuffix("_") in (*_VIEWS, *_LAYOUTS, *_COPIES)


def _rule(step: Step) -> Rule | None:
    name = step.name
    if name in RULES:
        return RULES[name]
    if step.function.is_view:
        return moved
    if torch.Tag.pointwise in step.function.tags:
        return passed
    if torch.Tag.reduction in step.function.tags:
        return reduced
    return None


_LAYOUTS = ("transpose", "t", "squeeze", "unsqueeze", "swapaxes", "swapdims")

_COPIES = (
    "expand",
    "permute",
    "unflatten",
    "clone",
    "_to_copy",
    "detach",
    "alias",
    "lift_fresh",
    "contiguous",
    "_conj",
    "resolve_conj",
)

_MOVES = (
    *("cat", "stack", "index", "index_select", "gather", "take", "take_along_dim", "roll", "flip", "rot90", "repeat"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "narrow_copy"),
    *("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter", "unfold_copy", "permute_copy"),
    *("repeat_interleave", "unbind_copy", "split_copy", "index_put", "masked_select", "put"),
    *("hstack", "vstack", "block_diag", "tile", "expand_copy", "slice_copy", "unsafe_split"),
    *("unsafe_chunk", "split_with_sizes_copy", "unsafe_split_with_sizes", "_unsafe_index", "tril", "triu"),
)

_PADDING = (
    "constant_pad_nd",
    *(f"{kind}_pad{axes}d" for kind in ("reflection", "replication", "circular") for axes in (1, 2, 3)),
)

_VIEWS = ("view", "_unsafe_view", "reshape", "view_copy", "_reshape_alias", "_reshape_copy")

_AS_THE_FIRST = (
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm"),
    *("_batch_norm_with_update", "_batch_norm_no_update", "cudnn_batch_norm", "miopen_batch_norm", "native_layer_norm"),
    *("native_group_norm", "_fused_rms_norm", "rms_norm", "_softmax", "_log_softmax", "softmax", "log_softmax"),
    *("_safe_softmax", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "native_dropout", "dropout"),
    *("bernoulli", "rrelu_with_noise", "mkldnn_rnn_layer", "_cudnn_rnn", "renorm", "_thnn_fused_gru_cell"),
    *("_thnn_fused_lstm_cell", "_weight_norm_interface", "local_response_norm", "normalize", "_masked_softmax"),
)

_ELEMENT_BY_ELEMENT = (
    *(
        "where",
        "prelu",
        "_prelu_kernel",
        "hardswish",
        "hardsigmoid",
        "masked_fill",
        "masked_scatter",
        "lerp",
        "addcmul",
    ),
    *("addcdiv", "clamp", "threshold", "complex", "polar", "real", "imag", "angle", "view_as_real_copy", "nan_to_num"),
    *("fake_quantize_per_tensor_affine", "log_sigmoid_forward", "log_sigmoid", "relu6", "celu", "selu", "softshrink"),
    *("hardshrink", "hardtanh", "elu", "gelu", "mish", "silu", "softplus", "leaky_relu", "relu", "logit", "erfinv"),
)

_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "matmul", "linear")

_INTERPOLATIONS = tuple(
    f"{prefix}upsample_{kind}{suffix}"
    for prefix, suffix in itertools.product(("", "_"), ("", "_aa"))
    for kind in (
        *("nearest1d", "nearest2d", "nearest3d", "nearest_exact1d", "nearest_exact2d", "nearest_exact3d"),
        *("linear1d", "bilinear2d", "trilinear3d", "bicubic2d", "lanczos2d"),
    )
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES, moved),
    **dict.fromkeys(_COPIES, moved),
    "_to_copy": converted,
    **dict.fromkeys(_VIEWS, viewed),
    **dict.fromkeys(_LAYOUTS, relaid),
    **dict.fromkeys(_PADDING, padded),
    **dict.fromkeys(("im2col", "col2im"), unfolded),
    **dict.fromkeys(_AS_THE_FIRST, first),
    **dict.fromkeys(_ELEMENT_BY_ELEMENT, passed),
    **dict.fromkeys(_PRODUCTS, contracted),
    **dict.fromkeys((*_INTERPOLATIONS, "grid_sampler_2d", "grid_sampler_3d", "grid_sampler"), linear),
    **dict.fromkeys(("convolution", "_convolution"), convolved),
    **dict.fromkeys(tuple(f"{kind}_pool{n}d" for kind in ("avg", "max") for n in (1, 2, 3)), pooled),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), pooled),
    **dict.fromkeys(
        tuple(
            f"{prefix}adaptive_{kind}_pool{n}d" for prefix in ("", "_") for kind in ("avg", "max") for n in (1, 2, 3)
        ),
        adaptive,
    ),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "var", "std", "var_mean", "std_mean", "norm", "logsumexp"), reduced
    ),
    **dict.fromkeys(("linalg_vector_norm", "prod", "max", "min", "median", "argmax", "argmin", "any", "all"), reduced),
    **dict.fromkeys(("topk", "sort", "kthvalue", "glu"), ordered),
    **dict.fromkeys(
        (
            *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
            *("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"),
            *("scaled_dot_product_attention", "_scaled_dot_product_attention_math"),
        ),
        attended,
    ),
    **dict.fromkeys(("_native_multi_head_attention", "_transformer_encoder_layer_fwd"), attended_fast),
    **dict.fromkeys(("_fft_r2c", "_fft_c2c", "_fft_c2r"), transformed),
    "as_strided": strided,
    "view_as_complex": as_complex,
    "view_as_real": as_real,
    "copy": copied,
    **dict.fromkeys(("fill", "zero", "normal", "uniform"), overwritten),
}
"""The operators by their whole names. Any other that is a view, or whose tags say pointwise or reduction, follows these kinds."""
