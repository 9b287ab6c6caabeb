"""How expected energy passes backwards through convolution, pooling and interpolation.

A convolution's weights are squared; of pooling and interpolation each axis has its own matrix of coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from featvis.predict.draws import FUNCTIONS, MOVES
from featvis.predict.pooling import adaptive_weights, back_along_axes, pooling_weights
from featvis.predict.steps import Flow, Rule, Step
from featvis.tracing.trace import Value
from featvis.tracing.windows import Window

AVERAGES = "an average or interpolation right behind windows that overlap: neighbouring gradients agree, E may be several times higher"

BETWEEN = FUNCTIONS | MOVES | frozenset(("native_batch_norm", "native_group_norm", "cudnn_batch_norm"))
"""What leaves neighbouring gradients alike."""


def _behind_overlap(step: Step) -> None:
    """Notes where the gradients that an average sends to neighbours, which are alike, add up in windows before it."""
    value = step.argument(0)
    while isinstance(value, Value) and value.number in step.makers:
        maker = step.makers[value.number]
        window = maker.window if maker.operator != "convolution" else None
        overlaps = window is not None and any(k > s for k, s in zip(window.kernel, window.stride, strict=True))
        if overlaps or maker.operator.startswith("upsample_bi"):
            step.notes.add(AVERAGES)
        if maker.operator not in BETWEEN:
            return
        value = next(iter(maker.arguments), None)


def convolution(step: Step) -> Flow:
    """The backward pass of the convolution itself, with squared weights."""
    value, weight, _, stride, padding, dilation, transposed, output_padding, groups = step.operation.arguments
    if not isinstance(weight, Tensor):
        raise ValueError("its weights depend on the input")
    shape, energy = step.shape(value), step.energy
    channels = shape[1]
    squares = step.squares(weight, channels // groups * weight[0, 0].numel())
    if not step.learned:
        # The channels of a group all carry the same energy: one stands for all.
        shape = (shape[0], groups, *shape[2:])
        energy = energy.unflatten(1, (groups, -1)).sum(2)
        squares = squares[:1, :1].expand(groups, 1, *weight.shape[2:]).contiguous()
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    stand_in = energy.new_empty(1).expand(shape)
    only_input = (True, False, False)
    energy = torch.ops.aten.convolution_backward(energy, stand_in, squares, None, *geometry, only_input)[0]
    yield value, energy if step.learned else energy.repeat_interleave(channels // groups, 1)


def pooling(axes: int, average: bool) -> Rule:
    """Pooling by windows of n valid values: a mean has coefficients 1/n, squared; a maximum is each with probability 1/n."""

    def rule(step: Step) -> Flow:
        if average:
            _behind_overlap(step)
        kernel = step.argument(1)
        given = step.operation.window or Window.of(kernel, step.argument(2) or kernel, step.argument(3, 0), axes=axes)
        window = given.on(axes)
        count_padding = average and step.argument(5, True)
        geometry = zip(*_sizes(step, axes), window.kernel, window.stride, window.padding, window.dilation, strict=True)
        matrices = [pooling_weights(i, o, k, s, p, d, count_padding) for i, o, k, s, p, d in geometry]
        if average and step.argument(6):
            # The given divisor replaces the count; one axis carries it.
            matrices = [(matrix > 0).double() for matrix in matrices]
            matrices[0] /= step.argument(6)
        yield step.argument(0), back_along_axes(step.energy, [m.square() if average else m for m in matrices])

    return rule


def adaptive_pooling(axes: int, average: bool) -> Rule:
    """As `pooling`, with the windows of adaptive pooling."""

    def rule(step: Step) -> Flow:
        matrices = [adaptive_weights(*sizes) for sizes in zip(*_sizes(step, axes), strict=True)]
        yield step.argument(0), back_along_axes(step.energy, [m.square() if average else m for m in matrices])

    return rule


def interpolation(axes: int) -> Rule:
    """Interpolation: the coefficients along an axis are what the operator makes of one-hot lines, constant along the other."""

    def rule(step: Step) -> Flow:
        _behind_overlap(step)
        value, matrices = step.argument(0), []
        sizes = step.shape(value)[-axes:]
        for axis, size in enumerate(sizes):
            lines = torch.eye(size).to(step.energy)
            if axes == 2:
                lines = lines.unsqueeze(1 if axis == 1 else 2)
            picture = lines.expand(size, *sizes).unsqueeze(0).contiguous()
            output = step.operation.overload(picture, *step.operation.arguments[1:])[0]
            coefficients = output if axes == 1 else output[:, :, 0] if axis == 0 else output[:, 0]
            matrices.append(coefficients.T.square())
        yield value, back_along_axes(step.energy, matrices)

    return rule


def unpooling(step: Step) -> Flow:
    """Each value goes to where its window's maximum was, any place of the window alike."""
    value, indices = step.argument(0), step.argument(1)
    pool = step.makers.get(indices.number) if isinstance(indices, Value) else None
    if pool is None or pool.operator != "max_pool2d_with_indices" or pool.window is None:
        raise ValueError("its positions come from no max-pooling")
    before, window = step.shapes[pool.inputs[0]][-2:], pool.window.on(2)
    if before != tuple(step.energy.shape[-2:]):
        raise ValueError("its positions belong to a map of another size")
    geometry = zip(before, pool.shape[-2:], window.kernel, window.stride, window.padding, window.dilation, strict=True)
    yield value, back_along_axes(step.energy, [pooling_weights(*sizes).T for sizes in geometry])


def grid_sample(step: Step) -> Flow:
    """Bilinear or nearest values at fixed positions: the squared coefficient of each of the four pixels around one."""
    value, grid, mode, padding, corners = (step.argument(position) for position in range(5))
    if not isinstance(grid, Tensor):
        raise ValueError("its positions depend on the input")
    if mode == 2:
        raise ValueError("it is bicubic")
    batch, channels, rows, columns = step.shape(value)
    places = []
    for axis, size in ((1, rows), (0, columns)):
        place = (
            (grid[..., axis].double() + 1) / 2 * (size - 1)
            if corners
            else ((grid[..., axis].double() + 1) * size - 1) / 2
        )
        if padding == 2:
            low, span = (0.0, size - 1) if corners else (-0.5, size)
            place = span - ((place - low) % (2 * span) - span).abs() + low if span else torch.zeros_like(place)
        if padding:
            place = place.clamp(0, size - 1)
        place = place.round() if mode == 1 else place
        first = place.floor()
        places.append([(first, 1 - (place - first)), (first + 1, place - first)])
    flat = step.energy.flatten(2)
    found = step.energy.new_zeros(batch, channels, rows * columns)
    for row, high in places[0]:
        for column, wide in places[1]:
            inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            share = ((high * wide).square() * inside).flatten(1).to(flat).unsqueeze(1)
            target = (row * columns + column).where(inside, 0).long().flatten(1).unsqueeze(1)
            found.scatter_add_(2, target.expand_as(flat), flat * share)
    yield value, found.view(batch, channels, rows, columns)


def _sizes(step: Step, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The last axes of input and output."""
    return step.shape(step.argument(0))[-axes:], tuple(step.energy.shape[-axes:])
