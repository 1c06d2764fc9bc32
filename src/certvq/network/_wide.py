"""Tensors of pairs: each number is the sum of two float64 numbers, of which one is it rounded.

In: tensors. Out: `Wide`, which the rules of operators compute with as they do with float64. Sums,
products, quotients, roots and functions are those of `native/wide`; what moves entries moves both
parts. An operation without a form for pairs raises `NoWideFormError`, so that none is done on one
part alone by oversight. Must not know operators of networks.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch

from certvq.bounds import UNIT_ROUNDOFF, gamma

try:
    from certvq._native import _wide
except ImportError:
    _wide = None

AVAILABLE: Final = _wide is not None
"""Whether the compiled module was built for this interpreter."""

WIDE_ROUNDOFF: Final = 2.0**-100
"""Bound on the relative error of a sum, product, quotient or square root of pairs: 64 u^2, where
the greatest of their bounds is 16 u^2 (native/wide/pairs-inl.h)."""

WIDE_LIBRARY_ERROR: Final = 2.0**-96
"""Bound on the relative error of exp, expm1, sigmoid, silu, tanh and sin of pairs; that of sin may
also err by ``2^-100 min(1, |x|)``. On paper (native/wide/functions-inl.h), tested with balls."""


class NoWideFormError(Exception):
    """An operation that pairs do not have; the network stays without this rung."""


class Wide(torch.Tensor):
    """A tensor of pairs.

    Attributes:
        high: float64, the numbers rounded.
        low: float64, what is left.
    """

    high: torch.Tensor
    low: torch.Tensor

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Find the form of an operation by its name."""
        del types
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
        form = _FORMS.get(name)
        if form is None:
            raise NoWideFormError(name)
        return form(func, *args, **(kwargs or {}))


def wide(high: torch.Tensor, low: torch.Tensor | None = None) -> Wide:
    """Return pairs of which the first is the sum rounded; without low parts, exact numbers."""
    made = high.as_subclass(Wide)
    made.high, made.low = high, torch.zeros_like(high) if low is None else low
    return made


def nearest(value: torch.Tensor) -> torch.Tensor:
    """Return float64 numbers, off by at most half a unit in the last place."""
    return value.high if isinstance(value, Wide) else value


def rest(value: torch.Tensor) -> torch.Tensor:
    """Return what `nearest` leaves over, exactly."""
    return value.low if isinstance(value, Wide) else torch.zeros_like(value)


def sizes(value: torch.Tensor) -> torch.Tensor:
    """Bound the size of each number from above, in float64."""
    return value.high.abs() * (1.0 + 2.0**-51) if isinstance(value, Wide) else value.abs()


def rounding(value: torch.Tensor, terms: int = 1) -> float:
    """Bound the relative error of roundings in a row, each of one operation.

    Args:
        value: what was computed, in float64 or in pairs.
        terms: how many roundings meet in one term.
    """
    if isinstance(value, Wide):
        return terms * WIDE_ROUNDOFF * (1.0 + 2.0**-40)
    return UNIT_ROUNDOFF if terms == 1 else gamma(terms)


# what the product of native/wide loses ------------------------------------------------------------

_BLOCK = 32
"""Terms after which it moves low parts to a sum of their own (kTerms)."""

_SMALLEST_SCALE = 2.0**-500
"""Anchors are those of greater sums, so that nothing underflows; what is lost is in proportion."""


def _lost_units(terms: int) -> float:
    """Bound the error of a product of n terms in units of ``2^(k - 106)``, with anchor 1.5 2^k.

    The high parts stay between ``2^k`` and ``2^(k + 1)``, so that each addition loses at most
    ``2^(k - 53)``, which the second multiplication finds but for a rounding: n units. After t terms
    of a block the low parts are at most ``(t + 1) 2^(k - 53)``, and three roundings of these meet
    in a term: ``3 (b + 1)(b + 2) / 2`` units in a block of b. The m sums of blocks are at most ``i
    (b + 1) 2^(k - 53)`` after i of them: ``m (m + 1)(b + 1) / 2`` units. Products of two low parts,
    which are left out, are below one unit, and so is what is left of 1 and 2^40.
    """
    blocks = -(-terms // _BLOCK)
    inside = 3 * blocks * (_BLOCK + 1) * (_BLOCK + 2) / 2
    between = blocks * (blocks + 1) * (_BLOCK + 1) / 2
    return terms + inside + between + 4


def product(
    weight: torch.Tensor,
    given: torch.Tensor,
    offsets: torch.Tensor,
    places: int,
) -> tuple[Wide, torch.Tensor]:
    """Multiply matrices with terms that begin at offsets.

    Mathematics: ``y[n, o, p] = sum_t weight[n mod G, o, t] given[n, offsets[t] + p]``.

    Args:
        weight: pairs (G, O, T), or float64 as `given`.
        given: pairs (N, S), or float64.
        offsets: (T,) int64.
        places: how many p there are.

    Returns:
        Pairs (N, O, places), and bounds (N, O) of their errors.
    """
    assert _wide is not None
    left, right = nearest(weight), nearest(given).contiguous()
    low = given.low.contiguous() if isinstance(given, Wide) else None
    small = rest(weight) if isinstance(weight, Wide) and rest(weight).any() else None
    count, outputs = right.shape[0], left.shape[1]
    stride = -(-places // _wide.PLACES) * _wide.PLACES
    missing = max(0, int(offsets.max()) + stride - right.shape[1])
    if missing:
        right = torch.nn.functional.pad(right, (0, missing))
        low = None if low is None else torch.nn.functional.pad(low, (0, missing))
    greatest = torch.maximum(right.amax(1), -right.amin(1))
    totals = left.abs().sum(2).repeat(count // left.shape[0], 1)
    most = totals * greatest[:, None] * (1.0 + 2.0**-30) + _SMALLEST_SCALE
    power = most / torch.frexp(most).mantissa * 2.0  # 2^k, of which half is above `most`
    out = [right.new_empty(count, outputs, stride) for _ in range(2)]
    _wide.product(
        left.contiguous().numpy(),
        None if small is None else small.contiguous().numpy(),
        right.numpy(),
        None if low is None else low.numpy(),
        offsets.numpy(),
        (1.5 * power).contiguous().numpy(),
        out[0].numpy(),
        out[1].numpy(),
        torch.get_num_threads(),
    )
    lost = power * (_lost_units(left.shape[2]) * 2.0**-106 * (1.0 + 2.0**-30))
    return wide(*(each[..., :places] for each in out)), lost


# forms --------------------------------------------------------------------------------------------

_UNARY = ("sqrt", "exp", "expm1", "sigmoid", "silu", "tanh", "sin")
_BINARY = ("add", "sub", "mul", "div")
"""In the order of native/wide/kernel.h."""


def _pair(operand: Any) -> Wide:
    """Return an operand as pairs; a tensor of floats that is none may have been rounded."""
    if isinstance(operand, Wide):
        return operand
    if isinstance(operand, (int, float)):
        return wide(torch.tensor(float(operand), dtype=torch.float64))
    text = f"a float64 tensor of shape {tuple(operand.shape)} among pairs"
    raise NoWideFormError(text)


def _unary(name: str) -> Callable[..., Wide]:
    number = _UNARY.index(name)

    def form(func: Any, given: Wide, *, inplace: bool = False) -> Wide:
        del func, inplace
        assert _wide is not None
        high, low = given.high.contiguous(), given.low.contiguous()
        out = torch.empty_like(high), torch.empty_like(high)
        threads = torch.get_num_threads()
        _wide.unary(number, *(each.numpy() for each in (high, low, *out)), threads=threads)
        return wide(*out)

    return form


def _binary(name: str, *, swapped: bool = False) -> Callable[..., Wide]:
    number = _BINARY.index(name)

    def form(func: Any, first: Any, second: Any) -> Wide:
        del func
        assert _wide is not None
        left, right = _pair(second if swapped else first), _pair(first if swapped else second)
        shape = _common(left.high.shape, right.high.shape)
        if name in {"add", "mul"} and left.high.shape != shape:
            left, right = right, left
        inner, right = _repeated(right, shape)
        high, low = (each.expand(shape).contiguous() for each in (left.high, left.low))
        out = torch.empty_like(high), torch.empty_like(high)
        operands = (high, low, right.high.contiguous(), right.low.contiguous(), *out)
        threads = torch.get_num_threads()
        _wide.binary(number, *(each.numpy() for each in operands), inner=inner, threads=threads)
        return wide(*out)

    return form


def _common(left: torch.Size, right: torch.Size) -> torch.Size:
    """Return the shape that both are broadcast to; torch takes longer than a sum does."""
    return left if left == right else torch.Size(np.broadcast_shapes(left, right))


def _repeated(right: Wide, shape: tuple[int, ...]) -> tuple[int, Wide]:
    """Return how often in a row each entry of an operand is used, and the operand.

    Its axes of more than one entry follow one another, or it is expanded.
    """
    own = (1,) * (len(shape) - right.high.ndim) + tuple(right.high.shape)
    used = [axis for axis, size in enumerate(own) if size != 1]
    if not used:
        return max(1, math.prod(shape)), right
    first, last = used[0], used[-1] + 1
    if own[first:last] != shape[first:last]:
        expanded = wide(right.high.expand(shape), right.low.expand(shape))
        return 1, expanded
    return math.prod(shape[last:]), right


def _square(func: Any, given: Wide) -> Wide:
    return _binary("mul")(func, given, given)


def _negated(func: Any, given: Wide) -> Wide:
    del func
    return wide(-given.high, -given.low)


def long_sums(rows: torch.Tensor) -> torch.Tensor:
    """Add up the last axis in pairs, also of float64 numbers, if the compiled module is there.

    Args:
        rows: (..., n), float64 or pairs.

    Returns:
        (...,) pairs, off by `WIDE_ROUNDOFF` for each addition; without the module sums by torch.
    """
    if _wide is None:
        return rows.sum(-1)
    high = nearest(rows).contiguous()
    low = rows.low.contiguous().numpy() if isinstance(rows, Wide) else None
    out = high.new_empty(high.shape[:-1]), high.new_empty(high.shape[:-1])
    threads = torch.get_num_threads()
    _wide.sums(high.numpy(), low, *(each.numpy() for each in out), threads=threads)
    return wide(*out)


def _sum(func: Any, given: Wide, dim: Any, *, keepdim: bool = False) -> torch.Tensor:
    del func
    whole = tuple(given.high.shape)
    axes = {each % len(whole) for each in (dim if isinstance(dim, (tuple, list)) else (dim,))}
    kept = [axis for axis in range(len(whole)) if axis not in axes]
    shape = tuple(whole[axis] for axis in kept)
    found = long_sums(given.permute(*kept, *axes).reshape(*shape, -1))
    if keepdim:
        return found.reshape(tuple(1 if axis in axes else n for axis, n in enumerate(whole)))
    return found


def _greatest(func: Any, given: Wide, dim: int, *, keepdim: bool = False) -> Wide:
    del func
    high = given.high.amax(dim, keepdim=True)
    low = torch.where(given.high == high, given.low, -math.inf).amax(dim, keepdim=True)
    low = torch.where(high.isfinite(), low, 0.0)
    found = wide(high, low)
    return found if keepdim else found.squeeze(dim)  # pyright: ignore[reportReturnType]


def _at_least(func: Any, given: Wide, bound: float) -> Wide:
    above = (given.high > bound) | ((given.high == bound) & (given.low > 0))
    return wide(func(given.high, bound), torch.where(above, given.low, 0.0))


def _at_most(func: Any, given: Wide, bound: float) -> Wide:
    below = (given.high < bound) | ((given.high == bound) & (given.low < 0))
    return wide(func(given.high, bound), torch.where(below, given.low, 0.0))


def _between(func: Any, given: Wide, low: float | None, high: float | None) -> Any:
    del func
    given = given if low is None else given.clamp_min(low)  # pyright: ignore[reportAssignmentType]
    return given if high is None else given.clamp_max(high)


def _above(func: Any, given: Wide, bound: float) -> torch.Tensor:
    if bound != 0:  # only the sign of a pair is that of its first number
        raise NoWideFormError(func.__name__)
    return given.high > 0


def _chosen(func: Any, condition: torch.Tensor, first: Any, second: Any) -> Wide:
    pairs = _pair(first), _pair(second)
    return wide(
        func(condition, *(each.high for each in pairs)),
        func(condition, *(each.low for each in pairs)),
    )


def _filled(func: Any, given: Wide, mask: torch.Tensor, value: float) -> Wide:
    return wide(func(given.high, mask, value), func(given.low, mask, 0.0))


def _padded(
    func: Any, given: Wide, pad: Any, mode: str = "constant", value: float | None = None
) -> Wide:
    low = None if value is None else 0.0
    return wide(func(given.high, pad, mode, value), func(given.low, pad, mode, low))


def _new(func: Any, given: Wide, *args: Any) -> Wide:
    return wide(func(given.high, *args))


def _assigned(func: Any, given: Wide, index: Any, value: Any) -> None:
    part = _pair(value)
    func(given.high, index, part.high)
    func(given.low, index, part.low)


def _moved(func: Any, given: Wide, *args: Any, **kwargs: Any) -> Any:
    """Do with both parts what moves entries."""
    high, low = (func(part, *args, **kwargs) for part in (given.high, given.low))
    if isinstance(high, torch.Tensor):
        return wide(high, low)
    return tuple(wide(*pair) for pair in zip(high, low, strict=True))


def _joined(func: Any, parts: Any, *args: Any, **kwargs: Any) -> Wide:
    pairs = [_pair(each) for each in parts]
    high, low = (
        func(each, *args, **kwargs)
        for each in ([pair.high for pair in pairs], [pair.low for pair in pairs])
    )
    return wide(high, low)


def _shown(func: Any, given: Wide, **options: Any) -> str:
    del func, options
    return f"Wide(high={given.high!r}, low={given.low!r})"


def _of_high(func: Any, given: Wide, *args: Any) -> Any:
    return func(given.high, *args)


_FORMS: dict[str, Callable[..., Any]] = {
    **{name: _unary(name) for name in _UNARY},
    **{
        form: _binary(name)
        for name in _BINARY
        for form in (name, f"__{name}__", f"__i{name}__", f"{name}_")
    },
    "__truediv__": _binary("div"),
    "__radd__": _binary("add"),
    "__rmul__": _binary("mul"),
    "__rsub__": _binary("sub", swapped=True),
    "rsub": _binary("sub", swapped=True),
    "__rtruediv__": _binary("div", swapped=True),
    "__rdiv__": _binary("div", swapped=True),
    "square": _square,
    "square_": _square,
    "sin_": _unary("sin"),
    "neg": _negated,
    "__neg__": _negated,
    "sum": _sum,
    "amax": _greatest,
    "clamp": _between,
    "clamp_min": _at_least,
    "clamp_max": _at_most,
    "gt": _above,
    "__gt__": _above,
    "where": _chosen,
    "masked_fill": _filled,
    "pad": _padded,
    "_pad": _padded,
    "new_zeros": _new,
    "new_full": _new,
    "cat": _joined,
    "stack": _joined,
    "__setitem__": _assigned,
    "__repr__": _shown,
    **dict.fromkeys(
        (
            *(
                "reshape",
                "view",
                "flatten",
                "unflatten",
                "permute",
                "transpose",
                "movedim",
                "expand",
            ),
            *("unsqueeze", "squeeze", "select", "__getitem__", "contiguous", "clone", "split"),
            *("chunk", "unbind", "narrow", "roll", "repeat"),
            *("repeat_interleave", "flip", "as_strided", "mT", "T"),
        ),
        _moved,
    ),
    **dict.fromkeys(
        ("shape", "ndim", "dtype", "device", "dim", "size", "stride", "numel", "__len__"), _of_high
    ),
}
"""By the name of a function, method or attribute of torch."""
