"""Which tensor a network's output is, where it returns several, and which of its dimensions are the pictures and the classes."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names

NAMED = ("logits", "logit", "out", "pred_logits", "scores")
"""Names under which networks return what they say, before everything else that they return beside it."""


def outputs_in(output: Any) -> dict[str, Tensor]:
    """The tensors that a network returned side by side, by name or number; "" where it returned one alone."""
    if isinstance(output, Tensor):
        return {"": output}
    items: Mapping[Any, Any] = {}
    if isinstance(output, Mapping):
        items = output
    elif is_dataclass(output):
        items = {field.name: getattr(output, field.name) for field in fields(output)}
    elif hasattr(output, "_asdict"):
        items = output._asdict()
    elif isinstance(output, Sequence) and not isinstance(output, str):
        items = dict(enumerate(output))
    elif hasattr(output, "__dict__"):
        items = {name: getattr(output, name) for name in (*NAMED, *vars(output)) if hasattr(output, name)}
    return {str(name): item for name, item in items.items() if isinstance(item, Tensor)}


def output_tensor(output: Any, name: str = "") -> Tensor:
    """One tensor among those that a network returned: the one of this name or number, else logits by name, else the first."""
    found = outputs_in(output)
    if name in found:
        return found[name]
    for choice in (*NAMED, next(iter(found), "")):
        if choice in found:
            return found[choice]
    raise FeatvisError(
        f"the network returned {type(output).__name__}; expected a tensor, or a dict or tuple that holds one: wrap it in a module that "
        "returns the scores to differentiate"
    )


def taking(module: nn.Module, name: str) -> nn.Module:
    """A network that returns one of a network's outputs alone, by name, number, or both as in `heads.1`; shares everything with it.

    Raises FeatvisError when it runs and there is no such output.
    """
    twin = copy.copy(module)
    twin._forward_hooks = OrderedDict(module._forward_hooks)
    twin.register_forward_hook(_Taking(name))
    return twin


class _Taking:
    """A forward hook that returns one of the outputs; an object, so that it can be copied and pickled."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, arguments: Any, output: Any) -> Tensor:
        part = output
        for step in self.name.split("."):
            part = _part(part, step)
        if isinstance(part, Tensor):
            return part
        known = list(outputs_in(output))
        said = f"it returns {', '.join(known)}" if known and known != [""] else "it returns one tensor alone"
        raise FeatvisError(f"the network has no output {self.name!r}{nearest_names(self.name, known)}; {said}")


def _part(output: Any, step: str) -> Any:
    """What stands in a mapping, sequence or object under a name or number; None where nothing does."""
    if isinstance(output, Mapping):
        return next((item for name, item in output.items() if str(name) == step), None)
    if isinstance(output, Tensor):
        return None
    if step.lstrip("-").isdecimal() and isinstance(output, Sequence) and not isinstance(output, str):
        return output[int(step)] if -len(output) <= int(step) < len(output) else None
    return getattr(output, step, None)


@dataclass(frozen=True)
class Form:
    """How a network's output is read.

    name: of the output that is taken, "" where there is one; others: the shapes of all, by name, where there are several. pictures,
    classes: its dimensions of these; classes is None where it is not known. assumed: whether classes is the usual dimension, as it could
    not be told where the elements lie.
    """

    name: str = ""
    others: tuple[tuple[str, tuple[int, ...]], ...] = ()
    pictures: int = 0
    classes: int | None = 1
    assumed: bool = False

    def holding(self, shape: Sequence[int], count: int) -> Form:
        """The form for as many pictures: one picture does not tell (1, pictures, classes) from (pictures, 1, classes)."""
        moved = self.pictures == 0 and self.classes != 1 and tuple(shape[:2]) == (1, count)
        return replace(self, pictures=1) if moved and count > 1 else self

    def of(self, output: Any) -> Tensor:
        """The output with its pictures first and its classes next, (B, K, ...); (B,) where there is nothing else."""
        taken = output_tensor(output, self.name)
        if taken.ndim < 2:
            return taken
        if self.classes is None:
            raise FeatvisError(
                f"the output has the shape {tuple(taken.shape)}, and which dimension holds the classes or channels cannot be told; wrap "
                "the network in a module that returns (B, classes), or give --score seeds"
            )
        return taken.movedim((self.pictures, self.classes), (0, 1))

    def by_picture(self, output: Tensor) -> Tensor:
        """The output that was taken, with its pictures first."""
        return output.movedim(self.pictures, 0) if output.ndim else output

    def notes(self, shape: Sequence[int], of_classes: bool = True, layer: str = "") -> list[str]:
        """What a user should know of it. shape: of what is taken. of_classes: whether the score is one class's or channel's. layer: whose
        output it is, "" for the network's own.
        """
        if of_classes and self.assumed:
            return [
                *self._choice(),
                f"where the elements of {layer or 'the output'} lie could not be followed; of its shape {_shape(shape)}, dimension "
                f"{self.classes} is taken for the channels, as is usual",
            ]
        return [] if layer else [*self._choice(), *self._mean(shape, of_classes)]

    def _choice(self) -> list[str]:
        """Which of several outputs is taken."""
        listed = ", ".join(f"{name} {_shape(shape)}" for name, shape in self.others)
        return [f"the network returns {listed}; {self.name} is taken, --output chooses another"] if self.others else []

    def _mean(self, shape: Sequence[int], of_classes: bool) -> list[str]:
        """Over how many places a class's score is the mean."""
        places = [size for place, size in enumerate(shape) if place not in (self.pictures, self.classes)]
        several = self.classes is not None and len(shape) > self.classes and shape[self.classes] > 1
        if of_classes and several and any(size > 1 for size in places):
            return [
                f"the output has the shape {_words(shape, self)}; a class's score is the mean over "
                f"{' x '.join(map(str, places))} places"
            ]
        return []


def _shape(shape: Sequence[int]) -> str:
    return f"(pictures{''.join(f', {size}' for size in shape[1:])})"


def _words(shape: Sequence[int], form: Form) -> str:
    names = {form.pictures: "pictures", form.classes: f"{shape[form.classes or 0]} classes"}
    return f"({', '.join(names.get(place, str(size)) for place, size in enumerate(shape))})"


FIRST = Form()
"""One tensor, its pictures first and its classes next."""


def by_class(output: Tensor) -> Tensor:
    """One value for each class of each picture, (B, K), of an output with pictures first and classes next: of a map the mean."""
    if output.ndim > 2:
        return output.flatten(2).mean(2)
    return output if output.ndim == 2 else output.unsqueeze(1)


def preferred(outputs: Mapping[str, Tensor], upstream: Mapping[str, set[str]], depths: Mapping[str, int]) -> str:
    """The output to take: logits by name, else what has passed most weights, and of those the first that is no mere stage of another.

    outputs: by name. upstream: of each, the others that it was made of. depths: how many operations with weights lead to each. So logits
    are taken before the features that they are made of, and before the probabilities that are made of them.
    """
    for name in (*NAMED, ""):
        if name in outputs:
            return name
    # A loss beside the logits, one number for all pictures, is no score of each.
    scores = [name for name, tensor in outputs.items() if tensor.is_floating_point() and tensor.ndim]
    names = scores or list(outputs)

    def stage(name: str) -> bool:
        """Whether an output of another shape is made of this one."""
        return any(name in upstream[other] and outputs[other].shape != outputs[name].shape for other in names)

    last = [name for name in names if not stage(name)] or names
    first = max(last, key=lambda name: depths[name])
    alike = [name for name in names if name in upstream[first] and outputs[name].shape == outputs[first].shape]
    return min(alike, key=lambda name: len(upstream[name]), default=first)


def channel_axis(along: set[int], shape: Sequence[int], pictures: int = 0, signals: bool = False) -> int | None:
    """The dimension of a tensor that its channels or classes run along; None where that cannot be told.

    along: dimensions along which elements lie at different places of the input, empty where that is not known. pictures: the dimension of
    the pictures. signals: whether the input is (B, C, L).
    """
    rest = [dimension for dimension in range(len(shape)) if dimension != pictures]
    if len(rest) < 2:
        return rest[0] if rest else pictures
    convention = len(shape) == (3 if signals else 4) and pictures == 0
    free = [dimension for dimension in rest if shape[dimension] > 1 and dimension not in along]
    if len(free) == 1 and (along or not convention):
        alone = all(shape[dimension] == 1 for dimension in rest if dimension not in free)
        return free[0] if along or alone else None
    if not free:
        # One channel alone, such as (B, 1, H, W): a dimension of one value.
        single = [dimension for dimension in rest if shape[dimension] == 1]
        return single[0] if len(single) == 1 else 1 if convention or not along else None
    return 1 if convention else None


def form_of(outputs: Mapping[str, Tensor], name: str, along: set[int], given: Sequence[int]) -> Form:
    """The form of what a network returns. along: as in `channel_axis`; given: the shape of its input.

    Raises FeatvisError where no dimension is the pictures.
    """
    shape, count = tuple(outputs[name].shape), given[0]
    several = tuple((other, tuple(tensor.shape)) for other, tensor in outputs.items()) if len(outputs) > 1 else ()
    if shape and count not in shape[:2]:
        raise FeatvisError(
            f"the network returns the shape {shape} for {count} picture{'' if count == 1 else 's'}; expected the pictures first: "
            "wrap it in a module that returns (B, classes)"
        )
    return replace(form_within(shape, along, given), name=name, others=several)


def form_within(shape: Sequence[int], along: set[int], given: Sequence[int]) -> Form:
    """The form of a tensor within a network, its pictures first where no dimension is theirs, as of windows. Arguments as in `form_of`."""
    pictures = 1 if len(shape) > 1 and shape[0] != given[0] == shape[1] else 0
    axis = channel_axis(along, shape, pictures, len(given) == 3)
    sizes = [size for dimension, size in enumerate(shape) if dimension != pictures and size > 1]
    return Form(pictures=pictures, classes=axis, assumed=axis is not None and not along and len(sizes) > 1)
