"""Find the quantizers inside a model.

In: a torch module. Out: its quantizers by name, each with its adapter. Must not change the module.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from certvq.adapters import _diffusers, _taming, _transformers, _vector_quantize_pytorch
from certvq.adapters._adapter import Adapter
from certvq.errors import UnknownQuantizerError

ADAPTERS: tuple[Adapter, ...] = (
    *_vector_quantize_pytorch.ADAPTERS,
    *_transformers.ADAPTERS,
    *_diffusers.ADAPTERS,
    *_taming.ADAPTERS,
)
"""All that is known; the first that matches a module is taken, those without a path come last."""

_LOOKS_LIKE_ONE = re.compile(r"quantiz|codebook|(^|_)vq", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Layer:
    """A quantizer within a model.

    Attributes:
        name: as in ``named_modules``; "" is the module itself.
        module: the quantizer.
        adapter: what is known of its kind.
    """

    name: str
    module: nn.Module
    adapter: Adapter


def find_layers(module: nn.Module) -> list[Layer]:
    """Return all quantizers that certvq knows, in the order of ``named_modules``.

    Raises:
        UnknownQuantizerError: there is none; or one overrides the method that is to be read.
    """
    layers = known_layers(module)
    if not layers:
        raise UnknownQuantizerError(none_found(module))
    return layers


def known_layers(module: nn.Module) -> list[Layer]:
    """Return the same, or an empty list.

    Raises:
        UnknownQuantizerError: one overrides the method that is to be read.
    """
    layers = [
        Layer(name, each, adapter)
        for name, each in module.named_modules()
        if (adapter := adapter_of(each)) is not None
    ]
    for layer in layers:
        _require_readable(layer)
    return layers


def adapter_of(module: nn.Module) -> Adapter | None:
    """Return the adapter for one module, not for what is inside it."""
    return next((adapter for adapter in ADAPTERS if adapter.matches(module)), None)


def unknown_names(module: nn.Module, known: Collection[str]) -> tuple[str, ...]:
    """Name modules that look like quantizers, but neither are known nor hold or belong to one."""
    return tuple(
        name
        for name, each in module.named_modules()
        if _LOOKS_LIKE_ONE.search(type(each).__name__)
        and not any(_related(name, other) for other in known)
    )


def _related(name: str, other: str) -> bool:
    """Say whether one name is that of an ancestor of the other, or the same."""
    return f"{other}.".startswith(f"{name}.") or f"{name}.".startswith(f"{other}.") or not name


def none_found(module: nn.Module) -> str:
    """Say that a module holds no quantizer that is known, and what is known."""
    known = "; ".join(f"{', '.join(adapter.classes)} of {adapter.library}" for adapter in ADAPTERS)
    similar = ", ".join(
        f"{name!r} ({type(each).__qualname__})"
        for name, each in module.named_modules()
        if _LOOKS_LIKE_ONE.search(type(each).__name__)
    )
    hint = f"; these look like quantizers but are not known: {similar}" if similar else ""
    return (
        f"no vector quantizer found in {type(module).__qualname__}{hint}; known: {known}; "
        "use certvq.audit and certvq.assign on the latents and the codebook themselves"
    )


def _require_readable(layer: Layer) -> None:
    adapter, kind = layer.adapter, type(layer.module)
    known = adapter.known_class(layer.module) or kind
    ours = getattr(known, adapter.method, None)
    if ours is None or (adapter.own_method and getattr(kind, adapter.method) is not ours):
        at_fault = known if ours is None else kind
        does = "has no" if ours is None else "overrides"
        text = (
            f"layer {layer.name!r} must find its codes in {adapter.method} of "
            f"{'/'.join(adapter.classes)} ({adapter.library}), but {at_fault.__qualname__} "
            f"{does} {adapter.method}, so that its argmin cannot be found; "
            "use certvq.audit and certvq.assign on the latents and the codebook themselves"
        )
        raise UnknownQuantizerError(text)
