"""The integral of the normal distribution in pairs, put together from products and sums of pairs.

In: pairs. Out: pairs within an absolute error. ``f(x) = erf(x / sqrt 2)`` is its Taylor series
around the nearest multiple of 1/8, whose coefficients Arb computes once. Must not know operators.
"""

from functools import cache
from typing import Any, Final

import torch

from certvq.network._numbers import FLINT_LOCK, Balls, flint
from certvq.network._wide import Wide, nearest, wide

NORMAL_INTEGRAL_ERROR: Final = 2.0**-95
"""Bound on the absolute error of `normal_integral`.

As ``|He_n(x)| exp(-x^2 / 4) <= 1.09 sqrt(n!)`` (Cramer), ``|f^(n)(c)| / n!`` is below ``0.9 /
sqrt(n!)``. With h of at most 1/16 and a rounding, what the series leaves out is below ``(1/16)^24 /
sqrt(24!)`` < 2^-134. All sums of Horner's rule are below 1.1, and each step but the last is
multiplied by h again, so that its roundings of 2^-100 add up to less than 4 2^-100. h errs by
2^-100 of itself, where the slope is below 0.8; coefficients by 2^-105. Beyond 12.25, f is within
2^-112 of 1."""

_STEPS: Final = 8
_MOST: Final = 12.25
_TERMS: Final = 24
_PRECISION: Final = 400
"""Bits of the balls; the recurrence loses a few dozen of them."""


def normal_integral(given: Wide) -> Wide:
    """Return ``erf(x / sqrt 2)`` of pairs, within `NORMAL_INTEGRAL_ERROR`."""
    inside: Any = given.clamp_max(_MOST).clamp_min(-_MOST)
    place = (nearest(inside) * _STEPS).round().nan_to_num(0.0)
    offset = inside - wide(place / _STEPS)
    row = place.long() + int(_MOST * _STEPS)
    high, low = (part[row] for part in _coefficients()[-1])
    found = wide(high, low)
    for part in _coefficients()[-2::-1]:
        found = found * offset + wide(*(each[row] for each in part))
    return found


@cache
def _coefficients() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return for each power the coefficients of all centres, in pairs.

    ``f' = sqrt(2 / pi) exp(-x^2 / 2)``, and ``f^(n + 2) = -x f^(n + 1) - n f^(n)`` from n = 1.
    """
    arb, most = flint().arb, int(_MOST * _STEPS)
    rows: list[list[Any]] = []
    with FLINT_LOCK, Balls(_PRECISION).working():
        for place in range(-most, most + 1):
            x = arb(place) / _STEPS
            slope = (2 / arb.pi()).sqrt() * (-x * x / 2).exp()
            slopes = [(x / arb(2).sqrt()).erf(), slope, -x * slope]
            for n in range(1, _TERMS - 2):
                slopes.append(-x * slopes[-1] - n * slopes[-2])
            factorial, row = arb(1), []
            for n, each in enumerate(slopes):
                factorial *= max(1, n)
                high = float((each / factorial).mid())
                row.append((high, float((each / factorial - arb(high)).mid())))
            rows.append(row)
    table = torch.tensor(rows, dtype=torch.float64)
    return [(table[:, n, 0].contiguous(), table[:, n, 1].contiguous()) for n in range(_TERMS)]
