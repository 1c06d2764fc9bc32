"""Watch the layers of `certvq.nn`: what they compare, and the codes that they return.

In: a model. Out: its layers of certvq, by name; latents, code vectors and codes of each call, as
they pass by. Must not change what a layer does.
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from torch import nn

from certvq.errors import NonFiniteError
from certvq.inspect._argmin.site import Observer
from certvq.inspect._libraries.adapter import Comparison
from certvq.inspect._libraries.find import within
from certvq.inspect._scalar.grid import Grid, rounded_grid, sign_grid
from certvq.inspect._scalar.site import ScalarObserver
from certvq.nn import (
    FSP,
    FSQ,
    LFQ,
    BaseQuantizer,
    BinaryMapper,
    LatentQuantize,
    NeuralCodebook,
    RandomProjectionQuantizer,
    Residual,
    SimVQ,
    VectorQuantize,
)
from certvq.nn._core.search import watched_searches

_BY_FEATURE: Final = (LatentQuantize, LFQ)
_AUDITED: Final = (VectorQuantize, SimVQ, RandomProjectionQuantizer, *_BY_FEATURE, NeuralCodebook)

_RANK: Final = "rank_tokens"
_METHODS: Final = ("quantize_tokens", "choose_tokens", "encode_tokens", "find", "cells", _RANK)
"""The methods that find codes; layers of `certvq.compat` call `find`, and `cells` of `FSQ`."""

_REASONS: Final = {
    FSQ: "compares each feature with exact thresholds of its bound; there are no code vectors",
    FSP: "puts each feature into its bin after a bound; there are no code vectors",
    BinaryMapper: "takes the signs of logits; there are no code vectors",
}
"""Why there is nothing to audit in a layer of certvq; see docs/adapters.md."""

_NOT_KNOWN = "finds its codes in a way of its own"


def _translated(module: nn.Module) -> bool:
    """Say whether a module is a layer of `certvq.compat`, which exists only if that is loaded."""
    compat = sys.modules.get("certvq.compat.vector_quantize_pytorch._module")
    return compat is not None and isinstance(module, compat.Translated)


def _searches_by_itself(module: nn.Module) -> bool:
    """Say whether a module is the one of `certvq.compat` that is made of no layer of nn."""
    compat = sys.modules.get("certvq.compat.vector_quantize_pytorch")
    return compat is not None and isinstance(module, compat.RandomProjectionQuantizer)


def own_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of certvq in a model whose codes are cells of the latents, by name.

    They are those that search a codebook, and scalar quantizers with fixed thresholds. Levels that
    a beam searches together are not among them, nor those with a network.
    """
    others, searching = _not_alone(module), audited_layers(module)
    return {
        name: each
        for name, each in module.named_modules()
        if (name in searching or own_grid(each) is not None)
        and not isinstance(each, NeuralCodebook)
        and each not in others
    }


def own_grid(module: nn.Module) -> Grid | None:
    """Return the exact thresholds of a scalar quantizer of certvq, if it has fixed ones."""
    if isinstance(module, FSQ):
        symmetric, hard = module.preserve_symmetry, module.hard_clamp
        return rounded_grid(module.levels, preserve_symmetry=symmetric, hard_clamp=hard)
    return sign_grid(module.dim) if isinstance(module, LFQ) else None


def audited_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of certvq in a model that can be looked into, by name.

    Besides those that search a codebook they are the levels of a beam, whose tokens get several of
    the nearest codes; `LatentQuantize` and `LFQ`, which give each feature the nearest of values of
    its own; and `NeuralCodebook`, in which each token has code vectors of its own.
    """
    inner = {
        each.get_submodule("base") for each in module.modules() if isinstance(each, NeuralCodebook)
    }
    return {
        name: each
        for name, each in module.named_modules()
        if each not in inner and (isinstance(each, _AUDITED) or _searches_by_itself(each))
    }


def other_layers(module: nn.Module, known: Collection[str]) -> dict[str, str]:
    """Return the layers of certvq that find codes otherwise, by name, each with the reason.

    Args:
        module: the model.
        known: names of the layers that are looked into.
    """
    found: dict[str, str] = {}
    for name, each in module.named_modules():
        holds_known = any(within(other, name) for other in known)
        named = any(within(name, other) for other in (*found, *known))
        if isinstance(each, BaseQuantizer) and not holds_known and not named:
            found[name] = _reason(each)
    return found


def outermost(module: nn.Module) -> list[nn.Module]:
    """Return the quantizers of certvq that are in no other one; they hold figures of their own."""
    found: dict[str, nn.Module] = {}
    for name, each in module.named_modules():
        own = isinstance(each, BaseQuantizer) or _translated(each)
        if own and not any(within(name, other) for other in found):
            found[name] = each
    return list(found.values())


@contextmanager
def watched(
    name: str,
    layer: nn.Module,
    observe: Observer,
    *,
    otherwise: Callable[[str], None] | None = None,
    scalar: ScalarObserver | None = None,
) -> Iterator[None]:
    """Watch the methods of one layer that find codes, and take the watch off again.

    Args:
        name: of the layer.
        layer: the layer.
        observe: called with what each search compared and the codes that the layer returned.
        otherwise: called with the name of a method that returned codes without a search, or other
            ones than searches can explain.
        scalar: called instead, where it is given and the layer has fixed thresholds, with whole
            latents (N, D), the codes (N,) and the thresholds.
    """
    before: dict[str, Callable[..., Any]] = {}
    watch = _Watch(name, layer, observe, otherwise, before, scalar)
    methods = ("forward",) if _searches_by_itself(layer) else _METHODS
    watches: dict[str, Callable[..., Any]] = {
        method: partial(watch, method) for method in methods if hasattr(type(layer), method)
    }
    if isinstance(layer, NeuralCodebook):
        watches = {"after": partial(_After, watch)}
    before.update({method: vars(layer)[method] for method in watches if method in vars(layer)})
    vars(layer).update(watches)
    try:
        yield
    finally:
        for method in watches:
            vars(layer).pop(method, None)
        vars(layer).update(before)


@dataclass(eq=False)
class _Watch:
    """The methods of one layer, which are watched once where one calls another.

    Attributes:
        name: of the layer.
        layer: the layer.
        observe: as for `watched`.
        otherwise: likewise.
        before: methods that were set on this very layer before, which the watch calls.
        scalar: as for `watched`.
        busy: whether a watched method runs.
        ranked: what it compared to rank several codes for each token.
        vectors: what a network gave it, code vectors (N, K, D) of some tokens each.
    """

    name: str
    layer: nn.Module
    observe: Observer
    otherwise: Callable[[str], None] | None
    before: dict[str, Callable[..., Any]]
    scalar: ScalarObserver | None = None
    busy: bool = False
    ranked: Comparison | None = None
    vectors: list[torch.Tensor] = field(default_factory=list[torch.Tensor])

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self.call(method, self.inner(method), *args, **kwargs)

    def inner(self, method: str) -> Callable[..., Any]:
        """Return what the watch is in the way of."""
        return self.before.get(method) or partial(getattr(type(self.layer), method), self.layer)

    def call(self, method: str, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a method, watched unless it is called by one that is."""
        if self.busy:
            return self._within(method, inner, *args, **kwargs)
        run = partial(self.run, method, inner)
        if torch.compiler.is_compiling():  # a compiled graph has no room for a watch
            return torch.compiler.disable(run)(*args, **kwargs)
        return run(*args, **kwargs)

    def run(self, method: str, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a method, and say what it compared."""
        given: torch.Tensor = args[0] if args else next(iter(kwargs.values()))
        found: list[Comparison] = []

        def keep(latents: torch.Tensor, codebook: torch.Tensor) -> None:
            found.append(Comparison(latents[None], codebook[None]))

        self.busy, self.ranked, self.vectors = True, None, []
        try:
            with watched_searches(keep):
                result = self._within(method, inner, *args, **kwargs)
        except NonFiniteError as error:
            text = f"layer {self.name!r}: {error}"
            raise NonFiniteError(text) from None
        finally:
            self.busy = False
        codes = _codes_of(result)
        if codes is not None and kwargs.get("codes") is None:  # else a beam chose among the ranked
            tokens = given.detach().reshape(-1, given.shape[-1])
            self._report(method, tokens, codes, found)
        return result

    def _within(self, method: str, inner: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a method, and keep what it ranks."""
        if method == _RANK:
            layer: Any = self.layer
            tokens = args[0] if args else kwargs["tokens"]
            points = layer._points(tokens)  # noqa: SLF001 (a layer of certvq's own)
            self.ranked = Comparison(points.detach()[None], layer.code_vectors().detach()[None])
        return inner(*args, **kwargs)

    def _report(
        self, method: str, tokens: torch.Tensor, codes: torch.Tensor, found: list[Comparison]
    ) -> None:
        if self.scalar is not None and (grid := own_grid(self.layer)) is not None:
            self.scalar(tokens, codes.reshape(-1), grid)
            return
        if self.ranked is not None and not found and codes.ndim == 2:
            self.observe(0, self.ranked, codes[None], tokens.dtype)
            return
        if isinstance(self.layer, NeuralCodebook):
            self._report_own(method, tokens, codes)
            return
        if isinstance(self.layer, _BY_FEATURE):
            found, codes = _by_feature(self.layer, tokens, codes)
        columns = codes.reshape(len(tokens), -1) if len(tokens) else codes.new_empty(0, len(found))
        each_token = all(each.latents.shape[1] == len(tokens) for each in found)
        if each_token and columns.shape[1] == len(found):
            for place, each in enumerate(found):
                self.observe(place, each, columns[:, place][None], tokens.dtype)
        elif self.otherwise is not None:
            self.otherwise(method)

    def _report_own(self, method: str, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Say what a layer compared in which each token has code vectors of its own."""
        if self.vectors and sum(map(len, self.vectors)) == len(tokens) == len(codes):
            vectors = torch.cat(self.vectors)
            self.observe(
                0, Comparison(tokens[:, None], vectors, own=True), codes[:, None], tokens.dtype
            )
        elif len(tokens) and self.otherwise is not None:
            self.otherwise(method)
        self.vectors = []


class _After:
    """A level of a neural codebook for some sums, whose methods are watched."""

    def __init__(self, watch: _Watch, sums: torch.Tensor) -> None:
        self._watch, self._given = watch, watch.inner("after")(sums)

    def quantize_tokens(self, tokens: torch.Tensor) -> Any:
        """Quantize, watched."""
        return self._watch.call("quantize_tokens", self._seen("quantize_tokens"), tokens)

    def encode_tokens(self, tokens: torch.Tensor) -> Any:
        """Encode, watched."""
        return self._watch.call("encode_tokens", self._seen("encode_tokens"), tokens)

    def decode_tokens(self, codes: torch.Tensor) -> Any:
        """Decode, as ever."""
        return self._given.decode_tokens(codes)

    def _seen(self, method: str) -> Callable[[torch.Tensor], Any]:
        """Return a method that keeps the code vectors which the network gives to its tokens."""

        def keep(_: nn.Module, __: Any, vectors: torch.Tensor) -> None:
            if vectors.ndim == 3:  # (N, K, D), of all codes; those of the chosen ones are (N, D)
                self._watch.vectors.append(vectors.detach())

        def run(tokens: torch.Tensor) -> Any:
            network = self._watch.layer.get_submodule("transform")
            handle = network.register_forward_hook(keep)
            try:
                return getattr(self._given, method)(tokens)
            finally:
                handle.remove()

        return run


def _codes_of(result: Any) -> torch.Tensor | None:
    """Return the codes of what a method returned; None of a loss."""
    codes: torch.Tensor = result if isinstance(result, torch.Tensor) else result.codes
    return None if codes.is_floating_point() else codes


def _by_feature(
    layer: Any, tokens: torch.Tensor, codes: torch.Tensor
) -> tuple[list[Comparison], torch.Tensor]:
    """Return for each feature what was compared, and the places (N, D) of its values."""
    if isinstance(layer, LFQ):
        corner = tokens.new_tensor([-1.0, 1.0])  # any cube's corners have the same signs
        places, values = layer.bits(codes), [corner] * tokens.shape[1]
    else:
        places = layer.level_indices(codes)
        values = layer.values.detach().split(layer.levels)
    pairs = zip(tokens.unbind(1), values, strict=True)
    return [Comparison(z[None, :, None], v[None, :, None]) for z, v in pairs], places


def _reason(module: nn.Module) -> str:
    """Say why there is nothing to audit, for the layer or for what it is made of."""
    for each in module.modules():
        for kind, reason in _REASONS.items():
            if isinstance(each, kind):
                return reason
    return _NOT_KNOWN


def _not_alone(module: nn.Module) -> set[nn.Module]:
    """Return the levels whose codes a beam chooses together."""
    found: set[nn.Module] = set()
    for each in module.modules():
        if isinstance(each, Residual) and each.beam is not None and each.beam.width > 1:
            found |= set(each.quantizers)
    return found
