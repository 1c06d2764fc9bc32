"""Pairs of float64: a number as a rounded value and what the rounding left.

In: float64 arrays, or digits of exact sums. Out: sums and products in which nothing is lost, as
long as nothing over- or underflows: the callers see to that. Must not know of cells.
"""

import numpy as np

from certvq._types import BoolArray, Float64Array, Int64Array
from certvq.cluster._sums import DIGIT, carried

_SPLIT = 2.0**27 + 1
"""Dekker's factor: cuts a float64 into two halves whose products are exact."""


def two_sum(a: Float64Array, b: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the rounded sum and its error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Float64Array, b: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the rounded product and its error (Dekker, who needs no fused operation)."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _halves(a: Float64Array) -> tuple[Float64Array, Float64Array]:
    scaled = _SPLIT * a
    high = scaled - (scaled - a)
    return high, a - high


def as_pair(digits: Int64Array) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Read exact sums as pairs of magnitude.

    Args:
        digits: int64 (P, ...), as in `certvq.cluster._sums.CellSums`.

    Returns:
        Value, rest and sign: the magnitude is their sum but for a relative error of P 2**-104,
        exactly so below 2**96; infinite or NaN beyond float64.
    """
    negative = digits[-1] < 0
    size = carried(np.where(negative, -digits, digits))
    high = size[-1].astype(np.float64)
    low = np.zeros_like(high)
    with np.errstate(over="ignore", invalid="ignore"):
        for digit in size[-2::-1]:
            high, low = high * 2.0**DIGIT, low * 2.0**DIGIT
            high, error = two_sum(high, digit.astype(np.float64))
            high, low = two_sum(high, low + error)
    return high, low, negative
