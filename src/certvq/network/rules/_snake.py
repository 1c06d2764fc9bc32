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
from certvq.network._bounded import Bounded, broadcast_error, magnitude
from certvq.network._bounds import FLOOR, LIBRARY_ERROR, enlargement
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule, tensor_entries

STEEPEST = 2.0
"""Slope of ``x + sin(a x)^2 / a`` (`snake_lipschitz`)."""


class Snake(Rule):
    """``x + b sin(a x)^2``, a an exact number."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Spread the error by the slope, and add the error of b and all roundings (`ax_sin`)."""
        given, a, b = arguments["self"], arguments["a"].value, arguments["b"]
        angle = a * given.value
        sine = torch.sin(angle)
        off = UNIT_ROUNDOFF * angle.abs() + LIBRARY_ERROR * sine.abs() + FLOOR  # of the sine
        value = given.value + b.value * sine.square()
        product = a * b.value
        spread = a.abs() * b.error + 4.0 * UNIT_ROUNDOFF * (1.0 + product.abs())
        most = (1.0 - product).abs() + STEEPEST * product.abs() + 3.0 * spread
        near = 1.0 + 2.0 * (product.abs() + spread) * (sine.abs() + off + a.abs() * given.error)
        slope = torch.minimum(most, near * enlargement(16))
        slope = slope if given.axis is None else slope.amax(given.axis, keepdim=True)
        squared = off * (2.0 * sine.abs() + off) + 4.0 * UNIT_ROUNDOFF * sine.square()
        lost = b.value.abs() * squared
        shape = tuple(value.shape)
        error = slope * given.error + magnitude(lost, given.axis)
        error = error + broadcast_error(b, shape, given.axis)
        error = error + UNIT_ROUNDOFF * magnitude(value, given.axis)
        return Bounded(value, error * enlargement(8) + FLOOR, given.axis)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries, and all of a and b."""
        yield arguments["self"], mask
        for name in ("a", "b"):
            yield arguments[name], np.ones(arguments[name].shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Compute the formula."""
        names = ("self", "a", "b")
        x, a, b = (np.broadcast_to(arguments[name], mask.shape)[mask] for name in names)
        sines = ((p * v).sin() for v, p in zip(x, a, strict=True))  # a ball around 0 has no ** 2
        entries = (v + q * (sine * sine) for v, q, sine in zip(x, b, sines, strict=True))
        return tensor_entries(mask, entries)


SNAKE = "snake"

RULES: dict[str, Rule] = {SNAKE: Snake()}
"""Of no operator of torch: `certvq.network._fused` finds it in a graph."""
