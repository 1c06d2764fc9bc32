"""Sums, means, maxima and Euclidean norms along axes.

In: arguments. Out: values with bounds. A sum of n numbers errs by the sum of their errors; where it
runs along a vector of channels with an error of norm e, by at most ``sqrt(n) e``. A maximum errs by
the greatest error of an entry, and a norm by the norm of the errors.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from certvq.bounds import gamma
from certvq.network._bounded import Bounded, entry_errors, magnitude
from certvq.network._bounds import FLOOR, NORM_FLOOR, enlargement, norm_upper
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule


class Reduction(Rule):
    """One number of all numbers along some axes."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Reduce with axes of size 1, and leave them out afterwards unless they are kept."""
        given: Bounded = arguments["self"]
        axes = _axes(arguments, given.value.ndim)
        found = self.reduced(given, axes)
        if arguments.get("keepdim"):
            return found
        axis = found.axis
        own = None if axis is None else axis - sum(each < axis for each in axes)
        return Bounded(found.value.squeeze(axes), found.error.squeeze(axes), own)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """A number needs all those that it is made of."""
        given: Ref = arguments["self"]
        yield given, np.broadcast_to(self._wide(arguments, given.shape, mask), given.shape)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Reduce the numbers of each result that is needed."""
        given: Objects = arguments["self"]
        axes = _axes(arguments, given.ndim)
        others = [axis for axis in range(given.ndim) if axis not in axes]
        rows = given.transpose(*others, *axes).reshape(*(given.shape[i] for i in others), -1)
        wide = self._wide(arguments, given.shape, mask)
        needed = wide.transpose(*others, *axes).reshape(rows.shape[:-1])
        result = np.empty(needed.shape, object)
        for place in np.ndindex(needed.shape):
            if needed[place]:
                result[place] = self.number(numbers, rows[place])
        return result.reshape(mask.shape)

    def _wide(self, arguments: Arguments, shape: tuple[int, ...], mask: Mask) -> Mask:
        axes = _axes(arguments, len(shape))
        return mask.reshape([1 if i in axes else size for i, size in enumerate(shape)])

    def reduced(self, given: Bounded, axes: tuple[int, ...]) -> Bounded:
        """Reduce with bounds; the axes keep size 1."""
        raise NotImplementedError

    def number(self, numbers: Numbers, entries: Objects) -> Any:
        """Reduce exact numbers."""
        raise NotImplementedError


class Sum(Reduction):
    """The sum, or the mean.

    Args:
        mean: whether it is divided by the count.
    """

    rational = True

    def __init__(self, *, mean: bool = False) -> None:
        self._mean = mean

    def reduced(self, given: Bounded, axes: tuple[int, ...]) -> Bounded:
        """Add, and divide once."""
        shape, axis = given.value.shape, given.axis
        count = math.prod(shape[each] for each in axes)
        divisor = count if self._mean else 1
        value = given.value.sum(axes, keepdim=True) / divisor
        sizes = given.value.abs().sum(axes, keepdim=True)
        if axis in axes:
            others = [each for each in axes if each != axis]
            error = given.error * (math.sqrt(shape[axis]) * enlargement(2))
            error, axis = error.sum(others, keepdim=True) if others else error, None
        else:
            error = given.error.sum(axes, keepdim=True)
            sizes = magnitude(sizes, axis)
        error = (error + gamma(count + 2) * sizes) / divisor
        return Bounded(value, error * enlargement(count + 8) + FLOOR, axis)

    def number(self, numbers: Numbers, entries: Objects) -> Any:
        """Add and divide."""
        total = sum(entries[1:], entries[0])
        return total / numbers.number(float(len(entries))) if self._mean else total


class Maximum(Reduction):
    """The greatest number."""

    rational = True

    def reduced(self, given: Bounded, axes: tuple[int, ...]) -> Bounded:
        """Compare without rounding."""
        errors = entry_errors(given).amax(axes, keepdim=True)
        return Bounded(given.value.amax(axes, keepdim=True), errors, None)

    def number(self, numbers: Numbers, entries: Objects) -> Any:
        """Compare one after another."""
        greatest = entries[0]
        for each in entries[1:]:
            greatest = numbers.greater(greatest, each)
        return greatest


class Norm(Reduction):
    """The Euclidean norm."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse other norms."""
        order = arguments.get("ord", 2)
        return "" if order == 2 else f"with ord={order} (known: 2)"

    def reduced(self, given: Bounded, axes: tuple[int, ...]) -> Bounded:
        """Add squares; the norm of errors bounds the error."""
        over = tuple(each for each in axes if each != given.axis)
        errors = given.error if given.axis in axes else entry_errors(given)
        error = norm_upper(errors, over) if over else errors
        count = math.prod(given.value.shape[each] for each in axes)
        value = given.value.square().sum(axes, keepdim=True).sqrt()
        error = error + gamma(count + 4) * value + NORM_FLOOR
        return Bounded(value, error * enlargement(8), None)

    def number(self, numbers: Numbers, entries: Objects) -> Any:
        """Add squares."""
        total: Any = sum((each * each for each in entries), numbers.number(0.0))
        return total.sqrt()


def _axes(arguments: Arguments, count: int) -> tuple[int, ...]:
    """Return the axes from the front; all where none is named."""
    given = arguments.get("dim")
    if given is None or given == []:
        return tuple(range(count))
    return tuple(sorted(axis % count for axis in (given if isinstance(given, list) else [given])))


RULES: dict[str, Rule] = {
    "amax.default": Maximum(),
    "linalg_vector_norm.default": Norm(),
    "mean.default": Sum(mean=True),
    "mean.dim": Sum(mean=True),
    "sum.default": Sum(),
    "sum.dim_IntList": Sum(),
}
