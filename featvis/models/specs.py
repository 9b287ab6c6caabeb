"""From a spec to a Model: a network with its preprocessing, labels and where its weights came from."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from featvis.compat import UNDECLARED, import_torchvision
from featvis.errors import FeatvisError, nearest_names
from featvis.models.checkpoints import (
    SUFFIXES,
    check_finite,
    load_strictly,
    read_checkpoint,
)
from featvis.models.exported import load_exported
from featvis.models.factories import network_from
from featvis.models.model import Model
from featvis.models.preprocessing import Preprocessing
from featvis.models.zoo import ZOO, card_named
from featvis.tracing.outputs import taking
from featvis.tracing.refusals import check_traceable


def load_model(
    spec: str,
    weights: str | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    kind: str | None = None,
    output: str | None = None,
    **preprocessing: Any,
) -> Model:
    """The Model that a spec names, in eval mode.

    spec: a torchvision classification model's name; `zoo:NAME`; `timm:NAME`; `package.module:factory` or `path/file.py:factory`; a
    `.pt2` exported program. weights: None for the spec's usual ones, a torchvision enum name, `DEFAULT`, `none` (random, drawn with
    seed), or a `.pth` or `.safetensors` file; what `featvis fix --save` wrote gets its fixes applied first. kind: what a network of the
    zoo must be, "classifier", "discriminator" or "generator"; None for one that reads pictures. output: the name or number of the output
    to take, where the network returns several; dots lead into what is nested. preprocessing: the fields of Preprocessing, mean,
    std, size and channels, where they are not the network's own. Raises FeatvisError for whatever of this is
    wrong, with how to mend it.

    >>> model = featvis.load_model("zoo:cifar-k3s2")
    >>> model.input_size, model.labels[3]
    ((3, 32, 32), 'cat')
    """
    if not isinstance(spec, str):
        raise FeatvisError(
            f"a network's name of type {type(spec).__name__}; expected a string. A network that is there already only needs "
            "featvis.Model(network)"
        )
    target, wanted = _device(str(device)), Preprocessing(**preprocessing)
    if not 0 <= seed < 2**63:
        raise FeatvisError(f"the seed {seed} is out of range; give 0 to {2**63 - 1}")
    if spec.endswith(".pt2"):
        model = _exported(spec, weights)
    elif spec.startswith("zoo:"):
        model = _from_zoo(spec, weights, seed, kind)
    elif spec.startswith("timm:"):
        model = _from_timm(spec, weights, seed)
    elif ":" in spec:
        model = _from_factory(spec, weights, seed)
    else:
        model = _from_torchvision(spec, weights, seed)

    model = wanted.of(model)
    check_traceable(model.module)
    check_finite(model.module, repr(weights) if _is_file(weights) else spec)
    model.module.to(target)
    for part in model.module.modules():
        part.training = False
    return model if output is None else replace(model, module=taking(model.module, output), output=output)


def _device(name: str) -> torch.device:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if available[kind]), "cpu")
    try:
        if available.get(name.partition(":")[0], False):
            return torch.empty(0, device=name).device
    except RuntimeError:
        pass  # such as a number beyond the last device's
    raise FeatvisError(
        f"the device {name!r} is not available here; give one of {', '.join(k for k in available if available[k])}"
    )


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw random weights from the seed, and leave torch's generator as it was."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


def _is_file(weights: str | None) -> bool:
    return weights not in (None, "DEFAULT", "none") and (weights.endswith(SUFFIXES) or os.path.isfile(weights))


@contextlib.contextmanager
def _download(what: str) -> Iterator[None]:
    """Turns what a client raises into one line; what it prints meanwhile is for terminals, and no result."""
    screen = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
            yield
    except Exception as error:  # each client has its own: URLError, HTTPError, ConnectError, a hash that does not fit
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeatvisError(
            f"the weights of {what} cannot be downloaded ({said}); give --weights FILE, --weights none for random ones, "
            "or a network that ships with featvis, such as zoo:cifar-k3s2"
        ) from None


def _from_torchvision(name: str, weights: str | None, seed: int) -> Model:
    models = importlib.import_module("torchvision.models", import_torchvision().__name__)
    known = models.list_models(module=models)
    if name not in known:
        if Path(name).suffix or "/" in name:
            raise FeatvisError(
                f"the spec {name!r} names no factory; write path/file.py:factory, or give a .pt2 exported program"
            )
        names = [*known, *(f"zoo:{key}" for key in ZOO)]
        raise FeatvisError(f"no torchvision classification model {name!r}{nearest_names(name, names)}")
    enum = models.get_model_weights(name)
    drawn = weights == "none" or _is_file(weights)
    choice = "DEFAULT" if drawn else weights or "DEFAULT"
    if choice not in enum.__members__:
        raise FeatvisError(
            f"{name} has no weights {choice!r} and there is no such file; known: {', '.join(enum.__members__)}, none"
        )
    entry = enum[choice]
    preset = entry.transforms()
    with _seeded(seed), contextlib.nullcontext() if drawn else _download(name):
        module = models.get_model(name, weights=None if drawn else entry)
    # A transformer is built for one size, which need not be that of its best weights.
    crop = int(getattr(module, "image_size", preset.crop_size[0]))
    model = Model(
        module,
        spec=name,
        input_size=(3, crop, crop),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        labels=tuple(entry.meta["categories"]),
        resize=preset.resize_size[0] * crop // preset.crop_size[0],
        interpolation=preset.interpolation.value,
        weights="random" if drawn else entry.name,
        seed=seed if drawn else None,
    )
    return _with_file(model, weights)


def _with_file(model: Model, weights: str | None) -> Model:
    """The model with the file's weights, where a file was named."""
    if weights is None or not _is_file(weights):
        return model
    if hasattr(model.module, "transform_input"):
        # torchvision's Inception weights expect it wherever they come from.
        cast(Any, model.module).transform_input = True
    from featvis.repair.saved import fixed_as_saved

    state = read_checkpoint(weights)
    module, fixes = fixed_as_saved(model.module, model.spec, weights)
    load_strictly(module, state, repr(weights))
    notes = model.notes
    if fixes:
        notes = (*notes, f"{weights} holds weights of a repaired copy: applied {', '.join(fixes)} before loading them")
    return replace(model, module=module, weights=weights, seed=None, notes=notes)


def _from_zoo(spec: str, weights: str | None, seed: int, kind: str | None) -> Model:
    card = card_named(spec.removeprefix("zoo:"))
    if kind is None and card.kind == "generator":
        raise FeatvisError(
            f"{spec} is a generator, which reads no pictures; `featvis generator {spec}` measures what it makes"
        )
    if kind not in (None, card.kind):
        like = next((f", such as zoo:{name}" for name, other in ZOO.items() if other.kind == kind), "")
        raise FeatvisError(f"{spec} is a {card.kind}; expected a {kind}{like}")
    _only_files(spec, weights)
    with _seeded(seed):
        module = card.architecture()
    model = Model(module, spec, card.input_size, card.mean, card.std, card.labels, card.input_size[1])
    if weights in (None, "DEFAULT"):
        load_strictly(module, read_checkpoint(card.weights), spec)
        return replace(model, weights="zoo")
    return _with_file(replace(model, weights="random", seed=seed), weights)


def _only_files(spec: str, weights: str | None) -> None:
    if weights not in (None, "DEFAULT", "none") and not _is_file(weights):
        raise FeatvisError(f"no weights {weights!r} for {spec}; give a .pth or .safetensors file, DEFAULT or none")


def _from_timm(spec: str, weights: str | None, seed: int) -> Model:
    import_torchvision()
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise FeatvisError(
            f"{spec}: timm cannot be imported ({error}); install it with `pip install featvis[timm]`"
        ) from None
    name = spec.removeprefix("timm:")
    if name.partition(".")[0] not in (known := timm.list_models()):
        raise FeatvisError(f"no timm model {name!r}{nearest_names(name, known)}")
    _only_files(spec, weights)
    pretrained = weights in (None, "DEFAULT")
    with _seeded(seed), _download(spec):
        module = timm.create_model(name, pretrained=pretrained)
    config = timm.data.resolve_data_config(module.pretrained_cfg)
    channels, height, width = config["input_size"]
    model = Model(
        module,
        spec,
        (channels, height, width),
        tuple(config["mean"]),
        tuple(config["std"]),
        resize=round(min(height, width) / config["crop_pct"]),
        interpolation=config["interpolation"],
        weights="DEFAULT" if pretrained else "random",
        seed=None if pretrained else seed,
    )
    return _with_file(model, weights)


def _from_factory(spec: str, weights: str | None, seed: int) -> Model:
    if weights == "DEFAULT":
        raise FeatvisError(f"{spec} has no DEFAULT weights; give a .pth or .safetensors file, or leave --weights out")
    _only_files(spec, weights)
    try:
        module = _network_from(spec, seed)
    except FeatvisError as error:
        if UNDECLARED not in str(error):
            raise
        # The user's code imports torchvision itself.
        import_torchvision()
        module = _network_from(spec, seed)
    channels = next(
        (part.in_channels for part in module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d)), 3
    )
    model = Model(
        module,
        spec,
        (channels, 224, 224),
        resize=224,
        weights="as the factory made it",
        seed=seed,
        notes=("no preprocessing is known for this network: pixels in [0, 1] unless --mean and --std say otherwise",),
    )
    return _with_file(model, weights)


def _network_from(spec: str, seed: int) -> nn.Module:
    with _seeded(seed):
        return network_from(spec)


def _exported(spec: str, weights: str | None) -> Model:
    if weights not in (None, "DEFAULT"):
        raise FeatvisError(f"{spec} carries its own weights; leave --weights out")
    module, (channels, height, width) = load_exported(spec)
    height, width = height or 224, width or 224
    return Model(
        module,
        spec,
        (channels, height, width),
        resize=min(height, width),
        weights="exported",
        notes=("no preprocessing is known for this network: pixels in [0, 1] unless --mean and --std say otherwise",),
    )
