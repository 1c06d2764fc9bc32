"""Correctly rounded means of cells from their exact sums.

In: `CellSums`. Out: one vector for each cell, each number the mean over the reals, rounded once, to
nearest even. Quotients are computed in pairs of float64, whose error is far below the last bit; the
few that lie so near to a boundary of rounding that the pair cannot tell are divided in Python's
integers.
"""

import numpy as np

from certvq import _native
from certvq._types import BoolArray, Float64Array, Int64Array
from certvq.cluster._pairs import as_pair, two_product, two_sum
from certvq.cluster._rounding import FORMATS, FloatFormat, rounded_ratio, rounded_to
from certvq.cluster._sums import DIGIT, CellSums

_LEAST, _GREATEST = 2.0**-900, 2.0**900
"""Between these no product below under- or overflows; all else is divided in integers."""

_MOST_EXPONENT = 200

_EXACT_DIGITS = 3
"""Digits of sums that a pair holds exactly: 32 bits each, 106 in a pair."""

_DOUBT = 2.0**-30
"""A pair errs by less than ``2**-90`` of the quotient, which is ``2**-37`` of half a unit."""


def rounded_means(sums: CellSums, before: np.ndarray, form: FloatFormat) -> np.ndarray:
    """Return the mean of each cell, correctly rounded.

    Args:
        sums: exact sums over all rows.
        before: (K, D) vectors that empty cells keep.
        form: type of number of the result.

    Returns:
        (K, D) of ``form.host``, every number one of the type's. A mean of 0 is +0.0.

    Guarantee: the nearest number of the type to sum / weight over the reals, the even one of two
        (theorem ``rounded_mean_unique``).
    Cost: about 100 ns for each number, 5 ns for float32 without weights; a microsecond more where
        integers decide.
    """
    if _fit(sums, form):
        return _native.float32_means(sums.digits, sums.counts, sums.grids.rows.lowest, before)
    means, sure = _quick_means(sums, form)
    empty = sums.empty()
    sure[empty] = True
    doubtful = np.argwhere(~sure)
    if len(doubtful):
        _divide(sums, means, doubtful, form)
    means[empty] = before[empty]
    return means


def _divide(sums: CellSums, means: np.ndarray, places: Int64Array, form: FloatFormat) -> None:
    exponent = sums.grids.rows.lowest
    masses = sums.masses()
    columns = sums.digits[:, places[:, 0], places[:, 1]].T.tolist()
    for (cell, column), digits in zip(places.tolist(), columns, strict=True):
        total = 0
        for digit in reversed(digits):
            total = (total << DIGIT) + digit
        means[cell, column] = rounded_ratio(total, masses[cell], exponent, form)


def _fit(sums: CellSums, form: FloatFormat) -> bool:
    """Say whether the compiled kernel divides these sums."""
    known = _native.AVAILABLE and form is FORMATS["float32"] and sums.mass is None
    near = -_MOST_EXPONENT <= sums.grids.rows.lowest <= _MOST_EXPONENT
    return known and near and len(sums.digits) <= _native.MOST_PLACES


def _quick_means(sums: CellSums, form: FloatFormat) -> tuple[np.ndarray, BoolArray]:
    """Divide in pairs of floats; say where the rounded quotient is certain."""
    with np.errstate(all="ignore"):
        high, low, negative = as_pair(sums.digits)
        mass = as_pair(sums.counts[None] if sums.mass is None else sums.mass)
        mass_high, mass_low = mass[0][:, None], mass[1][:, None]
        value, tail, exact = _quotient((high, low), (mass_high, mass_low))
        if not _held_exactly(sums):
            exact[:] = False
        scale = sums.grids.rows.lowest
        usable = _normal(high) & _normal(mass_high) & _normal(value)
        value, tail = np.ldexp(value, scale), np.ldexp(tail, scale)
        usable &= _normal(value)
        rounded, sure = narrowed(value, tail, exact, form)
        zero = high == 0.0
        rounded = np.where(zero, 0.0, np.where(negative, -rounded, rounded))
        return rounded.astype(form.host), zero | (usable & sure)


def _held_exactly(sums: CellSums) -> bool:
    """Say whether pairs of floats hold the sums and weights without error."""
    arrays = [sums.digits] if sums.mass is None else [sums.digits, sums.mass]
    return not any(_beyond(digits[_EXACT_DIGITS:]) for digits in arrays)


def _beyond(digits: Int64Array) -> bool:
    return bool(((digits != 0) & (digits != -1) & (digits != 2**DIGIT - 1)).any())


def _normal(values: Float64Array) -> BoolArray:
    return (values > _LEAST) & (values < _GREATEST)


def _quotient(
    top: tuple[Float64Array, Float64Array], bottom: tuple[Float64Array, Float64Array]
) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Divide pairs; say where no operation rounded, so that the result is the quotient itself."""
    first = top[0] / bottom[0]
    product, error = two_product(first, bottom[0])
    rest, lost = two_sum((top[0] - product) - error, top[1] - first * bottom[1])
    second = rest / bottom[0]
    product, error = two_product(second, bottom[0])
    exact = (lost == 0.0) & (bottom[1] == 0.0) & (product == rest) & (error == 0.0)
    return *two_sum(first, second), exact


def narrowed(
    value: Float64Array, tail: Float64Array, exact: BoolArray, form: FloatFormat
) -> tuple[Float64Array, BoolArray]:
    """Round ``value + tail``, where the value is the float64 nearest to the sum.

    In float64 the value is the answer unless the tail is near to half a unit. The narrower types
    have no more bits, so the quotient lies strictly between the neighbours of the value; where both
    round to the same number, so does the quotient, because rounding is monotone.
    """
    below, above = np.nextafter(value, 0.0), np.nextafter(value, np.inf)
    if form.precision == np.finfo(np.float64).nmant + 1:
        room = 0.5 * (1.0 - _DOUBT)
        return value, exact | ((tail < (above - value) * room) & (-tail < (value - below) * room))
    rounded = rounded_to(value, form)
    same = rounded_to(below, form) == rounded_to(above, form)
    return rounded, same | (exact & (tail == 0.0))
