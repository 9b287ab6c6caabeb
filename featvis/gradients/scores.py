"""What is differentiated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from featvis.errors import FeatvisError, nearest_names
from featvis.gradients.draws import Draws
from featvis.tracing.networks import layer_named
from featvis.tracing.outputs import FIRST, Form, by_class

_NUMBER = "-?[0-9]+"
_CHANNEL = rf"({_NUMBER})(?:@({_NUMBER}),({_NUMBER}))?"


@dataclass(frozen=True)
class Score:
    """What is differentiated: the top logit, one logit, a channel's mean or one position of it, or a map with random signs.

    kind: "top", "class", "channel" or "seeds". layer: the dotted name, None for the network's output. position: the row and column of
    the layer's map, None for the mean of all.
    """

    text: str
    kind: str
    layer: str | None = None
    index: int = 0
    position: tuple[int, int] | None = None

    @staticmethod
    def parse(text: str, module: nn.Module, labels: Sequence[str] | None = None) -> Score:
        """The score that a text names.

        text: `top`, a class index or label, `layer:channel`, `layer:channel@row,column`, `seeds` or `seeds:layer`.
        Raises FeatvisError for an unknown layer or label, with the nearest ones.
        """
        if text in ("top", "seeds"):
            return Score(text, text)
        if re.fullmatch(_NUMBER, text):
            return Score(text, "class", index=int(text))
        for number, label in enumerate(labels or ()):
            if label.casefold() == text.casefold():
                return Score(text, "class", index=number)
        first, colon, last = text.rpartition(":")
        if first == "seeds":
            return Score(text, "seeds", layer_named(module, last))
        if colon and (found := re.fullmatch(_CHANNEL, last)):
            channel, row, column = found.groups()
            position = None if row is None else (int(row), int(column))
            return Score(text, "channel", layer_named(module, first), int(channel), position)
        if colon:
            raise FeatvisError(
                f"the score {text!r} ends in {last!r}; write layer:channel with a channel's number, "
                "layer:channel@row,column, or seeds:layer"
            )
        names = [*(labels or ()), *(name for name, _ in module.named_modules() if name)]
        raise FeatvisError(
            f"no label {text!r}; a score is top, a class index or label, layer:channel, or seeds:layer{nearest_names(text, names)}"
        )

    def values(
        self, output: Tensor, chosen: Tensor | None, draws: Draws, form: Form = FIRST
    ) -> tuple[Tensor, Tensor | None]:
        """The score of each picture, (B,), and the class it took, (B, 1), where it took one.

        chosen: the class to take for `top`. form: how the output, or the layer's, is read. Raises FeatvisError where that has no
        dimension of the pictures, or no such class.
        """
        pictures = len(draws.indices)
        if not output.ndim and pictures == 1:
            output = output.unsqueeze(0)  # squeezed by the network
        form = form.holding(output.shape, pictures)
        # A layer may cut each picture into windows, whose sum is a score as well; random signs are drawn for each picture.
        apart = self.layer is None or self.kind == "seeds"
        if not output.ndim or (apart and output.shape[min(form.pictures, output.ndim - 1)] != pictures):
            raise FeatvisError(
                f"{self.layer or 'the network'} returns the shape {tuple(output.shape)} for {pictures} picture"
                f"{'' if pictures == 1 else 's'}, and no dimension is theirs; wrap the network to return (B, classes)"
            )
        if self.kind == "seeds":
            output = form.by_picture(output)
            return (output * draws.signs(output)).reshape(len(output), -1).sum(1), None
        if self.kind == "channel" and output.ndim < 2:
            raise FeatvisError(f"the layer {self.layer!r} returns shape {tuple(output.shape)}; it has no channels")
        output = form.of(output)
        if self.kind == "channel":
            output = self._at_position(output)
        logits = by_class(output)
        if self.kind == "top":
            chosen = logits.argmax(1, keepdim=True) if chosen is None else chosen
            return logits.gather(1, chosen).squeeze(1), chosen
        count = logits.shape[1]
        if not -count <= self.index < count:
            what = f"channel {self.index} of {self.layer}" if self.kind == "channel" else f"class {self.index}"
            raise FeatvisError(f"the score asks for {what}, but there are {count}; give 0 to {count - 1}")
        return logits[:, self.index], None

    def _at_position(self, features: Tensor) -> Tensor:
        """A layer's map, (B, C, H, W), at the position that is asked for, (B, C); the whole of it where none is."""
        if self.position is None:
            return features
        if features.ndim != 4:
            raise FeatvisError(
                f"the score {self.text!r} asks for a row and a column, but the layer returns no rows of pixels; give layer:channel"
            )
        for asked, count in zip(self.position, features.shape[2:], strict=True):
            if not -count <= asked < count:
                rows, columns = features.shape[2:]
                raise FeatvisError(
                    f"the score {self.text!r} lies outside the layer's map of {rows} rows and {columns} columns"
                )
        row, column = self.position
        return features[:, :, row, column]
