"""Watch what the layers of `certvq.nn` hand to the search.

In: a layer. Out: latents, code vectors and codes of each search, as they pass by the operator
`torch.ops.certvq.assign`. Must not change what the layer does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from certvq.errors import NonFiniteError
from certvq.nn import (
    NeuralCodebook,
    Quantizer,
    RandomProjectionQuantizer,
    Residual,
    SimVQ,
    VectorQuantize,
)

Seen: TypeAlias = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], None]
"""Called with the place of the search in its call, latents (N, D), code vectors, codes (N,)."""

_KINDS: Final = (VectorQuantize, SimVQ, RandomProjectionQuantizer)

_METHODS: Final = ("quantize_tokens", "choose_tokens", "encode_tokens", "find")
"""The methods that search; `find` is that of the layers in `certvq.compat`."""


def own_layers(module: nn.Module) -> dict[str, Quantizer]:
    """Return the layers of certvq in a model that give the nearest code of a codebook, by name."""
    others = _otherwise(module)
    return {
        name: each
        for name, each in module.named_modules()
        if isinstance(each, _KINDS) and each not in others
    }


def other_layers(module: nn.Module) -> tuple[str, ...]:
    """Name the layers of certvq that find codes otherwise (`FSQ`, `LFQ`, by a `Beam`, ...)."""
    ours = own_layers(module)
    names: list[str] = []
    for name, each in module.named_modules():
        holds_ours = any(_within(other, name) for other in ours)
        named = any(_within(name, other) for other in names)
        if isinstance(each, Quantizer) and not holds_ours and not named:
            names.append(name)
    return tuple(names)


@contextmanager
def watched(name: str, layer: Quantizer, seen: Seen) -> Iterator[None]:
    """Watch the methods of one layer that search, and take the watch off again."""
    watch = _Watch(name, layer, seen)
    methods = [method for method in _METHODS if hasattr(type(layer), method)]
    vars(layer).update({method: partial(watch, method) for method in methods})
    try:
        yield
    finally:
        for method in methods:
            del vars(layer)[method]


@dataclass(eq=False)
class _Watch:
    """The methods of one layer, whose searches are watched once where one calls another."""

    name: str
    layer: Quantizer
    seen: Seen
    busy: bool = False

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        inner = partial(getattr(type(self.layer), method), self.layer)
        if self.busy:
            return inner(*args, **kwargs)
        if torch.compiler.is_compiling():  # a compiled graph has no room for a watch
            return torch.compiler.disable(self.run)(inner, *args, **kwargs)
        return self.run(inner, *args, **kwargs)

    def run(self, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a method, and watch its searches."""
        self.busy = True
        try:
            with _Searches(self.seen):
                return inner(*args, **kwargs)
        except NonFiniteError as error:
            text = f"layer {self.name!r}: {error}"
            raise NonFiniteError(text) from None
        finally:
            self.busy = False


class _Searches(TorchDispatchMode):
    """Sees each search of a call."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen, self.found = seen, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.certvq.assign.default:
            self.seen(self.found, args[0], args[1], result[0])
            self.found += 1
        return result


def _otherwise(module: nn.Module) -> set[nn.Module]:
    """Return the layers whose codes a beam chooses, or a network that follows the codebook."""
    found: set[nn.Module] = set()
    for each in module.modules():
        if isinstance(each, Residual) and each.beam is not None and each.beam.width > 1:
            found |= set(each.levels)
        if isinstance(each, NeuralCodebook):
            found.add(each.base)
    return found


def _within(name: str, ancestor: str) -> bool:
    return not ancestor or f"{name}.".startswith(f"{ancestor}.")
