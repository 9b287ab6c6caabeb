"""The stack of windows on the longest way through a network: what `featvis overlap` counts."""

from __future__ import annotations

from featvis.tracing.layer_table import mark_of, steps_of
from featvis.tracing.trace import Operation, Trace
from featvis.tracing.windows import Window, size_words


def longest_stack(record: Trace) -> list[Window] | None:
    """The windows on the way from the pixels to the score that passes most of them; 1x1 ones of stride 1 are left out.

    None where an overlap does not tell it: an operation on it enlarges the map, computes its kernel or leaves positions unknown.
    """
    ways: dict[int, tuple[Window | None, ...]] = {0: ()}
    for operation in record.leading_to(record.output):
        before = [ways[number] for number in operation.inputs if number in ways]
        # What stands for the whole map has no position, and neither has what follows it.
        if not before or (operation.grid is None and not operation.lost):
            continue
        way = max(before, key=len)
        for number in operation.outputs:
            ways[number] = (*way, *_windows(operation, record))
    longest = max(ways.values(), key=len)
    return None if None in longest else [window for window in longest if window is not None]


def _windows(operation: Operation, record: Trace) -> list[Window | None]:
    """What an operation adds to a way: nothing, its window, or None where an overlap cannot tell."""
    if operation.lost:
        return [None]
    before = [record.grids.get(number) for number in operation.inputs]
    window = operation.window
    if mark_of(operation, before, () if window is None else window.stride) == "upsampling":
        return [None]
    if operation.operator in ("slice", "pixel_unshuffle"):
        steps = steps_of(operation, before)
        kernel = steps if operation.operator == "pixel_unshuffle" else (1,) * len(steps)
        window = Window.of(kernel, steps) if steps else None
    if window is None:
        return []
    if not window.kernel:
        return [None]
    return [] if {*window.kernel, *window.stride} == {1} else [window]


def stage_text(window: Window) -> str:
    """A window in the words of `featvis overlap`: kernel,stride[,padding[,dilation]].

    >>> stage_text(Window.of((3, 5), (2, 1), (1, 2)))
    '3x5,2x1,1x2'
    """
    parts = [window.kernel, window.stride, window.padding, window.dilation]
    while len(parts) > 2 and set(parts[-1]) == {len(parts) - 3}:
        parts.pop()
    return ",".join(map(size_words, parts))
