"""Find the quantizers inside a model.

In: a torch module. Out: its quantizers by name, each with its adapter. Must not change the module.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import GraphModule

from certvq.errors import UnknownQuantizerError
from certvq.inspect._libraries import moshi, taming, transformers, vector_quantize_pytorch
from certvq.inspect._libraries.adapter import Adapter
from certvq.inspect._scalar.rules import RULES

ADAPTERS: tuple[Adapter, ...] = (
    *vector_quantize_pytorch.ADAPTERS,
    *transformers.ADAPTERS,
    *moshi.ADAPTERS,
    Adapter("diffusers", ("VectorQuantizer",), "forward", "diffusers.models."),
    *taming.ADAPTERS,
)
"""All that is known; the first that matches a module is taken, those without a path come last."""

# "VQVAEEncoder" is a part of such a model, and no quantizer.
_LOOKS_LIKE_ONE = re.compile(
    r"quantiz|codebook|vq(?!(vae|gan)[a-z])|(^|residual)[bfl](sq|fq|sp)$|fsq|lfq|binary_?mapper",
    re.IGNORECASE,
)


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
    """Return all quantizers of other libraries that certvq knows, in the order of the modules.

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
    """Name modules that look like quantizers, but neither are known nor hold or belong to one.

    One that several modules hold, as a shared codebook, has the name of the first alone.
    """
    found = {id(each) for name, each in module.named_modules() if name in known}
    return tuple(
        name
        for name, each in module.named_modules()
        if _LOOKS_LIKE_ONE.search(_class_name(each))
        and not any(within(name, other) for other in known)
        and not any(id(part) in found for part in each.modules())
    )


def within(name: str, ancestor: str) -> bool:
    """Say whether a module is within another, or the same, by their names."""
    return not ancestor or f"{name}.".startswith(f"{ancestor}.")


def _class_name(module: nn.Module) -> str:
    """Name the class of a module, or the one that its script was made of."""
    scripted = isinstance(module, torch.jit.ScriptModule)
    return str(module.original_name) if scripted else type(module).__name__


def _shown_class(module: nn.Module) -> str:
    scripted = isinstance(module, torch.jit.ScriptModule)
    return f"script of {_class_name(module)}" if scripted else type(module).__qualname__


def none_found(module: nn.Module) -> str:
    """Say that a module holds no quantizer that is known, and what is known."""
    known = "; ".join(
        f"{', '.join(each.classes)} of {each.library}" for each in (*ADAPTERS, *RULES)
    )
    similar = ", ".join(
        f"{name!r} ({_shown_class(each)})"
        for name, each in module.named_modules()
        if _LOOKS_LIKE_ONE.search(_class_name(each))
    )
    hint = f"; these look like quantizers but are not known: {similar}" if similar else ""
    if any(isinstance(each, torch.jit.ScriptModule | GraphModule) for each in module.modules()):
        hint += "; a script, trace or graph has no layers left: take the module that it was made of"
    return (
        f"no vector quantizer found in {type(module).__qualname__}{hint}; known: {known}, "
        "and the layers of certvq.nn; "
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
