"""What a page shows of pictures: the first ones that pass by while they are measured, and the maps at them."""

from __future__ import annotations

import numpy as np
import torch

from featvis.audit.batches import Measured
from featvis.audit.record import Audit
from featvis.gradients.attributions import PLAIN, Gradients
from featvis.gradients.compensations import Equalise, Jitter
from featvis.gradients.draws import Draws
from featvis.measure.phases import expected_profile
from featvis.models.model import Model
from featvis.report.views import SHOWN, PictureView, channels_last
from featvis.tracing.layer_table import LayerRow


class Gathered:
    """The first pictures that are measured, in [0, 1], and the maps at them by label; nothing is read again.

    model: what prepared them. most: how many. layers: those with a stride that the score depends on, as the first engine traced them.
    """

    def __init__(self, model: Model, most: int = SHOWN) -> None:
        self.model, self.most = model, most
        self.names: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.maps: dict[str, list[np.ndarray]] = {}
        self.layers: list[LayerRow] = []

    def add(self, label: str, batch: Measured, total_stride: int) -> None:
        """Add a batch under a label, as a comparison's variants are handed on."""
        self.layers = self.layers or batch.engine.resolution_layers
        known = self.maps.setdefault(label, [])
        room = self.most - len(known)
        if len(known) == len(self.pictures):
            self.names += batch.names[:room]
            self.pictures += [channels_last(pixels) for pixels in self.model.pixels_shown(batch.images[:room])]
        known += list(batch.gradients[:room].cpu().numpy())

    def add_beside_plain(self, label: str, batch: Measured, total_stride: int) -> None:
        """Add a batch of an audit's attribution, with the plain gradients beside another one, and with jitter beside plain ones."""
        room = self.most - len(self.pictures)
        plain = label == str(PLAIN)
        self.add("gradient" if plain else label, batch, total_stride)
        if room > 0 and (total_stride > 1 or not plain):
            other = Jitter() if plain else PLAIN
            maps = other(batch.engine, batch.images[:room], batch.numbers[:room])
            self.maps.setdefault("jitter" if plain else "gradient", []).extend(maps.cpu().numpy())

    def equalise(self, audit: Audit) -> None:
        """Where plain gradients stand alone: the same with the audit's own profile divided out, as `equalise` does with that of others."""
        profile = expected_profile(audit.profile, audit.exact_periods)
        if not {"gradient", "jitter"}.issuperset(self.maps) or audit.total_stride == 1 or not bool((profile > 0).all()):
            return
        plain = torch.from_numpy(np.stack(self.maps["gradient"]))
        as_given = Gradients(lambda images: images, audit.total_stride, Draws(0, range(len(plain))))
        self.maps["equalised"] = list(Equalise(profile=profile).of(as_given, plain).numpy())

    def views(self) -> list[PictureView]:
        """Every picture with its maps; plain gradients first, the others in the order in which they came."""
        labels = sorted(self.maps, key=lambda label: label != "gradient")
        return [
            PictureView.of(name, picture, {label: self.maps[label][number] for label in labels})
            for number, (name, picture) in enumerate(zip(self.names, self.pictures, strict=True))
        ]
