"""What a dream is optimised for: Lucent's objectives, those it lacks, and the texts that name them.

An objective is called with T, where T(layer) is a layer's activation, T("input") the picture and T("labels") the logits. It returns a
scalar that is minimised. Each one here is a `lucent.optvis.objectives.Objective`, so they add and multiply with Lucent's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featvis.compat import import_torchvision
from featvis.errors import FeatvisError, nearest_names
from featvis.models.model import Model
from featvis.tracing.networks import layer_named

if TYPE_CHECKING:
    from lucent.optvis.objectives import Objective

Activations = Callable[[str], Tensor]
"""T: the activation of a layer that is named with dots or underscores."""

MOST_CHANNELS = 64
"""Channels on one sheet."""

_CHANNELS = re.compile(r"([^:+*\s]+):([0-9]+)-([0-9]+)")
_NUMBER = re.compile("[0-9]+")
_WEIGHTED = re.compile(r"(-?)\s*(?:([0-9.]+(?:[eE]-?[0-9]+)?)\s*\*\s*)?(.*)", re.DOTALL)


def objective_of(function: Callable[[Activations], Tensor], name: str, *arguments: object) -> Objective:
    """A Lucent objective of a function of T; its description is the name with the arguments."""
    import_torchvision()
    from lucent.optvis.objectives import Objective

    return Objective(function, name, f"{name} {list(arguments)}")


def whole_layer(layer: str) -> Objective:
    """DeepDream's objective: the mean square of everything that a layer says (Mordvintsev, Olah and Tyka 2015)."""
    name = _for_lucent(layer)
    return objective_of(lambda activations: -activations(name).square().mean(), "whole layer", layer)


def channel(layer: str, number: int) -> Objective:
    """The mean of one channel; as Lucent's, but a number out of range is a FeatvisError that says how many there are."""
    name = _for_lucent(layer)

    def value(activations: Activations) -> Tensor:
        return -_channel(_by_channel(activations, name), number, layer).mean()

    return objective_of(value, "channel", layer, number)


def neuron(layer: str, number: int, place: tuple[int, int] | None = None) -> Objective:
    """One channel at one place, (row, column); in the middle by default.

    As Lucent's, whose default place is right for square activations only. Raises FeatvisError, when called, where the layer has no such
    channel or place.
    """
    name = _for_lucent(layer)

    def value(activations: Activations) -> Tensor:
        features = _by_channel(activations, name)
        if features.ndim != 4:
            raise FeatvisError(
                f"the layer {layer!r} returns shape {tuple(features.shape)}; a neuron with a place needs (B, C, H, W)"
            )
        height, width = features.shape[2:]
        row, column = (height // 2, width // 2) if place is None else place
        if not (row < height and column < width):
            raise FeatvisError(f"no place {row},{column} in {layer!r}, which has {height} rows and {width} columns")
        return -_channel(features, number, layer)[:, row, column].mean()

    return objective_of(value, "neuron", layer, number, place)


def direction(layer: str, values: Tensor) -> Objective:
    """The cosine between a layer's activation and a direction, (C,), mean over places; as Lucent's, in any precision."""
    name = _for_lucent(layer)

    def value(activations: Activations) -> Tensor:
        features = _by_channel(activations, name)
        if len(values) != features.shape[1]:
            raise FeatvisError(f"a direction of {len(values)} values for the {features.shape[1]} channels of {layer!r}")
        aim = values.to(features).view(1, -1, *[1] * (features.ndim - 2))
        return -F.cosine_similarity(aim, features, dim=1).mean()

    return objective_of(value, "direction", layer)


def class_logit(number: int) -> Objective:
    """The logit of one class, the mean over places where the network returns a map of them."""

    def value(activations: Activations) -> Tensor:
        return -_channel(_by_channel(activations, "labels"), number, None).mean()

    return objective_of(value, "class", number)


def total_variation() -> Objective:
    """A penalty: the mean absolute difference of neighbouring pixels along both axes, summed over the axes.

    A mean, where many use the sum, so that one weight serves every picture size (Mahendran and Vedaldi 2015, with exponent 1/2).
    """

    def value(activations: Activations) -> Tensor:
        picture = activations("input")
        return sum((picture.diff(dim=axis).abs().mean() for axis in range(2, picture.ndim)), picture.new_zeros(()))

    return objective_of(value, "total variation")


def blur() -> Objective:
    """A penalty: half the mean squared difference between a picture and itself blurred by 1 2 1 along each axis.

    Its gradient pulls each pixel towards the blurred picture, which is held fixed (Nguyen et al. 2015).
    """

    def value(activations: Activations) -> Tensor:
        picture = activations("input")
        return 0.5 * (picture - blurred(picture.detach())).square().mean()

    return objective_of(value, "blur")


def blurred(pictures: Tensor, taps: Sequence[float] = (1, 2, 1)) -> Tensor:
    """(B, C, H, W) smoothed along both axes by taps of odd number, borders reflected: as many rows and columns as before."""
    for axis in (2, 3):
        size = [1, 1, 1, 1]
        size[axis] = len(taps)
        kernel = pictures.new_tensor(taps).view(size) / sum(taps)
        margin = [0, 0, 0, 0]
        margin[6 - 2 * axis] = margin[7 - 2 * axis] = len(taps) // 2
        padded = F.pad(pictures, margin, mode="reflect")
        pictures = F.conv2d(padded, kernel.expand(pictures.shape[1], *size[1:]), groups=pictures.shape[1])
    return pictures


def parse_objective(text: str, model: Model | nn.Module) -> Objective:
    """The objective that a text names, for this network.

    A term is `LAYER` (mean square of the whole layer), `LAYER:CHANNEL`, a class's label or number, `class:LABEL`,
    `neuron:LAYER:CHANNEL[:ROW,COLUMN]`, `direction:LAYER:FILE.npy` or `direction:LAYER:NUMBER,NUMBER,...`, and the penalties
    `total-variation` and `blur`. Terms are added with `+`, subtracted with ` - `, weighted as in `2*layer3:1`. Layers are named with dots
    or with underscores. Raises FeatvisError for a layer or label that the network does not have, with the nearest ones.

    >>> network = featvis.load_model("zoo:cifar-k3s2")
    >>> featvis.parse_objective("stage2:5 - 0.1*total-variation", network).name
    'channel, total variation'
    """
    parts = re.split(r"\s*\+\s*|\s+(?=-\s)", text.strip())
    terms = []
    for part in parts:
        match = _WEIGHTED.fullmatch(part.strip())
        assert match is not None
        sign, weight, name = match.groups()
        if not name:
            raise FeatvisError(f"the objective {text!r} has an empty term; write LAYER, LAYER:CHANNEL or a class")
        factor = _weight(weight or "1", text) * (-1 if sign else 1)
        term = _term(name, model)
        terms.append(term if factor == 1 else factor * term)
    if len(terms) == 1:
        return terms[0]
    return type(terms[0]).sum(terms)


def several_channels(text: str) -> list[str]:
    """`LAYER:FIRST-LAST` as one objective for each channel; another text alone. Raises FeatvisError for a range that is none.

    >>> several_channels("stage2:0-2"), several_channels("stage2")
    (['stage2:0', 'stage2:1', 'stage2:2'], ['stage2'])
    """
    match = _CHANNELS.fullmatch(text.strip())
    if match is None:
        return [text]
    layer, first, last = match[1], int(match[2]), int(match[3])
    if not 0 <= last - first < MOST_CHANNELS:
        raise FeatvisError(
            f"the channels {first}-{last} of {layer}; give the lower one first, and at most {MOST_CHANNELS}"
        )
    return [f"{layer}:{number}" for number in range(first, last + 1)]


def _weight(text: str, objective: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise FeatvisError(
            f"the weight {text!r} in the objective {objective!r} is no number; write such as 0.5*layer3:1"
        )
    return weight


def _term(text: str, model: Model | nn.Module) -> Objective:
    module = model.module if isinstance(model, Model) else model
    labels = (model.labels if isinstance(model, Model) else None) or ()
    if text in _PENALTIES:
        return _PENALTIES[text]()
    kind, _, rest = text.partition(":")
    if kind in _KINDS and rest:
        return _KINDS[kind](rest, module, labels)
    if _NUMBER.fullmatch(text):
        return _class(text, module, labels)
    layer, _, last = text.rpartition(":")
    if layer and _NUMBER.fullmatch(last):
        return channel(layer_named(module, layer), int(last))
    if layer:
        raise FeatvisError(
            f"the objective {text!r} ends in {last!r}; write LAYER:CHANNEL with a channel's number, or class:LABEL"
        )
    try:
        return whole_layer(layer_named(module, text))
    except FeatvisError:
        if any(text.casefold() == label.casefold() for label in labels):
            return _class(text, module, labels)
    names = [*(name for name, _ in module.named_modules() if name), *labels, *_PENALTIES]
    raise FeatvisError(
        f"no layer or label {text!r}; an objective is LAYER, LAYER:CHANNEL, a class's label or number, or a sum of such"
        f"{nearest_names(text, names)}"
    )


def _class(text: str, module: nn.Module, labels: Sequence[str]) -> Objective:
    folded = [label.casefold() for label in labels]
    if text.casefold() in folded:
        return class_logit(folded.index(text.casefold()))
    if not _NUMBER.fullmatch(text):
        raise FeatvisError(f"no label {text!r}; give a class's label or number{nearest_names(text, labels)}")
    return class_logit(int(text))


def _neuron(text: str, module: nn.Module, labels: Sequence[str]) -> Objective:
    match = re.fullmatch(r"([^:]+):([0-9]+)(?::([0-9]+),([0-9]+))?", text)
    if match is None:
        raise FeatvisError(
            f"neuron:{text} is incomplete; write neuron:LAYER:CHANNEL, or neuron:LAYER:CHANNEL:ROW,COLUMN"
        )
    layer, number, row, column = match.groups()
    return neuron(layer_named(module, layer), int(number), None if row is None else (int(row), int(column)))


def _direction(text: str, module: nn.Module, labels: Sequence[str]) -> Objective:
    layer, _, values = text.partition(":")
    return direction(layer_named(module, layer), _vector(values))


def _vector(text: str) -> Tensor:
    """The numbers of a text, or of the .npy file that it names."""
    import numpy as np

    if not text.endswith(".npy"):
        try:
            return torch.tensor([float(part) for part in text.split(",")])
        except ValueError:
            raise FeatvisError(f"the direction {text!r} is neither numbers with commas nor an .npy file") from None
    try:
        values: Any = np.load(Path(text), allow_pickle=False)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise FeatvisError(f"cannot read the direction {text!r}: {said}; expected one number a channel") from None
    if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise FeatvisError(
            f"the direction {text!r} has shape {values.shape}, type {values.dtype}; expected finite numbers (C,)"
        )
    return torch.from_numpy(values.astype(np.float64))


_PENALTIES: dict[str, Callable[[], Any]] = {"total-variation": total_variation, "blur": blur}

_KINDS: dict[str, Callable[[str, nn.Module, Sequence[str]], Any]] = {
    "class": _class,
    "neuron": _neuron,
    "direction": _direction,
}


def _for_lucent(layer: str) -> str:
    """A layer's name as Lucent's engine knows it; featvis's knows both forms."""
    return layer.replace(".", "_")


def _by_channel(activations: Activations, name: str) -> Tensor:
    """A layer's output with its channels in dimension 1; Lucent's own T knows no other layout."""
    by_channel: Activations = getattr(activations, "by_channel", activations)
    return by_channel(name)


def _channel(features: Tensor, number: int, layer: str | None) -> Tensor:
    """features[:, number]; layer: a dotted name, None for the logits."""
    count = features.shape[1] if features.ndim > 1 else 0
    if 0 <= number < count:
        return features[:, number]
    what = f"class {number}" if layer is None else f"channel {number} of {layer}"
    raise FeatvisError(f"the objective asks for {what}, but there are {count}; give 0 to {count - 1}")
