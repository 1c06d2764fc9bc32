"""What certvq has to know of a library's quantizer.

In: nothing. Out: `Adapter`, one for each kind of quantizer, and `Comparison`, the numbers that it
compares. Must not import a third-party quantizer: classes are known by name and module path.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getattr_static
from operator import attrgetter
from types import FunctionType
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class Comparison:
    """Latents and code vectors as the model compares them, after its own normalisation.

    Attributes:
        latents: (H, N, D); H codebooks are searched side by side, mostly one.
        codebook: (H, K, D).
        own: whether each latent has code vectors of its own; then H is the number of latents, and
            N is 1.
        unit: whether the model divided code vectors by their lengths; one of length 0 is left as it
            is, and its scores are none of the others' kind.
        shift: what the model adds to each entry of a difference before it is squared.
    """

    latents: torch.Tensor
    codebook: torch.Tensor
    own: bool = False
    shift: float = 0.0
    unit: bool = False

    def fits(self, scores: torch.Tensor) -> bool:
        """Say whether `scores` (..., K) holds one number for each latent and code vector."""
        heads, rows, _ = self.latents.shape
        size = int(self.codebook.shape[1])
        return (
            self.codebook.shape[0] == heads
            and self.codebook.shape[2] == self.latents.shape[2]
            and scores.ndim > 0
            and scores.shape[-1] == size
            and scores.numel() == heads * rows * size
        )


@dataclass(frozen=True, eq=False)
class Seen:
    """What happened in a call of the quantizer's method before an argmin.

    Attributes:
        module: the quantizer.
        args: positional arguments of its method.
        kwargs: named ones.
        product: the operands of the last product of latents and code vectors, if there was one.
        ordinal: how many argmins over distances came before.
    """

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    product: Comparison | None
    ordinal: int

    @property
    def first(self) -> torch.Tensor:
        """The first argument, which is the latents."""
        return self.args[0] if self.args else next(iter(self.kwargs.values()))

    def held(self, comparison: Comparison) -> torch.dtype:
        """Return the type in which the layer received its latents, before any cast of its own."""
        given = self.first
        floats = isinstance(given, torch.Tensor) and given.is_floating_point()
        return given.dtype if floats else comparison.latents.dtype


def last_product(seen: Seen) -> Comparison | None:
    """Return the operands of the last product, which the scores were made of."""
    return seen.product


def nothing_kept(module: nn.Module) -> bool:
    """Say that code vectors are always those of the weights."""
    del module
    return False


def never(seen: Seen) -> bool:
    """Say that codes are always chosen by distance."""
    del seen
    return False


@dataclass(frozen=True)
class Index:
    """How a layer turns the values of its features into the index that it returns.

    Attributes:
        method: which does it, with what the adapter's method returned.
        join: makes an index (...,) of the places (..., D) of the values.
        split: the inverse.
    """

    method: str
    join: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    split: Callable[[nn.Module, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Adapter:
    """How one kind of quantizer finds its codes.

    Attributes:
        library: where it comes from, for messages.
        classes: names of the classes.
        method: the method within which distances are computed and their argmin is taken.
        module_prefix: beginning of the path of the module that defines the classes; "" for layers
            that people copy into their own code.
        has: attributes (``a.b``) that an instance must have, where the module path says nothing.
        capture: what is compared; None if the scores at hand are none of ours.
        own_method: whether `capture` reads the arguments, so that a subclass that overrides the
            method would be misread.
        outside: methods within which argmins are left alone (k-means).
        samples: whether codes are drawn at random in this call.
        ranks: whether a topk of the scores chooses several codes for each latent (a beam); where
            not, it is none of ours.
        stale: whether a module keeps code vectors that are no longer those of its weights.
        index: how codes of several argmins, one for each feature, become one index.
        answer: what a call compares, read off its arguments, where the method returns the codes
            themselves and does nothing else; a patched layer in eval mode then need not run it.
        kept: the attribute that holds them; None makes the module compute them anew.
    """

    library: str
    classes: tuple[str, ...]
    method: str
    module_prefix: str = ""
    has: tuple[str, ...] = ()
    capture: Callable[[Seen], Comparison | None] = field(default=last_product)
    own_method: bool = False
    outside: tuple[str, ...] = ()
    samples: Callable[[Seen], bool] = field(default=never)
    ranks: bool = False
    stale: Callable[[nn.Module], bool] = field(default=nothing_kept)
    kept: str = ""
    index: Index | None = None
    answer: Callable[[Seen], Comparison | None] | None = None

    def helpers(self) -> tuple[str, ...]:
        """Name the methods besides its own that a site takes the place of."""
        return self.outside if self.index is None else (*self.outside, self.index.method)

    def other_methods(self, module: nn.Module) -> list[str]:
        """Name the methods of a copied layer within which it may search its codebook as well."""
        if self.module_prefix or self.own_method:
            return []
        kinds = [kind for kind in type(module).__mro__ if not kind.__module__.startswith("torch.")]
        return [
            name
            for name in dict.fromkeys(name for kind in kinds for name in vars(kind))
            if name not in (self.method, *self.outside)
            and not hasattr(nn.Module, name)
            and isinstance(
                getattr_static(type(module), name), FunctionType | staticmethod | classmethod
            )
        ]

    def known_class(self, module: nn.Module) -> type | None:
        """Return the class of `module`, or the ancestor of it, that this adapter knows."""
        for kind in type(module).__mro__:
            inside = f"{kind.__module__}.".startswith(self.module_prefix)
            if inside and kind.__name__ in self.classes and self._looks_right(module):
                return kind
        return None

    def matches(self, module: nn.Module) -> bool:
        """Say whether `module` is a quantizer of this kind, or a subclass of one."""
        return self.known_class(module) is not None

    def _looks_right(self, module: nn.Module) -> bool:
        try:
            return all(attrgetter(name)(module) is not None for name in self.has)
        except AttributeError:
            return False
