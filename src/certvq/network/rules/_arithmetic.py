"""Sums, differences, products and quotients, entry by entry.

In: arguments. Out: values with bounds; broadcasting as in torch. Theorems: `sum_error_le`,
`product_error_le`.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network._bounded import (
    Bounded,
    broadcast_error,
    common_axis,
    exact,
    magnitude,
    whole_error,
    whole_norm,
    widened,
)
from certvq.network._bounds import FLOOR, enlargement
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Region
from certvq.network._wide import Wide, nearest, rounding, sizes
from certvq.network.rules._rule import (
    Arguments,
    Mask,
    Objects,
    Rule,
    entrywise,
    tensor_entries,
)


def summed(left: Bounded, right: Bounded, *, sign: int = 1) -> Bounded:
    """Add or subtract: the errors add up, and one rounding (`sum_error_le`)."""
    value = left.value + right.value if sign > 0 else left.value - right.value
    shape = tuple(value.shape)
    axis = common_axis([left, right], shape)
    error = broadcast_error(left, shape, axis) + broadcast_error(right, shape, axis)
    lost = rounding(value) * magnitude(value, axis) + FLOOR
    error = (error + lost) * enlargement(4)
    if left.whole is None and right.whole is None:
        return Bounded(value, error, axis)
    whole = whole_error(left, shape) + whole_error(right, shape)
    whole = whole + whole_norm(lost, axis, shape)
    return Bounded(value, error, axis, whole * enlargement(4))


def multiplied(left: Bounded, right: Bounded) -> Bounded:
    """Multiply entries: ``|x'|_inf f + |y'|_inf e + e f`` and a rounding (`product_error_le`)."""
    value = left.value * right.value
    shape = tuple(value.shape)
    axis = common_axis([left, right], shape)
    first, second = broadcast_error(left, shape, axis), broadcast_error(right, shape, axis)
    most, other = _largest(left.value, shape, axis), _largest(right.value, shape, axis)
    lost = rounding(value) * magnitude(value, axis) + FLOOR
    error = (most * second + other * first + first * second + lost) * enlargement(8)
    if left.whole is None and right.whole is None:
        return Bounded(value, error, axis)
    most, other = (most_of_first(each, len(shape)) for each in (most + first, other))
    whole = most * whole_error(right, shape) + other * whole_error(left, shape)
    whole = whole + whole_norm(lost, axis, shape)
    return Bounded(value, error, axis, whole * enlargement(8))


def _largest(value: torch.Tensor, shape: tuple[int, ...], axis: int | None) -> torch.Tensor:
    """Return the greatest size of the entries of vectors, of size 1 along their axis."""
    if axis is None:
        return sizes(value)
    added = len(shape) - value.ndim
    return sizes(value).reshape((1,) * added + tuple(value.shape)).amax(axis, keepdim=True)


def most_of_first(sizes: torch.Tensor, axes: int) -> torch.Tensor:
    """Return the greatest number of each entry of the first of so many axes, (B,) or (1,)."""
    wide = sizes.reshape((1,) * (axes - sizes.ndim) + tuple(sizes.shape))
    return wide.reshape(len(wide), -1).amax(1) if axes else wide.reshape(1)


def reciprocal(bounded: Bounded) -> Bounded:
    """Invert entries: ``f / (|y'| (|y'| - f))``, or an infinite bound where 0 is possible."""
    error = bounded.error.expand(bounded.value.shape)
    value = 1.0 / bounded.value
    size = nearest(bounded.value).abs() * (1.0 - 2.0 * UNIT_ROUNDOFF)
    least = (size - error) * (1.0 - 4.0 * UNIT_ROUNDOFF)
    spread = error / (least * size) * enlargement(8)
    spread = spread + rounding(value) * sizes(value) + FLOOR
    return Bounded(value, torch.where(least > 0, spread * enlargement(4), torch.inf), None)


def divided(left: Bounded, right: Bounded) -> Bounded:
    """Divide: by an exact number with one rounding, else multiply by the reciprocal."""
    if right.value.numel() == 1 and not right.error.any():
        size = float(nearest(right.value).abs()) * (1.0 - 2.0 * UNIT_ROUNDOFF)
        value = left.value / right.value.reshape(())
        lost = rounding(value) * magnitude(value, left.axis) + FLOOR
        error = (left.error / size + lost) * enlargement(6)
        if left.whole is None:
            return Bounded(value, error, left.axis)
        whole = left.whole / size + whole_norm(lost, left.axis, tuple(value.shape))
        return Bounded(value, error, left.axis, whole * enlargement(6))
    return multiplied(left, reciprocal(right))


def lifted(operands: Sequence[Any]) -> list[Bounded]:
    """Return numbers of the graph as tensors, in pairs if another operand is."""
    numbers = [
        each if isinstance(each, Bounded) else exact(torch.tensor(float(each), dtype=torch.float64))
        for each in operands
    ]
    if any(isinstance(each.value, Wide) for each in numbers):
        return [each if isinstance(each.value, Wide) else widened(each) for each in numbers]
    return numbers


class Arithmetic(Rule):
    """An operator with two operands, either of which may be a number.

    Args:
        bounded: the operator with bounds.
        entry: the operator on numbers.
        swapped: whether the second operand comes first.
    """

    rational = True

    def __init__(
        self,
        bounded: Callable[[Bounded, Bounded], Bounded],
        entry: Callable[[Any, Any], Any],
        *,
        swapped: bool = False,
    ) -> None:
        self._bounded, self._entry, self._swapped = bounded, entry, swapped

    def bounded(self, arguments: Arguments) -> Bounded:
        """Apply the operator with bounds; `alpha` multiplies what is added or taken away."""
        left, right, alpha = lifted([*self._operands(arguments), _alpha(arguments)])
        if _alpha(arguments) != 1:
            right = multiplied(right, alpha)
        return self._bounded(left, right)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Each entry needs one of either operand."""
        for each in self._operands(arguments):
            if isinstance(each, Ref):
                yield each, narrowed(mask, each.shape)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """The same entries."""
        del shape
        return entrywise(arguments, region)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Apply the operator to the numbers."""
        pair = [_objects(numbers, each) for each in self._operands(arguments)]
        left, right = (np.broadcast_to(each, mask.shape)[mask] for each in pair)
        if _alpha(arguments) != 1:
            right = right * numbers.number(_alpha(arguments))
        return tensor_entries(mask, map(self._entry, left, right))

    def _operands(self, arguments: Arguments) -> tuple[Any, Any]:
        first, second = list(arguments.values())[:2]
        return (second, first) if self._swapped else (first, second)


class Unary(Rule):
    """An operator with one operand.

    Args:
        bounded: the operator with bounds.
        entry: the operator on numbers.
    """

    rational = True

    def __init__(self, bounded: Callable[[Bounded], Bounded], entry: Callable[[Any], Any]) -> None:
        self._bounded, self._entry = bounded, entry

    def bounded(self, arguments: Arguments) -> Bounded:
        """Apply the operator with bounds."""
        return self._bounded(arguments["self"])

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries."""
        yield arguments["self"], mask

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """The same entries."""
        del shape
        return entrywise(arguments, region)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Apply the operator to the numbers."""
        return tensor_entries(mask, map(self._entry, arguments["self"][mask]))


class Square(Unary):
    """The second power of an entry (`product_error_le`)."""

    def __init__(self) -> None:
        super().__init__(lambda given: multiplied(given, given), lambda each: each * each)

    def refusal(self, arguments: Arguments) -> str:
        """Refuse other powers."""
        exponent = arguments["exponent"]
        return "" if exponent == 2 else f"with exponent={exponent} (known: 2)"


def narrowed(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Return which entries of a tensor are needed, if it is broadcast to a mask."""
    whole = np.asarray(mask.any(axis=tuple(range(mask.ndim - len(shape)))))
    repeated = tuple(i for i, size in enumerate(shape) if size == 1)
    return np.asarray(whole.any(axis=repeated, keepdims=True))


def _alpha(arguments: Arguments) -> float:
    return float(arguments.get("alpha", 1))


def _objects(numbers: Numbers, operand: Any) -> Objects:
    if isinstance(operand, np.ndarray):
        return operand
    result = np.empty((), object)
    result[()] = numbers.number(float(operand))
    return result


def _negated(given: Bounded) -> Bounded:
    return Bounded(-given.value, given.error, given.axis, given.whole)


def _difference(left: Bounded, right: Bounded) -> Bounded:
    return summed(left, right, sign=-1)


_SUM = Arithmetic(summed, operator.add)
_DIFFERENCE = Arithmetic(_difference, operator.sub)
_PRODUCT = Arithmetic(multiplied, operator.mul)
_QUOTIENT = Arithmetic(divided, operator.truediv)

RULES: dict[str, Rule] = {
    "add.Tensor": _SUM,
    "add.Scalar": _SUM,
    "sub.Tensor": _DIFFERENCE,
    "sub.Scalar": _DIFFERENCE,
    "rsub.Scalar": Arithmetic(_difference, operator.sub, swapped=True),
    "rsub.Tensor": Arithmetic(_difference, operator.sub, swapped=True),
    "mul.Tensor": _PRODUCT,
    "mul.Scalar": _PRODUCT,
    "div.Tensor": _QUOTIENT,
    "div.Scalar": _QUOTIENT,
    "pow.Tensor_Scalar": Square(),
    "square.default": Unary(lambda given: multiplied(given, given), lambda each: each * each),
    "neg.default": Unary(_negated, operator.neg),
    "reciprocal.default": Unary(reciprocal, lambda each: 1 / each),
}
