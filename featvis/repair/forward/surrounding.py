"""Layers that do something before or after what they did so far, and keep their type, attributes, hooks and checkpoint keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from featvis.errors import FeatvisError
from featvis.repair.changes import become
from featvis.repair.forward.sites import Site, site_of_layer

_PLACES = ("before", "after")

_TYPES: dict[type[nn.Module], type[Surrounded]] = {}


class Surrounded(nn.Module):
    """A layer with a module before it, after it, or both; mixed into the layer's own type."""

    def forward(self, images: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        before, after = self._modules.get("before"), self._modules.get("after")
        images = images if before is None else before(images)
        inner: Callable[..., Tensor] = super().forward
        images = inner(images, *arguments, **keywords)
        return images if after is None else after(images)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _made, (inner_type(self),), self.__dict__


def surround(layer: nn.Module, before: nn.Module | None = None, after: nn.Module | None = None) -> None:
    """Put modules directly before and after a layer, in place; what surrounds it already stays further out."""
    if not isinstance(layer, Surrounded):
        layer.__class__ = _surrounded(type(layer))
    for name, inner in zip(_PLACES, (before, after), strict=True):
        outer = layer._modules.get(name)
        if inner is not None:
            inner.train(layer.training)
            chain = (outer, inner) if name == "before" else (inner, outer)
            setattr(layer, name, inner if outer is None else nn.Sequential(*chain))


def replace(layer: nn.Module, other: nn.Module) -> None:
    """Turn a layer into another one in place; what surrounds it stays."""
    before, after = layer._modules.get("before"), layer._modules.get("after")
    become(layer, other)
    if before is not None or after is not None:
        surround(layer, before, after)


def inner_type(layer: nn.Module) -> type[nn.Module]:
    """The type of a layer without what surrounds it."""
    return type(layer).__bases__[1] if isinstance(layer, Surrounded) else type(layer)


def _surrounded(base: type[nn.Module]) -> type[Surrounded]:
    if base not in _TYPES:
        _TYPES[base] = type(
            f"Surrounded{base.__name__}", (Surrounded, base), {"__doc__": f"A surrounded {base.__name__}."}
        )
    return _TYPES[base]


def _made(base: type[nn.Module]) -> Surrounded:
    kind = _surrounded(base)
    return kind.__new__(kind)


def inserted(module: nn.Module) -> set[nn.Module]:
    """Everything that fixes put before or after layers; no fix repairs another one's work."""
    rings = [part._modules.get(place) for part in module.modules() if isinstance(part, Surrounded) for place in _PLACES]
    return {inner for ring in rings if ring is not None for inner in ring.modules()}


def sites(module: nn.Module) -> Iterator[tuple[str, Any, Site, str]]:
    """Name, layer, site and note of each layer that changes the resolution; a shared layer comes once, with its other names."""
    names: dict[nn.Module, list[str]] = {}
    added = inserted(module)
    for name, part in module.named_modules(remove_duplicate=False):
        if part not in added:
            names.setdefault(part, []).append(name)
    for part, (name, *others) in names.items():
        site = site_of_layer(part)
        if site is not None:
            yield name, part, site, f"the same layer as {', '.join(others)}" if others else ""


def check_axes(name: str, site: Site) -> int:
    """1 or 2, the axes of a site. Raises FeatvisError for others, which names the layer."""
    if len(site.window.stride) > 2:
        raise FeatvisError(f"the layer {name!r}, {site}, has {len(site.window.stride)} axes; fixes serve 1 and 2")
    return len(site.window.stride)


def check_own_weight(name: str, layer: nn.Module) -> None:
    """Raises FeatvisError where a layer's weight is computed anew in each pass, so that it cannot be rewritten."""
    if layer._parameters.get("weight") is None:
        raise FeatvisError(
            f"the layer {name!r} computes its weight anew in each pass (spectral norm, weight norm or pruning), so it cannot be "
            "rewritten; remove that first, or choose a fix that keeps weights, such as blurpool"
        )


def check_plain(name: str, layer: nn.Module, *types: type[nn.Module]) -> None:
    """Raises FeatvisError for a layer whose type has a forward pass of its own instead of torch.nn's."""
    kind = inner_type(layer)
    if not any(kind.forward is known.forward for known in types):
        raise FeatvisError(
            f"the layer {name!r} is a {kind.__name__} with a forward pass of its own, which this fix cannot carry over; "
            "use a torch.nn layer there"
        )
