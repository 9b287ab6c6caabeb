"""Repair an architecture: a copy of a network with some of its layers changed, and what changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names
from featvis.repair import backward, forward
from featvis.repair.changes import NOT_REACHED, Change, layer_names
from featvis.repair.forward import Site
from featvis.tracing.networks import copy_module
from featvis.tracing.outputs import output_tensor
from featvis.tracing.refusals import refusals
from featvis.tracing.trace import Operation, Trace, trace

KINDS = {
    "forward": "outputs change; retrain or fine-tune",
    "backward": "outputs stay as they are, bit by bit; only gradients change",
    "exact": "outputs stay as they are, up to rounding",
}
"""What each kind of fix does to a trained network."""

MARK = "featvis_fixes"
"""The attribute of a repaired copy that holds the names of its forward."""


@dataclass(frozen=True)
class Fix:
    """One way to repair a network.

    kind: a key of KINDS. description: one line. function: changes a copy in place, `(module, images, seed) -> list[Change]`. seeks: what
    it looks for, in words; applies: whether it would change what computes at a place, so that what has no module can be reported.
    everywhere: whether it is for every such place, or for the last one alone. reads_images: whether it depends on images.

    >>> featvis.FIXES["even-kernel"].kind
    'forward'
    >>> [name for name, fix in featvis.FIXES.items() if fix.kind == "exact"]
    ['subpixel']
    """

    kind: str
    description: str
    function: Callable[[nn.Module, Tensor | None, int], list[Change]]
    seeks: str
    applies: Callable[[Site], bool]
    everywhere: bool = True
    reads_images: bool = False


FIXES: dict[str, Fix] = {
    "blurpool": Fix(
        "forward",
        "strided layers and pooling run densely, then a binomial blur and every s-th value (Zhang 2019)",
        forward.blurpool,
        "strided convolutions and pooling",
        forward.downsamples,
    ),
    "avgpool": Fix(
        "forward",
        "strided layers run densely, then s x s averages; maximum pooling becomes average pooling",
        forward.avgpool,
        "strided convolutions, and pooling by maxima or uneven averages",
        forward.downsamples_unevenly,
    ),
    "l2pool": Fix(
        "forward",
        "maximum pooling becomes the root of a mean of squares; uneven windows run densely, then over s x s cells",
        forward.l2pool,
        "maximum pooling",
        forward.takes_maxima,
    ),
    "even-kernel": Fix(
        "forward",
        "kernels and pooling windows widen to a multiple of the stride (k3 s2 to k4 s2), weights resampled",
        forward.even_kernel,
        "strided windows that their stride does not divide",
        forward.overlaps_unevenly,
    ),
    "pool-shortcut": Fix(
        "forward",
        "1x1 strided convolutions, as in shortcuts, read s x s averages instead of single pixels",
        forward.pool_shortcut,
        "1x1 strided convolutions",
        forward.reads_single_pixels,
    ),
    "smooth-hold": Fix(
        "forward",
        "a smooth hold before strided layers and pooling, and behind transposed convolutions (Kinoshita and Kiya 2020)",
        forward.smooth_hold,
        "strided or transposed strided convolutions, and pooling",
        forward.resamples,
    ),
    "resize-nearest": Fix(
        "forward",
        "transposed convolutions become nearest-neighbour resizing and a convolution (Odena et al. 2016)",
        forward.resize_nearest,
        "transposed convolutions with a stride",
        forward.upsamples,
    ),
    "resize-bilinear": Fix(
        "forward",
        "transposed convolutions become bilinear resizing and a convolution (Odena et al. 2016)",
        forward.resize_bilinear,
        "transposed convolutions with a stride",
        forward.upsamples,
    ),
    "subpixel": Fix(
        "exact",
        "transposed convolutions become sub-pixel convolutions that compute the same (Shi et al. 2016)",
        forward.subpixel,
        "transposed convolutions with a stride",
        forward.upsamples,
    ),
    "subpixel-icnr": Fix(
        "forward",
        "transposed convolutions become sub-pixel convolutions that start as nearest-neighbour resizing (Aitken et al. 2017)",
        forward.subpixel_icnr,
        "transposed convolutions with a stride",
        forward.upsamples,
    ),
    "stride1-smooth": Fix(
        "forward",
        "a stride-1 transposed convolution, as wide as the stride, behind the last upsampling layer (Odena et al. 2016)",
        forward.stride1_smooth,
        "layers that enlarge",
        forward.enlarges,
        everywhere=False,
        reads_images=True,
    ),
    "backward-blur": Fix(
        "backward",
        "gradients are blurred where they pass strided layers and pooling",
        backward.backward_blur,
        "strided convolutions and pooling",
        forward.downsamples,
    ),
    "backward-smooth-maxpool": Fix(
        "backward",
        "maximum pooling passes gradients on to all of its window, by a smooth surrogate",
        backward.backward_smooth_maxpool,
        "maximum pooling",
        forward.takes_maxima,
    ),
    "backward-even": Fix(
        "backward",
        "each strided layer's gradient is divided by the profile that the layer leaves in it",
        backward.backward_even,
        "strided windows that leave the gradient uneven",
        forward.overlaps_unevenly,
        reads_images=True,
    ),
}
"""Every fix by its name."""


def operate(
    module: nn.Module, fix: Fix | str, images: Tensor | None = None, seed: int = 0, record: Trace | None = None
) -> tuple[nn.Module, list[Change]]:
    """A repaired copy of a network, and what changed layer by layer; the network itself stays as it is.

    fix: a Fix or its name in FIXES. images: prepared input, (B, C, H, W) or (B, C, L); some fixes calibrate on it, and with it the list
    also names what would need the fix but is a function call instead of a module. seed: for random draws. record: the network's trace
    at the first of the images, where there is one.

    The copy has parameters of its own, with the names, modes and requires_grad of the original's. Raises FeatvisError where nothing
    matched, for a fix that the network already has, for a layer that it cannot serve, and where the output would change its shape.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
    >>> repaired, changes = featvis.operate(network, "even-kernel")
    >>> changes
    [Change(layer='0', before='convolution 3 stride 2', after='convolution 4 stride 2', note='')]
    """
    if not isinstance(module, nn.Module):
        raise FeatvisError(
            f"a network of type {type(module).__name__}; expected a torch.nn.Module, such as a Model's .module"
        )
    name, fix = _named(fix)
    applied = getattr(module, MARK, ())
    if name in applied:
        raise FeatvisError(f"the fix {name!r} is already applied to this network; give the original for a fresh copy")
    late = [other for other in applied if other in FIXES and FIXES[other].kind == "backward"]
    if late and fix.kind != "backward":
        raise FeatvisError(f"the fix {name!r} changes layers whose gradients {late[0]!r} treats; apply {name!r} first")
    if images is not None and record is None:
        record = trace(module, images[:1])
    twin = copy_module(module)
    for parameter in twin.parameters():
        parameter.data = parameter.data.clone()
    changes = fix.function(twin, images, seed)
    missed = [] if record is None else _missed(record, fix, twin, changes)
    if not changes:
        raise FeatvisError(f"the fix {name!r} finds nothing to change: {_nothing(fix, module, missed)}")
    if images is not None and record is not None:
        _check_shape(twin, images, record, name)
    _restore_modes(twin, module)
    setattr(twin, MARK, (*applied, name))
    return twin, [*changes, *missed]


def _named(fix: Fix | str) -> tuple[str, Fix]:
    if isinstance(fix, Fix):
        return next((name for name, known in FIXES.items() if known is fix), fix.description), fix
    if not isinstance(fix, str):
        raise FeatvisError(f"a fix of type {type(fix).__name__}; expected a Fix or one of {', '.join(FIXES)}")
    if fix not in FIXES:
        raise FeatvisError(f"no fix {fix!r}{nearest_names(fix, FIXES)}; known: {', '.join(FIXES)}")
    return fix, FIXES[fix]


def _restore_modes(twin: nn.Module, module: nn.Module) -> None:
    """Training modes and requires_grad as in the original, by name; what is new follows the layer that it belongs to."""
    modes = {name: part.training for name, part in module.named_modules(remove_duplicate=False)}
    wanted = {name: parameter.requires_grad for name, parameter in module.named_parameters(remove_duplicate=False)}
    for name, part in twin.named_modules():
        part.training = modes[_nearest(name, modes)]
    for name, parameter in twin.named_parameters():
        parameter.requires_grad_(wanted.get(name, True))


def _nearest(name: str, known: dict[str, bool]) -> str:
    """The name itself, or that of the nearest parent that is known."""
    while name not in known:
        name = name.rpartition(".")[0]
    return name


def _missed(record: Trace, fix: Fix, twin: nn.Module, changes: Sequence[Change]) -> list[Change]:
    """What would need the fix, but is not among the modules that it changed."""
    names = dict(twin.named_modules(remove_duplicate=False))
    first = layer_names(twin)
    ours = {first[part] for part in forward.inserted(twin)}
    done = {change.layer for change in changes}
    found: dict[tuple[str, str], Change] = {}
    together = _slices_that_read_all(record)
    places = [
        (operation, site)
        for operation in record.leading_to(record.output)
        if operation.outputs[0] not in together and (site := site_of(operation)) is not None and fix.applies(site)
    ]
    for operation, site in places if fix.everywhere else places[-1:]:
        part = names.get(operation.layer)
        if part is not None and first.get(part) in done:
            continue
        if operation.layer in ours or type(part).__module__.startswith("featvis.repair.layers"):
            continue
        kind = record.layer_types.get(operation.layer, "")
        inside = any(other.startswith(f"{operation.layer}." if operation.layer else "") for other in names if other)
        note = (
            f"a function call in the code of {kind}; use a layer of torch.nn there"
            if inside
            else f"a {kind}, unknown here"
        )
        found[operation.layer, str(site)] = Change(operation.layer, str(site), NOT_REACHED, note)
    return list(found.values())


def _slices_that_read_all(record: Trace) -> set[int]:
    """The outputs of slices that together read every pixel of a map, as a patch merging layer's four do."""
    chains: dict[int, tuple[int, tuple[tuple[int, int, int], ...]]] = {}
    continued = set()
    for operation in record.operations:
        if operation.operator == "slice" and operation.inputs:
            given = dict(enumerate(operation.arguments))
            dimension, start, step = given.get(1, 0), given.get(2) or 0, given.get(4, 1)
            source = operation.inputs[0]
            root, taken = chains.get(source, (source, ()))
            chains[operation.outputs[0]] = root, (taken if step == 1 else (*taken, (dimension, start, step)))
            continued.add(source)
    phases: dict[tuple[int, tuple[tuple[int, int], ...]], set[tuple[int, ...]]] = {}
    for number, (root, taken) in chains.items():
        if number not in continued:
            axes = tuple((dimension, step) for dimension, _, step in taken)
            phases.setdefault((root, axes), set()).add(tuple(start % step for _, start, step in taken))
    whole = set()
    for (root, axes), seen in phases.items():
        if axes and len(seen) == math.prod(step for _, step in axes):
            whole.add(root)
    return {number for number, (root, _) in chains.items() if root in whole}


def site_of(operation: Operation) -> Site | None:
    """What an operation does to the resolution, None where it leaves it alone."""
    window, operator = operation.window, operation.operator
    if window is not None and max(window.stride, default=1) > 1:
        if operator == "convolution":
            return Site("transposed convolution" if operation.arguments[6] else "convolution", window)
        if operator.startswith(("max_pool", "avg_pool")):
            return Site("maximum pooling" if operator.startswith("max") else "average pooling", window)
        if operator == "slice":
            return Site("slicing", window)
    if operator.startswith("upsample"):
        return Site("interpolation")
    return Site("pixel shuffle") if operator == "pixel_shuffle" else None


def _nothing(fix: Fix, module: nn.Module, missed: Sequence[Change]) -> str:
    """What a fix looks for, and what the network has instead."""
    if missed:
        places = ", ".join(dict.fromkeys(f"{change.before} in {change.layer or 'the network'}" for change in missed))
        return f"it looks for {fix.seeks}, and what there is cannot be reached: {places}"
    sites = dict.fromkeys(str(site) for part in module.modules() if (site := forward.site_of_layer(part)) is not None)
    has = f"has only {', '.join(sites)}" if sites else "has no layer that changes the resolution"
    applied = getattr(module, MARK, ())
    besides = f" beside what {', '.join(applied)} put there" if applied else ""
    return f"it looks for {fix.seeks}; this network {has}{besides}"


def _check_shape(twin: nn.Module, images: Tensor, record: Trace, name: str) -> None:
    with torch.no_grad(), refusals(images):
        shape = tuple(output_tensor(twin(images[:1]), record.form.name).shape)
    expected = shape if record.output is None else record.shapes[record.output]
    if shape != expected:
        raise FeatvisError(
            f"the fix {name!r} would turn an output of shape {expected} into {shape}; choose another fix"
        )
