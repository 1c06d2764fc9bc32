"""Products of two computed matrices, softmax, and attention.

In: arguments. Out: values with bounds. The real functions: ``A B``; ``softmax(x)_k = exp(x_k) /
sum_j exp(x_j)``; attention ``softmax(scale Q K^T) V`` with ``scale = 1 / sqrt(dim)`` unless another
is given, where a mask leaves out keys or raises logits (`certvq.network.rules._masks`).

A product errs by ``|a| f + e |b| + e f`` for a row of A with error e and a column of B with error f
(`product_error_le` for dot products). Softmax errs by at most e, the greatest error of its logits,
in the sum of the absolute errors of its weights (`softmax_error_le`). So attention errs by ``e
max_j |v_j|``, and by the greatest error of a value, as weights over the real numbers add up to 1.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network._bounded import Bounded, along, entry_errors, whole_error, whole_norm
from certvq.network._bounds import (
    FLOOR,
    NORM_FLOOR,
    absolute_norm_upper,
    enlargement,
    library_error,
    norm_upper,
    spectral_norm_upper,
)
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Part, Region, narrowed_region, whole, with_axes
from certvq.network._wide import Wide, nearest, rest, rounding, sizes, wide
from certvq.network.rules._arithmetic import most_of_first, multiplied, narrowed
from certvq.network.rules._masks import Keys, at_place, keys_of, refusal_of_mask
from certvq.network.rules._products import Rounding, matrix_product
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule


class MatrixProduct(Rule):
    """``A B`` along the last two axes; axes before them are broadcast."""

    rational = True
    mixing = True

    def refusal(self, arguments: Arguments) -> str:
        """Refuse vectors."""
        shapes = [each.shape for each in arguments.values()]
        return "" if min(map(len, shapes)) > 1 else f"of a vector, of shapes {shapes}"

    def bounded(self, arguments: Arguments) -> Bounded:
        """Multiply; errors of rows stay those of rows, others become those of entries."""
        left, right = arguments.values()
        value, lost = matrix_product(left.value, right.value)
        terms, last = left.value.shape[-1], value.ndim - 1
        left = along(left, left.value.ndim - 1)
        lengths, own = norm_upper(left.value, (left.value.ndim - 1,)), left.error
        given = own + lost.relative * lengths
        rows = right.axis == right.value.ndim - 1
        right = right if rows else along(right, right.value.ndim - 2)
        if rows:
            whole = norm_upper(right.value, (right.value.ndim - 2, right.value.ndim - 1))
            spread = norm_upper(right.error, (right.value.ndim - 2,))
            error = given * whole + sizes(left.value) @ right.error + own * spread
            error = error + lost.of_vectors(last, value.shape[last])
        else:
            columns = norm_upper(right.value, (right.value.ndim - 2,))
            error = given * columns + (lengths + own) * right.error + lost.absolute
        error = error * enlargement(terms + 8) + FLOOR
        whole = _whole_product(left, right, value, lost)
        return Bounded(value, error, last if rows else None, whole)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its row and its column."""
        left, right = arguments.values()
        terms, before = left.shape[-1], mask.shape[:-2]
        rows = np.broadcast_to(mask.any(-1, keepdims=True), (*before, mask.shape[-2], terms))
        columns = np.broadcast_to(mask.any(-2, keepdims=True), (*before, terms, mask.shape[-1]))
        yield left, narrowed(rows, left.shape)
        yield right, narrowed(columns, right.shape)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """Cut the rows, and the axes before them."""
        first, second = arguments
        left, right = arguments.values()
        before = region[:-2]
        rows = (*narrowed_region(before, left.shape[:-2]), region[-2], (0, left.shape[-1]))
        others = (*narrowed_region(before, right.shape[:-2]), *whole(right.shape[-2:]))
        changed = {**arguments, first: Part(left, rows), second: Part(right, others)}
        return changed, with_axes(region, shape, len(shape) - 1)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Multiply the rows and columns that are needed."""
        before = mask.shape[:-2]
        left, right = (
            np.broadcast_to(each, (*before, *each.shape[-2:])) for each in arguments.values()
        )
        result = np.empty(mask.shape, object)
        for place in np.ndindex(before):
            rows, columns = mask[place].any(1), mask[place].any(0)
            if rows.any():
                product = numbers.matmul(left[place][rows], right[place][:, columns])
                result[place][np.ix_(rows, columns)] = product
        return result


class Softmax(Rule):
    """``exp(x_k) / sum_j exp(x_j)`` along an axis."""

    mixing = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """The bound of the theorem, for the Euclidean norm of the weights' errors."""
        given: Bounded = arguments["self"]
        axis = arguments["dim"] % given.value.ndim
        errors = entry_errors(given).amax(axis, keepdim=True)
        weights, error, slope, local = _weights(given.value, errors, axis)
        if given.whole is None or axis == 0:
            return Bounded(weights, error, axis)
        whole = most_of_first(slope, slope.ndim) * given.whole
        whole = whole + whole_norm(local, axis, tuple(weights.shape))
        return Bounded(weights, error, axis, whole * enlargement(4))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """A weight needs all logits."""
        yield (
            arguments["self"],
            np.broadcast_to(mask.any(arguments["dim"], keepdims=True), mask.shape),
        )

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """Rows need themselves."""
        axis = arguments["dim"] % len(shape)
        part = Part(arguments["self"], (*region[:axis], (0, shape[axis]), *region[axis + 1 :]))
        return {**arguments, "self": part}, part.region

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Divide by the sum, row by row."""
        axis = arguments["dim"]
        result = np.empty(mask.shape, object)
        rows = np.moveaxis(result, axis, -1)
        needed = np.moveaxis(mask, axis, -1).any(-1)
        rows[needed] = _exact_weights(np.moveaxis(arguments["self"], axis, -1)[needed])
        return result


class Attention(Rule):
    """``softmax(scale Q K^T) V``, for (..., places, dim)."""

    mixing = True

    def refusal(self, arguments: Arguments) -> str:
        """Refuse dropout, masks that are not constant, and heads that are shared."""
        if arguments.get("dropout_p"):
            return f"with dropout_p={arguments['dropout_p']}"
        first, *others = (arguments[name].shape[:-2] for name in ("query", "key", "value"))
        if any(each != first for each in others):
            return f"of queries, keys and values with other axes before the last two, {first}"
        return refusal_of_mask(arguments)

    def bounded(self, arguments: Arguments) -> Bounded:
        """Add up the errors of logits, weights and values, all of vectors along the last axis."""
        query, key, value = (
            along(arguments[name], arguments[name].value.ndim - 1)
            for name in ("query", "key", "value")
        )
        query = multiplied(query, _scale(arguments, query.value))
        last = query.value.ndim - 1
        queries, count = query.value.shape[-2], key.value.shape[-2]
        keys = keys_of(arguments, queries, count)
        masked = arguments.get("is_causal") or arguments.get("attn_mask") is not None
        width = max(1, _AT_ONCE // max(1, math.prod(key.value.shape[:-1])))
        parts = [
            _attended(_rows(query, part), key, value, keys.of_queries(part), masked=masked)
            for part in (slice(i, i + width) for i in range(0, max(1, queries), width))
        ]
        joined = {
            each.name: torch.cat([getattr(part, each.name) for part in parts], last - 1)
            for each in fields(_Attended)
        }
        found = _Attended(**joined)
        result = found.value
        if all(each.whole is None for each in (query, key, value)) or last < 2:
            return Bounded(result, found.error, last)
        of_query, of_key, of_value = (
            whole_error(each, tuple(each.value.shape)) for each in (query, key, value)
        )
        spread = of_query * (_centred_norms(key.value) + of_key)
        spread = spread + _matrix_norms(query.value) * of_key
        spread = spread + found.relative.amax() * _all(query.value) * _all(key.value)
        logits = (*result.shape[:-1], count)
        spread = (spread + whole_norm(found.logits, last, logits)) * enlargement(8)
        turned = most_of_first(found.slope, found.slope.ndim) * spread
        turned = turned * (_centred_norms(value.value) + of_value)
        rows = most_of_first(found.sums, found.sums.ndim) * enlargement(count)
        columns = found.columns.sum(-2, keepdim=True)
        columns = most_of_first(columns, columns.ndim) * enlargement(queries)
        across = (rows * columns).sqrt() * enlargement(4) + NORM_FLOOR
        off = whole_norm(found.weights, last, logits) + found.after.amax() * across
        whole = across * of_value + turned + off * (_all(value.value) + of_value)
        whole = whole + whole_norm(found.lost, last, tuple(result.shape))
        return Bounded(result, found.error, last, whole * enlargement(16) + FLOOR)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its query, and the keys and values that count for it."""
        query, key = arguments["query"], arguments["key"]
        rows = mask.any(-1, keepdims=True)
        yield query, np.broadcast_to(rows, query.shape)
        shape = (*key.shape[:-2], query.shape[-2], key.shape[-2])
        kept = keys_of(arguments, *shape[-2:]).kept.broadcast_to(shape).numpy()
        used = (kept & rows).any(-2, keepdims=True).swapaxes(-2, -1)
        for name in ("key", "value"):
            ref: Ref = arguments[name]
            yield ref, np.broadcast_to(used, ref.shape)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region] | None:
        """Cut the axes before places; a mask must be the same for all of these."""
        mask = arguments.get("attn_mask")
        if mask is not None and any(size != 1 for size in mask.shape[:-2]):
            return None
        axes = len(shape) - 2
        parts: dict[str, Any] = {}
        for name in ("query", "key", "value"):
            ref: Ref = arguments[name]
            parts[name] = Part(ref, with_axes(region, ref.shape, axes))
        return {**arguments, **parts}, with_axes(region, shape, axes)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Compute the formula for the queries that are needed."""
        query, key, value = (arguments[name] for name in ("query", "key", "value"))
        root = numbers.number(float(query.shape[-1])).sqrt()
        given = arguments.get("scale")
        scale = 1 / root if given is None else numbers.number(given)
        keys = keys_of(arguments, query.shape[-2], key.shape[-2])
        result = np.empty(mask.shape, object)
        for place in np.ndindex(mask.shape[:-2]):
            rows = np.asarray(mask[place].any(-1))
            if rows.any():
                kept = at_place(keys.kept, place, (len(rows), key.shape[-2]))
                used = kept[rows].any(0)
                part = np.full((len(rows), key.shape[-2]), numbers.number(0.0), object)
                products = numbers.matmul(query[place][rows], key[place][used].T) * scale
                part[np.ix_(rows, used)] = products
                logits = keys.raised_objects(numbers, part, place)[rows][:, used]
                weights = _exact_weights(logits, kept[rows][:, used], numbers.number(0.0))
                result[place][rows] = numbers.matmul(weights, value[place][used])
        return result


_AT_ONCE = 1 << 17
"""Weights that are worked on at a time: 1 MiB, to stay in cache. Chosen."""


@dataclass(frozen=True)
class _Attended:
    """What becomes of some queries, (..., queries, n); n is 1 unless it is said.

    Attributes:
        value: n is that of a value.
        error: of the vectors.
        logits: what is lost by all logits of a query, in the norm; besides what is `relative`.
        relative: of the sizes of query and key, (1, 1) but for axes before.
        slope: takes the norm of the errors of logits to that of the weights.
        weights: what is added to that norm by rounding.
        sums: of the weights.
        columns: sums of the weights of each key over the queries, of which there is one.
        after: what the product with the values loses in proportion, as `relative`.
        lost: by vectors, besides.
    """

    value: torch.Tensor
    error: torch.Tensor
    logits: torch.Tensor
    relative: torch.Tensor
    slope: torch.Tensor
    weights: torch.Tensor
    sums: torch.Tensor
    columns: torch.Tensor
    after: torch.Tensor
    lost: torch.Tensor


def _rows(query: Bounded, part: slice) -> Bounded:
    """Return some queries."""
    return Bounded(query.value[..., part, :], query.error[..., part, :], query.axis)


def _attended(
    query: Bounded, key: Bounded, value: Bounded, keys: Keys, *, masked: bool
) -> _Attended:
    last = query.value.ndim - 1
    lengths = norm_upper(query.value, (last,))
    longest, off = (_greatest(each) for each in (norm_upper(key.value, (last,)), key.error))
    logits, lost = matrix_product(query.value, key.value.mT)
    error = lengths * off + query.error * (longest + off) + lost.absolute
    error = (error + lost.relative * lengths * longest) * enlargement(8)
    raised = keys.raised(logits)
    added = torch.zeros((), dtype=torch.float64)
    if keys.added is not None:  # one more rounding
        added = rounding(raised) * _largest(raised, keys.near)
    most = (lengths + query.error) * (longest + off) * enlargement(8)
    tail = keys.tail(most)
    kept = keys.near if masked else None
    weights, error, slope, local = _weights(raised, error + added, last, kept)
    result, after = matrix_product(weights, value.value)
    shares, terms, relative = nearest(weights), weights.shape[-1], after.relative
    relative = relative + rounding(result, 8)
    longest = _greatest(norm_upper(value.value, (last,)) + value.error)
    error = (error + relative + tail) * longest + shares @ value.error
    lost_rows = after.of_vectors(last, result.shape[last])
    error = (error + lost_rows) * enlargement(terms + 8) + FLOOR
    own = lost.of_vectors(-1, terms) + added * math.sqrt(terms)
    ones, one = (*result.shape[:-1], 1), error.new_ones((*result.shape[:-2], 1, 1))
    return _Attended(
        result,
        error,
        (own * enlargement(4)).expand(ones),
        one * lost.relative,
        slope,
        local + tail,
        shares.sum(-1, keepdim=True),
        shares.sum(-2, keepdim=True),
        one * relative,
        lost_rows.expand(ones),
    )


def _scale(arguments: Arguments, like: torch.Tensor) -> Bounded:
    """Return what queries are multiplied by; the root and its quotient round."""
    given = arguments.get("scale")
    number = torch.tensor(float(like.shape[-1] if given is None else given), dtype=torch.float64)
    number = wide(number) if isinstance(like, Wide) else number
    if given is not None:
        return Bounded(number, torch.zeros_like(nearest(number)), None)
    value = 1.0 / number.sqrt()
    return Bounded(value, rounding(value, 4) * sizes(value), None)


def _whole_product(
    left: Bounded, right: Bounded, value: torch.Tensor, lost: Rounding
) -> torch.Tensor | None:
    """Bound the norms (B,) of all errors of a product, if both have matrices for each entry."""
    shape = tuple(value.shape[:-2])
    if (left.whole is None and right.whole is None) or not shape:
        return None
    first, second = (whole_error(each, (*shape, *each.value.shape[-2:])) for each in (left, right))
    both = [each.value.expand(*shape, *each.value.shape[-2:]) for each in (left, right)]
    before, after = map(_matrix_norms, both)
    whole = first * (after + second) + before * second + _whole_lost(lost, value)
    whole = whole + lost.relative * _absolute_norms(both[0]) * _all(both[1])
    return whole * enlargement(8) + FLOOR


def _whole_lost(lost: Rounding, product: torch.Tensor) -> torch.Tensor:
    """Bound the norms (B,) of all that products of matrices lose absolutely."""
    rows = lost.of_vectors(-1, product.shape[-1])
    return whole_norm(rows, product.ndim - 1, tuple(product.shape))


def _all(value: torch.Tensor) -> torch.Tensor:
    """Bound the norms (B,) of all numbers of each entry of the first axis."""
    return norm_upper(value.flatten(1), (1,)).flatten()


def _matrix_norms(value: torch.Tensor) -> torch.Tensor:
    """Bound the spectral norms of matrices (B, ..., r, c): the greatest of each entry, (B,)."""
    least = torch.minimum(_absolute_norms(value), _all(value))
    if min(value.shape[-2:]) > _NARROW:
        return least
    norms = spectral_norm_upper(nearest(value).reshape(-1, *value.shape[-2:]))
    spectral = norms.reshape(len(value), -1).amax(1) + _all(rest(value))
    return torch.minimum(least, spectral * enlargement(1))


def _centred_norms(value: torch.Tensor) -> torch.Tensor:
    """Bound the spectral norms of matrices (B, ..., r, c) less any row: the mean of their rows.

    Weights add up to 1, also those that err, so that a row which is taken from all values changes
    no error of a mean; and one that is taken from all keys adds a number to all logits of a query.
    """
    high = nearest(value)
    centred = high - high.mean(-2, keepdim=True)
    lost = UNIT_ROUNDOFF * _all(centred) + _all(rest(value))
    return (_matrix_norms(centred) + lost) * enlargement(4)


def _absolute_norms(value: torch.Tensor) -> torch.Tensor:
    matrices = sizes(value).reshape(-1, *value.shape[-2:])
    return absolute_norm_upper(matrices).reshape(len(value), -1).amax(1)


_NARROW = 128
"""Rows or columns up to which a spectral norm costs less than a product. Chosen."""


def _largest(logits: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the greatest size of the logits that count, (..., queries, 1)."""
    return sizes(logits).masked_fill(~kept, 0.0).amax(-1, keepdim=True)


def _greatest(sizes: torch.Tensor) -> torch.Tensor:
    """Return the greatest of bounds (..., places, 1)."""
    return sizes.amax(-2, keepdim=True)


def _weights(
    logits: torch.Tensor, error: torch.Tensor, axis: int, kept: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute softmax, and bound the sum of the absolute errors of its weights.

    The greatest logit is taken away first, which changes no weight over the real numbers; the
    difference rounds. The quotient errs by the axiom twice (`ax_exp`), a sum and a quotient. The
    derivative ``diag(a) - a a^T`` of the weights a is at most 1/2, and at most the greatest weight,
    which grows by at most ``exp(2 e)`` where logits err by e.

    Args:
        logits: in float64.
        error: bounds of them, of size 1 along the axis.
        axis: of the weights.
        kept: which logits count, or None for all.

    Returns:
        The weights; the bounds; a slope that takes the norm of the errors of a row's logits to that
        of its weights; and what rounding adds to that norm. The last three have size 1 along the
        axis.
    """
    near = nearest(logits)
    near = near if kept is None else near.masked_fill(~kept, -math.inf)
    greatest = near.amax(axis, keepdim=True)
    shifted = logits - (wide(greatest) if isinstance(logits, Wide) else greatest)
    if kept is not None:
        shifted = shifted.masked_fill(~kept, -math.inf)
    lowest = nearest(shifted) if kept is None else nearest(shifted).masked_fill(~kept, 0.0)
    # of pairs, the greatest may be left with its low part
    farthest = -lowest.amin(axis, keepdim=True) * (1.0 + 2.0**-51) + 2.0**-52 * greatest.abs()
    if bool((farthest > -_FAR).any()):  # a key that is left out may also have minus infinity
        lengths = sizes(shifted).masked_fill(nearest(shifted) == -math.inf, 0.0)
        far, near = (
            lengths.masked_fill(lengths >= most, 0.0).amax(axis, keepdim=True)
            for most in (math.inf, -_FAR)
        )
        farthest = torch.where(error + rounding(logits) * far < -_FAR / 4, near, far)
    powers = torch.exp(shifted)
    weights = powers / powers.sum(axis, keepdim=True)
    relative = 2.0 * library_error(logits) + rounding(logits, logits.shape[axis] + 8)
    relative = relative + 2.0 * rounding(logits) * farthest
    grown = torch.exp(2.0 * error) * (1.0 + 2.0 * relative) * enlargement(16)
    most = nearest(weights).amax(axis, keepdim=True) * enlargement(logits.shape[axis] + 16)
    slope = (most * grown).clamp_max(0.5)
    # as the weights add up to 1, the sum of their squares is at most the greatest
    local = relative * (most.sqrt() + NORM_FLOOR) * (1.0 + 2.0 * relative) + FLOOR
    return weights, (error + relative) * enlargement(8) + FLOOR, slope, local


def _exact_weights(rows: Objects, kept: np.ndarray | None = None, zero: object = None) -> Objects:
    """Return softmax of each row; logits that are not kept weigh nothing."""
    result = np.empty(rows.shape, object)
    for place, row in enumerate(rows):
        counts = np.ones(len(row), bool) if kept is None else kept[place]
        powers = np.array([each.exp() for each in row[counts]], object)
        result[place] = zero
        result[place, counts] = powers / powers.sum()
    return result


_FAR = -2000.0
"""A logit that is less than the greatest one by more weighs less than 2^-900, computed or not, if
neither errs by more than a quarter of that; what the difference rounds does not count then."""

RULES: dict[str, Rule] = {
    "bmm.default": MatrixProduct(),
    "matmul.default": MatrixProduct(),
    "mm.default": MatrixProduct(),
    "softmax.int": Softmax(),
    "_softmax.default": Softmax(),
    "scaled_dot_product_attention.default": Attention(),
}
