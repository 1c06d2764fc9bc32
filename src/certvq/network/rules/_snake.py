"""Snake, ``x + b sin(a x)^2``, as one operator.

In: arguments. Out: values with bounds. Models have b = 1 / a, or 1 / (a + 1e-9). Taken apart, the
rules of its parts give slopes of up to 3; its own is at most 2 (`snake_lipschitz`). With another b,
``x + b sin(a x)^2 = (1 - a b) x + a b (x + sin(a x)^2 / a)`` has a slope of at most ``|1 - a b| +
2 |a b|``. Within e of x', the slope ``1 + a b sin(2 a x)`` is also at most ``1 + 2 |a b| (|sin(a
x')| + |a| e)``, on paper; the lesser of both counts.
"""

from collections.abc import Iterable

import numpy as np
import torch

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network._bounded import Bounded, broadcast_error, magnitude, whole_norm
from certvq.network._bounds import FLOOR, enlargement, library_error
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

STEEPEST = 2.0
"""Slope of ``x + sin(a x)^2 / a`` (`snake_lipschitz`)."""


class Snake(Rule):
    """``x + b sin(a x)^2``, a an exact number."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Spread the error by the slope, and add the error of b and all roundings (`ax_sin`).

        Of the vector at a place, with S its greatest sine, the angles ``a x`` err by ``u |a x|``
        (in pairs twice that, as the sine may) and the sines by at most that and the axiom,
        together O. Then ``b sin^2`` errs by ``|b| (2 S + O)`` times that, and by ``4 u |b| S^2``.
        """
        given, axis = arguments["self"], arguments["self"].axis
        a, b = (_widened(arguments[name], given.value.ndim) for name in ("a", "b"))
        sine = (a.value * given.value).sin_()
        unit = rounding(sine)
        turn = 2.0 * unit if isinstance(sine, Wide) else unit
        most = sizes(sine) if axis is None else _farthest(nearest(sine), axis) * enlargement(2)
        library = library_error(sine) * most + FLOOR
        value = sine.square_().mul_(b.value).add_(given.value)
        signed = nearest(a.value) * nearest(b.value)
        product, rates = signed.abs(), _greatest(sizes(a.value), axis)
        lengths = magnitude(given.value, axis)
        off = turn * rates * lengths + library
        spread = sizes(a.value) * b.error + 8.0 * UNIT_ROUNDOFF * (1.0 + product)
        steep = (1.0 - signed).abs() + STEEPEST * product + 3.0 * spread
        near = most + off + rates * given.error
        near = 1.0 + 2.0 * _greatest(product + spread, axis) * near * enlargement(16)
        slope = torch.minimum(_greatest(steep, axis), near)
        factors = b.value if axis is None else b.value.expand(_column(b.value, value, axis))
        factors = magnitude(factors, axis)
        angles = turn * _greatest(product, axis) * lengths
        local = (2.0 * most + off) * (angles + library * factors)
        local = local + 4.0 * unit * most.square() * factors
        local = local + broadcast_error(b, tuple(value.shape), axis)
        local = local + unit * magnitude(value, axis)
        local = local * enlargement(16) + FLOOR
        error = (slope * given.error + local) * enlargement(8)
        if given.whole is None:
            return Bounded(value, error, axis)
        steepest = slope.expand(len(value), *slope.shape[1:]).flatten(1).amax(1)
        whole = steepest * given.whole + whole_norm(local, axis, tuple(value.shape))
        return Bounded(value, error, axis, whole * enlargement(8))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries, and all of a and b."""
        yield arguments["self"], mask
        for name in ("a", "b"):
            yield arguments[name], np.ones(arguments[name].shape, bool)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """The same entries."""
        del shape
        return entrywise(arguments, region)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Compute the formula."""
        names = ("self", "a", "b")
        x, a, b = (np.broadcast_to(arguments[name], mask.shape)[mask] for name in names)
        sines = ((p * v).sin() for v, p in zip(x, a, strict=True))  # a ball around 0 has no ** 2
        entries = (v + q * (sine * sine) for v, q, sine in zip(x, b, sines, strict=True))
        return tensor_entries(mask, entries)


def _widened(bounded: Bounded, axes: int) -> Bounded:
    """Return numbers of as many axes, and the bounds of their entries."""
    shape = (1,) * (axes - bounded.value.ndim) + tuple(bounded.value.shape)
    error = bounded.error.expand(bounded.value.shape)
    return Bounded(bounded.value.reshape(shape), error.reshape(shape), None)


def _greatest(sizes: torch.Tensor, axis: int | None) -> torch.Tensor:
    return sizes if axis is None else sizes.amax(axis, keepdim=True)


def _farthest(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the greatest sizes along an axis, of which no array of all sizes is made."""
    least, most = torch.aminmax(values, dim=axis, keepdim=True)
    return torch.maximum(most, -least)


def _column(given: torch.Tensor, value: torch.Tensor, axis: int) -> list[int]:
    """Return the shape of numbers that are repeated along the axis of a value."""
    return [value.shape[axis] if place == axis else size for place, size in enumerate(given.shape)]


SNAKE = "snake"

RULES: dict[str, Rule] = {SNAKE: Snake()}
"""Of no operator of torch: `certvq.network._fused` finds it in a graph."""
