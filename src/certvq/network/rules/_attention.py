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

import numpy as np
import torch

from certvq.bounds import UNIT_ROUNDOFF, gamma
from certvq.network._bounded import Bounded, along, entry_errors
from certvq.network._bounds import FLOOR, LIBRARY_ERROR, enlargement, norm_upper
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network.rules._arithmetic import narrowed
from certvq.network.rules._masks import at_place, keys_of, refusal_of_mask
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule


class MatrixProduct(Rule):
    """``A B`` along the last two axes; axes before them are broadcast."""

    rational = True

    def refusal(self, arguments: Arguments) -> str:
        """Refuse vectors."""
        shapes = [each.shape for each in arguments.values()]
        return "" if min(map(len, shapes)) > 1 else f"of a vector, of shapes {shapes}"

    def bounded(self, arguments: Arguments) -> Bounded:
        """Multiply; errors of rows stay those of rows, others become those of entries."""
        left, right = arguments.values()
        value = left.value @ right.value
        terms, last = left.value.shape[-1], value.ndim - 1
        left = along(left, left.value.ndim - 1)
        sizes, own = norm_upper(left.value, (left.value.ndim - 1,)), left.error
        rounding = gamma(terms + 2) * sizes
        rows = right.axis == right.value.ndim - 1
        right = right if rows else along(right, right.value.ndim - 2)
        if rows:
            whole = norm_upper(right.value, (right.value.ndim - 2, right.value.ndim - 1))
            spread = norm_upper(right.error, (right.value.ndim - 2,))
            error = (own + rounding) * whole + left.value.abs() @ right.error + own * spread
        else:
            columns = norm_upper(right.value, (right.value.ndim - 2,))
            error = (own + rounding) * columns + (sizes + own) * right.error
        return Bounded(value, error * enlargement(terms + 8) + FLOOR, last if rows else None)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its row and its column."""
        left, right = arguments.values()
        terms, before = left.shape[-1], mask.shape[:-2]
        rows = np.broadcast_to(mask.any(-1, keepdims=True), (*before, mask.shape[-2], terms))
        columns = np.broadcast_to(mask.any(-2, keepdims=True), (*before, terms, mask.shape[-1]))
        yield left, narrowed(rows, left.shape)
        yield right, narrowed(columns, right.shape)

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

    def bounded(self, arguments: Arguments) -> Bounded:
        """The bound of the theorem, for the Euclidean norm of the weights' errors."""
        given: Bounded = arguments["self"]
        axis = arguments["dim"] % given.value.ndim
        errors = entry_errors(given).amax(axis, keepdim=True)
        weights, error = _weights(given.value, errors, axis)
        return Bounded(weights, error, axis)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """A weight needs all logits."""
        yield (
            arguments["self"],
            np.broadcast_to(mask.any(arguments["dim"], keepdims=True), mask.shape),
        )

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
        last, dim = query.value.ndim - 1, query.value.shape[-1]
        given = arguments.get("scale")
        scale = 1.0 / math.sqrt(dim) if given is None else given
        sizes = norm_upper(query.value, (last,))
        longest, off = (_greatest(each) for each in (norm_upper(key.value, (last,)), key.error))
        rounding = gamma(dim + 8) * sizes * longest  # of the sum, and of the scale
        error = sizes * off + query.error * (longest + off) + rounding
        error = error * abs(scale) * enlargement(8)
        keys = keys_of(arguments, query.value.shape[-2], key.value.shape[-2])
        logits = keys.raised((query.value @ key.value.mT) * scale)
        near = keys.near
        if keys.added is not None:  # one more rounding
            error = error + UNIT_ROUNDOFF * _largest(logits, near)
        most = (sizes + query.error) * (longest + off) * abs(scale) * enlargement(8)
        weights, error = _weights(logits, error, last, near)
        result = weights @ value.value
        whole = _greatest(norm_upper(value.value, (last,)))
        error = error + gamma(weights.shape[-1] + 8) + keys.tail(most)
        error = error * whole + _greatest(value.error)
        return Bounded(result, error * enlargement(8) + FLOOR, last)

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


def _largest(logits: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the greatest size of the logits that count, (..., queries, 1)."""
    return logits.masked_fill(~kept, 0.0).abs().amax(-1, keepdim=True)


def _greatest(sizes: torch.Tensor) -> torch.Tensor:
    """Return the greatest of bounds (..., places, 1)."""
    return sizes.amax(-2, keepdim=True)


def _weights(
    logits: torch.Tensor, error: torch.Tensor, axis: int, kept: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute softmax, and bound the sum of the absolute errors of its weights.

    The greatest logit is taken away first, which changes no weight over the real numbers; the
    difference rounds. The quotient errs by the axiom twice (`ax_exp`), a sum and a quotient.

    Args:
        logits: in float64.
        error: bounds of them, of size 1 along the axis.
        axis: of the weights.
        kept: which logits count, or None for all.
    """
    if kept is not None:
        logits = logits.masked_fill(~kept, -math.inf)
    shifted = logits - logits.amax(axis, keepdim=True)
    near, far = (
        shifted.masked_fill(shifted <= least, 0.0).abs().amax(axis, keepdim=True)
        for least in (_FAR, -math.inf)
    )
    farthest = torch.where(error + UNIT_ROUNDOFF * far < -_FAR / 4, near, far)
    powers = torch.exp(shifted)
    weights = powers / powers.sum(axis, keepdim=True)
    relative = 2.0 * LIBRARY_ERROR + gamma(logits.shape[axis] + 8)
    error = error + UNIT_ROUNDOFF * farthest + relative
    return weights, error * enlargement(8) + FLOOR


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
