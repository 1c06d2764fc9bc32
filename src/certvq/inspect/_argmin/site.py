"""The one place where a quantizer's argmin is watched, or replaced.

In: a quantizer module and its adapter. Out: `Site`, a callable that takes the place of the method
within which the argmin is taken, on that one instance. The method itself runs unchanged: while it
does, each torch function that it calls passes by, and the argmin over the captured distances gets
the certified codes for an answer. Must not know any particular library.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from inspect import getattr_static
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from certvq.assign import Prepared, assign, prepare, rank
from certvq.assign._arrays import to_host
from certvq.errors import NonFiniteError, UnknownQuantizerError
from certvq.inspect._argmin.explain import explain, lengths_differ
from certvq.inspect._argmin.products import PRODUCTS, TIMES, doubled, read_product
from certvq.inspect._argmin.returned import narrowed
from certvq.inspect._argmin.selection import (
    CHOICES,
    Selection,
    chosen_along,
    other_choice,
    read_ranking,
    read_selection,
)
from certvq.inspect._libraries.adapter import Adapter, Comparison, Seen

Observer: TypeAlias = Callable[[int, Comparison, torch.Tensor, torch.dtype], None]
"""Called with the place of the argmin in its call (0, 1, ...), what was compared, the codes (H, N)
or, of a beam, (H, N, count), and the type of number of the layer's input."""

_OUTSIDE: ContextVar[bool] = ContextVar("_OUTSIDE", default=False)
_WATCHED: ContextVar[tuple[nn.Module, ...]] = ContextVar("_WATCHED", default=())
"""Quantizers of which a method is watched just now."""


@dataclass(eq=False)
class Site:
    """The method of one quantizer, with its argmin watched or replaced.

    It is an instance attribute with the method's name; copying and pickling the module copies it.

    Attributes:
        name: of the quantizer in its model, for messages.
        module: the quantizer.
        adapter: what is known of its kind.
        inner: what was in the instance's way before, or None for the class's own method.
        certify: whether certified codes take the place of the model's.
        observe: what to call with each comparison and its codes.
        other: a method besides that of the adapter, which may search the codebook or not.
    """

    name: str
    module: nn.Module
    adapter: Adapter
    inner: Callable[..., Any] | None = None
    certify: bool = True
    observe: Observer | None = None
    other: str = ""

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.other or self.adapter.method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():  # a compiled graph has no room for another's argmin
            return torch.compiler.disable(self.run)(*args, **kwargs)
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the method, and watch or replace its argmin."""
        kind = type(self.module)
        method = self.inner or getattr_static(kind, self.method).__get__(self.module, kind)
        if self.adapter.stale(self.module):
            self._renew()
        if self.other and self.module in _WATCHED.get():  # what calls it sees what it does
            return method(*args, **kwargs)
        watch = _Watch(self, args, kwargs)
        answer = watch.answer()
        if answer is not None:
            return answer
        token = _WATCHED.set((*_WATCHED.get(), self.module))
        try:
            with watch:
                result = method(*args, **kwargs)
        finally:
            _WATCHED.reset(token)
        if self.adapter.index is not None:
            _VALUES[self.module] = (result, watch.chosen)
        watch.keep_answer(result)
        watch.look_at(result)
        if not watch.found and not (self.other and watch.no_search()):
            raise UnknownQuantizerError(watch.nothing_found())
        return result

    def _renew(self) -> None:
        """Let the module compute its code vectors anew, or refuse to audit others.

        Raises:
            UnknownQuantizerError: its own argmin would be audited.
        """
        if not self.certify:
            text = (
                f"layer {self.name!r} must search the codebook of its weights, but it keeps code "
                f"vectors of before these were loaded or changed, and would go on with them; set "
                f"its {self.adapter.kept} to None, or take certvq.patch_module"
            )
            raise UnknownQuantizerError(text)
        setattr(self.module, self.adapter.kept, None)


@dataclass(eq=False)
class Outside:
    """A method within which argmins are none of ours, as the k-means that starts a codebook."""

    module: nn.Module
    method: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = _OUTSIDE.set(True)
        try:
            return getattr(type(self.module), self.method)(self.module, *args, **kwargs)
        finally:
            _OUTSIDE.reset(token)


@dataclass(eq=False)
class Indices:
    """A method that makes an index of values, which is that of the places of the argmins."""

    site: Site

    def __call__(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the index, and let it be audited in the place of the argmins."""
        site, index = self.site, self.site.adapter.index
        assert index is not None
        result = getattr(type(site.module), index.method)(site.module, values, *args, **kwargs)
        known, chosen = _VALUES.pop(site.module, (None, []))
        if known is not values:
            return result
        if site.certify:
            places = [each.codes.reshape(result.shape) for each in chosen]
            result = index.join(site.module, torch.stack(places, dim=-1)).to(result.dtype)
        if site.observe is not None:
            codes = index.split(site.module, result).long()
            for place, each in enumerate(chosen):
                site.observe(place, each.comparison, codes[..., place].reshape(1, -1), each.held)
        return result


def install(site: Site) -> None:
    """Put a site in the place of its method, on that instance only, and of others that search."""
    own = site.module.__dict__
    own[site.adapter.method] = site
    if site.adapter.index is not None:
        own[site.adapter.index.method] = Indices(site)
    for method in site.adapter.other_methods(site.module):
        inner = own.get(method)
        own[method] = replace(
            site, inner=inner.inner if isinstance(inner, Site) else inner, other=method
        )
    for method in site.adapter.outside:
        if hasattr(type(site.module), method):
            site.module.__dict__[method] = Outside(site.module, method)


def uninstall(site: Site) -> None:
    """Undo `install`."""
    own = site.module.__dict__
    for name in site.adapter.helpers():
        own.pop(name, None)
    for name, each in [(name, each) for name, each in own.items() if isinstance(each, Site)]:
        del own[name]
        if each.inner is not None:
            own[name] = each.inner


def site_of(module: nn.Module, adapter: Adapter) -> Site | None:
    """Return the site that is installed on a module, or None."""
    found = module.__dict__.get(adapter.method)
    return found if isinstance(found, Site) else None


class _Chosen(NamedTuple):
    """What one argmin of a call compared, its codes, and the type of the layer's input."""

    comparison: Comparison
    codes: torch.Tensor
    held: torch.dtype


_VALUES: WeakKeyDictionary[nn.Module, tuple[Any, list[_Chosen]]] = WeakKeyDictionary()
"""What the method returned last, until an index is made of it."""


_OF_INTEREST = CHOICES | PRODUCTS | TIMES
"""A method calls many functions besides, and each that is looked at takes microseconds."""


class _Watch(TorchFunctionMode):
    """Sees each torch function that a method calls; answers the argmin over distances."""

    def __init__(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.site, self.args, self.kwargs = site, args, kwargs
        self.product: Comparison | None = None
        self.as_given: Comparison | None = None
        self.doubled: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.found = 0
        self.other = ""
        self.unread: tuple[int, ...] | None = None
        self.chosen: list[_Chosen] = []
        self.given: Any = None

    def answer(self) -> torch.Tensor | None:
        """Return the codes of a call like a former one whose scores these codes explained.

        The method, whose distances nobody would look at, is not run. None where it has to be: the
        first time, with another codebook or other options, in training, or to watch it.
        """
        site, read = self.site, self.site.adapter.answer
        former = _ANSWERED.get(site.module)
        if read is None or former is None or site.observe is not None or not site.certify:
            return None
        comparison = read(self._seen())
        kept = None if comparison is None else self._kept(comparison)
        if comparison is None or kept is None:
            return None
        books = former.get(self._options())
        if books is None or books != _books(comparison, kept, 0, self.site.name):
            return None
        return certified_codes(comparison, site.name, books=books).reshape(self._places())

    def keep_answer(self, result: object) -> None:
        """Note that a method as we know it returned the certified codes and nothing else."""
        site, kept = self.site, _PREPARED.get(self.site.module)
        if site.adapter.answer is None or not kept or self.found != 1 or site.inner is not None:
            return
        known = getattr(site.adapter.known_class(site.module), site.method)
        if getattr(type(site.module), site.method) is not known:  # a subclass may do more
            return
        if result is self.given and self.given.shape == self._places():
            ways = _ANSWERED.setdefault(self.site.module, {})
            if len(ways) >= _MOST_WAYS:
                ways.clear()
            ways[self._options()] = [kept[0, 0]]

    def look_at(self, result: object) -> None:
        """Audit the codes that the method returned, or refuse those that lost what was chosen."""
        site = self.site
        if site.adapter.index is not None:
            return
        for place, each in enumerate(self.chosen):
            codes = each.codes
            own = result is self.given or getattr(site.module, "remap", None) is not None
            single = len(self.chosen) == 1 and codes.ndim == 2 and not own
            lost = narrowed(result, codes) if single else None
            if lost is not None and site.certify:
                raise UnknownQuantizerError(self._narrow(lost[0], codes, lost[1]))
            if site.observe is not None:
                came = codes if lost is None else lost[1] % each.comparison.codebook.shape[1]
                site.observe(place, each.comparison, came, each.held)

    def _narrow(self, kind: torch.dtype, codes: torch.Tensor, came: torch.Tensor) -> str:
        first = int((codes != came).flatten().nonzero()[0])
        return (
            f"{self._who()}: what {self.site.method} returns must hold the codes it chose, but "
            f"they pass through {kind}, which makes {came.flatten()[first]} of code "
            f"{codes.flatten()[first]}; leave them in int64, or take certvq.unpatch_module"
        )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        named = kwargs or {}
        if func not in _OF_INTEREST or _OUTSIDE.get():
            return func(*args, **named)
        selection = read_selection(func, args, named)
        if selection is None and self.site.adapter.ranks:
            selection = read_ranking(func, args, named)
        comparison = None if selection is None else self._compared(selection.scores)
        if selection is not None and comparison is not None:
            return self._choose(selection, comparison, lambda: func(*args, **named))
        self.unread = chosen_along(func, args, named) or self.unread
        scores = other_choice(func, args)
        if scores is not None and self._compared(scores) is not None:
            self.other = func.__name__
        self._read_product(func, args, named)
        result = func(*args, **named)
        if doubled(func, args):
            self.doubled.append((result, next(x for x in args if isinstance(x, torch.Tensor))))
        return result

    def _read_product(self, func: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Note the operands of a product: before one was doubled, as in ``2 * z @ c.t()``."""
        product = read_product(func, args, named)
        if product is None:
            return
        single = tuple(
            next((before for after, before in self.doubled if after is each), each) for each in args
        )
        changed = any(one is not other for one, other in zip(single, args, strict=True))
        self.product = read_product(func, single, named) if changed else product
        self.as_given = product if changed else None

    def _places(self) -> torch.Size:
        return self._seen().first.shape[:-1]

    def _seen(self) -> Seen:
        return Seen(self.site.module, self.args, self.kwargs, self.product, self.found)

    def _compared(self, scores: torch.Tensor) -> Comparison | None:
        """Return what was compared to give these scores, if they are distances to the codebook."""
        comparison = self.site.adapter.capture(self._seen())
        return comparison if comparison is not None and comparison.fits(scores) else None

    def _choose(
        self, selection: Selection, comparison: Comparison, original: Callable[[], Any]
    ) -> Any:
        site, drawn = self.site, self.site.adapter.samples(self._seen())
        count = selection.count
        several = () if count is None else (count,)
        if drawn:
            self.found += 1
            return original()
        comparison, explained = self._reading(selection, comparison)
        if site.certify:
            codes = self._certified(comparison, count)
            shape = (*selection.scores.shape[:-1], *several)
            result = selection.result_with(codes.reshape(shape))
            self.given = selection.codes_in(result)
        else:
            result = original()
            codes = selection.codes_in(result).reshape(*comparison.latents.shape[:2], *several)
        self.chosen.append(_Chosen(comparison, codes, self._seen().held(comparison)))
        if not explained:
            raise UnknownQuantizerError(self._unexplained(comparison, selection))
        self.found += 1
        return result

    def _reading(self, selection: Selection, comparison: Comparison) -> tuple[Comparison, bool]:
        """Return what explains the scores: the operands of the product, or these as they came."""
        others = [self.as_given] if comparison is self.product and self.as_given else []
        for each in (comparison, *others):
            if self._is_explained(selection, each):
                return each, True
        return comparison, False

    def _certified(self, comparison: Comparison, count: int | None) -> torch.Tensor:
        kept = self._kept(comparison)
        heads = range(len(comparison.codebook))  # kept when the scores were looked at
        books = None if kept is None else [kept[self.found, head] for head in heads]
        return certified_codes(comparison, self.site.name, count, books=books)

    def _kept(self, comparison: Comparison) -> "Kept | None":
        module = self.site.module
        keep = self.site.certify and not (module.training or comparison.own)
        return _PREPARED.setdefault(module, {}) if keep else None

    def _is_explained(self, selection: Selection, comparison: Comparison) -> bool:
        """Look at the scores, but for those of kept codebooks in a call like a former one."""
        kept = self._kept(comparison)
        if kept is None:
            return explain(comparison, selection.scores, selection.sign).agrees
        books = _books(comparison, kept, self.found, self.site.name)
        before = _EXPLAINED.setdefault(self.site.module, {})
        way = (
            self.site.method,
            self.found,
            comparison is self.as_given,
            selection.sign,
            selection.scores.dtype,
            self._options(),
        )
        if before.get(way) == books:  # the very objects
            return True
        found = explain(comparison, selection.scores, selection.sign)
        if found.agrees and found.telling:
            if len(before) >= _MOST_WAYS:
                before.clear()
            before[way] = books
        return found.agrees

    def _options(self) -> str:
        """Describe the arguments of the call, and plain attributes; of tensors their types."""
        named = {**dict(enumerate(self.args)), **self.kwargs}
        shown = {
            name: each.dtype if isinstance(each, torch.Tensor) else each
            for name, each in named.items()
        }
        own = {n: x for n, x in vars(self.site.module).items() if isinstance(x, _PLAIN)}
        return f"{shown} {own} {torch.is_autocast_enabled(self._device())}"

    def _device(self) -> str:
        tensors = (each for each in self.args if isinstance(each, torch.Tensor))
        return next((each.device.type for each in tensors), "cpu")

    def _unexplained(self, comparison: Comparison, selection: Selection) -> str:
        heads, rows, dim = comparison.latents.shape
        lengths = lengths_differ(comparison, selection.scores, selection.sign)
        if lengths is not None:
            return (
                f"{self._who()}: code vectors must have one length where scores are products, "
                f"but code {lengths[0]} has length {lengths[1]:.3g} and code {lengths[2]} has "
                f"{lengths[3]:.3g}, so that the greatest product is not the nearest vector; scale "
                "or replace them, take certvq.unpatch_module, or certvq.assign by hand"
            )
        return (
            f"{self._who()}: scores must be distances, or inner products with code vectors of one "
            f"length, of the latents and the codebook that were found ({heads} x {rows} latents, "
            f"{comparison.codebook.shape[1]} code vectors, dim {dim}), but they differ by more "
            "than rounding allows; this version or subclass computes something else: "
            "take certvq.unpatch_module, or certvq.assign by hand"
        )

    def nothing_found(self) -> str:
        """Say that no argmin passed by."""
        instead = f" (codes were chosen by {self.other})" if self.other else ""
        if self.unread is not None and not instead:
            instead = (
                f" (one over scores of shape {self.unread} came after no product of latents and "
                "code vectors, such as cdist, matmul or einsum, that has as many)"
            )
        return (
            f"{self._who()}: an argmin or argmax over distances to the codebook was expected in "
            f"{self.site.method}, got none{instead}; this version, subclass or option "
            "chooses its codes otherwise: take certvq.unpatch_module, or certvq.assign by hand"
        )

    def no_search(self) -> bool:
        """Say whether nothing was chosen from as many scores as the codebook has vectors."""
        module = self.site.module
        tables = [attrgetter(name)(module) for name in self.site.adapter.has]
        sizes = {len(each) for each in tables if isinstance(each, torch.Tensor)}
        if getattr(module, "padding_idx", None) is not None:  # a row that is no code vector
            sizes |= {size - 1 for size in sizes}
        return not self.other and (self.unread is None or self.unread[-1] not in sizes)

    def _who(self) -> str:
        kind = type(self.site.module)
        return f"layer {self.site.name!r} ({kind.__module__}.{kind.__qualname__})"


Kept: TypeAlias = dict[tuple[int, int], Prepared]
"""Codebooks of a layer in eval mode, by the place of the argmin in a call and the head."""

_PREPARED: WeakKeyDictionary[nn.Module, Kept] = WeakKeyDictionary()
_EXPLAINED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], list[Prepared]]] = (
    WeakKeyDictionary()
)
"""Codebooks whose distances the scores of a layer were, by what the call was like."""
_ANSWERED: WeakKeyDictionary[nn.Module, dict[str, list[Prepared]]] = WeakKeyDictionary()
"""Codebooks of calls that returned the codes of one argmin and nothing else, likewise."""
_MOST_WAYS = 64
_PLAIN = (bool, int, float, str)


def certified_codes(
    comparison: Comparison,
    name: str,
    count: int | None = None,
    *,
    books: list[Prepared] | None = None,
) -> torch.Tensor:
    """Return the certified codes (H, N) of a comparison, or the `count` nearest (H, N, count).

    Args:
        comparison: what is compared.
        name: of the layer.
        count: how many codes of each latent.
        books: its codebooks, prepared; None to read those of the comparison.

    Raises:
        NonFiniteError: NaN or infinity; names the layer, the row and the column.
    """
    searched = comparison.codebook.detach() if books is None else books
    found: list[torch.Tensor] = []
    try:
        for z, book in zip(comparison.latents.detach(), searched, strict=True):
            result = assign(z, book) if count is None else rank(z, book, count)
            found.append(result.codes)
        if not found:  # no latents, each with code vectors of its own
            several = () if count is None else (count,)
            return torch.empty(0, 1, *several, dtype=torch.int64, device=comparison.latents.device)
        return torch.stack(found)
    except NonFiniteError as error:
        text = f"layer {name!r}: {error}"
        raise NonFiniteError(text) from None


def _books(comparison: Comparison, kept: Kept, place: int, name: str) -> list[Prepared]:
    """Prepare the codebooks of an argmin, or take those of former calls that are equal."""
    books = comparison.codebook.detach()
    try:
        return [_prepared(each, kept, (place, head)) for head, each in enumerate(books)]
    except NonFiniteError as error:
        text = f"layer {name!r}: {error}"
        raise NonFiniteError(text) from None


def _prepared(codebook: torch.Tensor, kept: Kept, place: tuple[int, int]) -> Prepared:
    before = kept.get(place)
    if before is None or not _same(before.source, codebook):
        before = kept[place] = prepare(codebook)
    return before


def _same(before: torch.Tensor, now: torch.Tensor) -> bool:
    alike = (before.shape, before.dtype, before.device) == (now.shape, now.dtype, now.device)
    if alike and now.device.type == "cpu":
        return np.array_equal(to_host(before), to_host(now))
    return alike and torch.equal(before, now)
