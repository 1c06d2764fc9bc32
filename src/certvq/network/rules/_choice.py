"""One of two numbers, entry by entry: the greater, the lesser, or as a constant mask says.

In: arguments. Out: values with bounds. None of these rounds. Where vectors of channels are mixed,
the errors of both count.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from certvq.network._bounded import Bounded, along, broadcast_error, common_axis, entry_errors
from certvq.network._bounds import enlargement
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network.rules._arithmetic import lifted, multiplied, narrowed
from certvq.network.rules._pointwise import Sigmoid
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule, tensor_entries
from certvq.network.rules._shapes import Moving, follow_nothing


def _mixed(value: torch.Tensor, left: Bounded, right: Bounded) -> Bounded:
    shape = tuple(value.shape)
    axis = common_axis([left, right], shape)
    errors = [broadcast_error(each, shape, axis) for each in (left, right)]
    if axis is None:
        return Bounded(value, torch.maximum(*errors).expand(shape), None)
    return Bounded(value, errors[0] + errors[1], axis)


class Extremum(Rule):
    """The greater or the lesser of two numbers.

    Args:
        sign: 1 for the greater, -1 for the lesser.
    """

    rational = True

    def __init__(self, sign: int) -> None:
        self._sign = sign

    def bounded(self, arguments: Arguments) -> Bounded:
        """Compare without rounding."""
        left, right = arguments["self"], arguments["other"]
        greater = torch.maximum if self._sign > 0 else torch.minimum
        return _mixed(greater(left.value, right.value), left, right)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Each entry needs one of either operand."""
        for name in ("self", "other"):
            yield arguments[name], narrowed(mask, arguments[name].shape)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Compare the numbers."""
        pair = (np.broadcast_to(arguments[name], mask.shape)[mask] for name in ("self", "other"))
        entries = (
            numbers.greater(a, b) if self._sign > 0 else -numbers.greater(-a, -b)
            for a, b in zip(*pair, strict=True)
        )
        return tensor_entries(mask, entries)


class Choice(Rule):
    """One of two numbers, as a constant mask says; minus infinity may be one, before a softmax.

    Args:
        mask: the name of the mask; it is first, and where it is true the first operand counts.
        names: of the operands.
    """

    def __init__(self, mask: str, names: tuple[str, str]) -> None:
        self._mask, self._names = mask, names

    def refusal(self, arguments: Arguments) -> str:
        """Refuse masks that depend on the input."""
        if not isinstance(arguments[self._mask], torch.Tensor):
            return f"with a {self._mask} that is computed of floats"
        return ""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Take over value and error."""
        chosen = arguments[self._mask]
        left, right = lifted([arguments[name] for name in self._names])
        value = torch.where(chosen, left.value, right.value)
        shape = tuple(value.shape)
        axis = common_axis([left, right], shape)
        if axis is None:
            errors = (broadcast_error(each, shape, None) for each in (left, right))
            return Bounded(value, torch.where(chosen, *errors).expand(shape), None)
        return _mixed(value, left, right)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Each entry needs one of the operand that counts."""
        chosen = np.broadcast_to(arguments[self._mask].numpy(), mask.shape)
        for name, counts in zip(self._names, (chosen, ~chosen), strict=True):
            operand = arguments[name]
            if isinstance(operand, Ref):
                yield operand, narrowed(mask & counts, operand.shape)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Take over the numbers."""
        chosen = np.broadcast_to(arguments[self._mask].numpy(), mask.shape)[mask]
        left, right = (_objects(numbers, arguments[name], mask) for name in self._names)
        entries = (a if first else b for first, a, b in zip(chosen, left, right, strict=True))
        return tensor_entries(mask, entries)


def _objects(numbers: Numbers, operand: Any, mask: Mask) -> Objects:
    if isinstance(operand, np.ndarray):
        return np.broadcast_to(operand, mask.shape)[mask]
    return np.full(int(mask.sum()), numbers.number(float(operand)), object)


class LearnedSlope(Rule):
    """``x if x > 0 else w x`` with a number w, or one for each channel."""

    rational = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """Add both errors: one of entries above 0, the other of those below."""
        given, weight = along(arguments["self"], 1), _of_channels(arguments)
        below = multiplied(given, weight)
        value = torch.where(given.value > 0, given.value, below.value)
        return Bounded(value, (given.error + below.error) * enlargement(1), 1)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries, and all of w."""
        yield arguments["self"], mask
        yield arguments["weight"], np.ones(arguments["weight"].shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Compare with 0."""
        weight = arguments["weight"].reshape(-1, *(1,) * (mask.ndim - 2))
        pairs = zip(arguments["self"][mask], np.broadcast_to(weight, mask.shape)[mask], strict=True)
        entries = (numbers.choose(x, lambda x=x: x, lambda x=x, w=w: x * w) for x, w in pairs)
        return tensor_entries(mask, entries)


def _of_channels(arguments: Arguments) -> Bounded:
    weight: Bounded = arguments["weight"]
    shape = (-1,) + (1,) * (arguments["self"].value.ndim - 2)
    return Bounded(weight.value.reshape(shape), entry_errors(weight).reshape(shape), None)


class Gated(Rule):
    """``a sigmoid(b)`` of the halves a and b along an axis (GLU)."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Multiply the halves."""
        left, right = (each.bounded(arguments) for each in _HALVES)
        return multiplied(left, _SIGMOID.bounded({"self": right}))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Each entry needs one of either half."""
        for each in _HALVES:
            yield from each.needs(arguments, mask)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Multiply the numbers."""
        left, right = (each.exact(numbers, arguments, mask)[mask] for each in _HALVES)
        entries = (
            a * _SIGMOID.entry(numbers, b, arguments) for a, b in zip(left, right, strict=True)
        )
        return tensor_entries(mask, entries)


_SIGMOID = Sigmoid()
_HALVES = tuple(
    Moving(lambda t, a, half=half: t.chunk(2, a["dim"])[half], follow_nothing) for half in (0, 1)
)

RULES: dict[str, Rule] = {
    "glu.default": Gated(),
    "masked_fill.Scalar": Choice("mask", ("value", "self")),
    "maximum.default": Extremum(1),
    "minimum.default": Extremum(-1),
    "prelu.default": LearnedSlope(),
    "where.Scalar": Choice("condition", ("self", "other")),
    "where.ScalarOther": Choice("condition", ("self", "other")),
    "where.ScalarSelf": Choice("condition", ("self", "other")),
    "where.self": Choice("condition", ("self", "other")),
}
