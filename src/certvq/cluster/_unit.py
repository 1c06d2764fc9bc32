"""Directions: rows and sums divided by their length, each number rounded once.

In: rows, or exact sums of cells. Out: vectors whose numbers are those of ``x / |x|`` over the
reals, rounded to nearest even. Quotients are computed in pairs of float64; the few that lie so near
to a boundary of rounding that the pair cannot tell are found in Python's integers.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from certvq._types import Array, BoolArray, Float64Array, Int64Array
from certvq.cluster._grid import extent_of
from certvq.cluster._inertia import whole_numbers
from certvq.cluster._means import narrowed
from certvq.cluster._pairs import as_pair, two_product, two_sum
from certvq.cluster._rounding import FORMATS, FloatFormat, rounded_ratio
from certvq.cluster._source import Source, require_finite_rows
from certvq.cluster._sums import BLOCK, CellSums, to_integers
from certvq.errors import DataError


class UnitSource(Source):
    """The directions of another source's rows, computed anew in each pass.

    Args:
        source: the rows.
        number: name of the type that directions are rounded to; None for that of the rows.
    """

    def __init__(self, source: Source, number: str | None = None) -> None:
        self._source = source
        self.dim, self.number = source.dim, number or source.number

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield blocks of directions.

        Raises:
            NonFiniteError: NaN or infinity.
            DataError: a row of length 0.
        """
        form = FORMATS[self.number]
        for part, rows in self._source.host_blocks(BLOCK):
            require_finite_rows(rows, part.start)
            zero = np.flatnonzero(~rows.any(axis=1))
            if zero.size:
                text = (
                    f"data must have a direction in every row for metric='cosine', row "
                    f"{part.start + zero[0]} is 0; remove such rows"
                )
                raise DataError(text)
            yield part.start, unit_rows(rows.astype(np.float64), form)

    def look(self, wrap: Callable[[Source], Source] | None = None) -> Callable[..., Any] | None:
        """Let directions be taken where the rows lie."""
        assert wrap is None
        return self._source.look(UnitSource)

    def like(self) -> Array:
        """Return an array of the other source."""
        return self._source.like()

    def rows(self, numbers: Int64Array) -> Float64Array:
        """Return some directions."""
        rows = self._source.rows(numbers)
        return unit_rows(rows, FORMATS[self.number]).astype(np.float64)


def unit_rows(rows: Float64Array, form: FloatFormat) -> np.ndarray:
    """Divide rows by their length, rounded once; a row of zeros stays.

    Args:
        rows: (N, D) exact numbers.
        form: type of number of the result.

    Returns:
        (N, D) of ``form.host``.
    """
    pair = np.abs(rows), np.zeros_like(rows)
    units, sure = _quick_units(pair, rows < 0, form)
    doubtful = np.flatnonzero(~sure.all(axis=1))
    for row in doubtful.tolist():
        lowest = extent_of(rows[row]).lowest
        units[row] = _exact_unit(whole_numbers(rows[row], lowest), form)
    return units


def unit_means(sums: CellSums, before: np.ndarray, form: FloatFormat) -> np.ndarray:
    """Return the direction of the sum of each cell, rounded once.

    Args:
        sums: exact sums over all rows.
        before: (K, D) vectors that cells keep which are empty, or whose sum is 0.
        form: type of number of the result.
    """
    high, low, negative = as_pair(sums.digits)
    units, sure = _quick_units((high, low), negative, form)
    nowhere: BoolArray = np.logical_not(sums.digits.any(axis=(0, 2)))
    nowhere[sums.empty()] = True
    for cell in np.flatnonzero(~sure.all(axis=1) & ~nowhere).tolist():
        units[cell] = _exact_unit(to_integers(sums.digits[:, cell]).tolist(), form)
    units[nowhere] = before[nowhere]
    return units


def _quick_units(
    pair: tuple[Float64Array, Float64Array], negative: BoolArray, form: FloatFormat
) -> tuple[np.ndarray, BoolArray]:
    """Divide in pairs of floats; say where the rounded quotient is certain.

    Vectors are brought near to length one first. Each square errs by 2**-104 of itself, their sum
    by D 2**-104, half of which the root keeps.
    """
    with np.errstate(all="ignore"):
        scale = -np.frexp(pair[0].max(axis=1, initial=0.0))[1][:, None]
        high, low = np.ldexp(pair[0], scale), np.ldexp(pair[1], scale)
        length = _root(_square_sum(high, low))
        first = high / length[0]
        product, error = two_product(first, length[0])
        rest = (high - product) - error + (low - first * length[1])
        value, tail = two_sum(first, rest / length[0])
        rounded, sure = narrowed(value, tail, np.zeros_like(negative), form)
        exact_zero = pair[0] == 0.0
        usable = (value > 2.0**-400) & (high > 2.0**-400)
        rounded = np.where(exact_zero, 0.0, np.where(negative, -rounded, rounded))
    return rounded.astype(form.host), exact_zero | (usable & sure)


def _square_sum(high: Float64Array, low: Float64Array) -> tuple[Float64Array, Float64Array]:
    total, rest = np.zeros(len(high)), np.zeros(len(high))
    for column in range(high.shape[1]):
        square, error = two_product(high[:, column], high[:, column])
        total, lost = two_sum(total, square)
        rest = rest + (lost + (error + 2.0 * high[:, column] * low[:, column]))
    return two_sum(total, rest)


def _root(square: tuple[Float64Array, Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Take the root of a pair by one step of Newton's."""
    root = np.sqrt(square[0])
    product, error = two_product(root, root)
    rest = (square[0] - product) - error + square[1]
    high, low = two_sum(root, rest / (2.0 * root))
    return high[:, None], low[:, None]


def _exact_unit(vector: list[int], form: FloatFormat) -> list[float]:
    """Divide integers by their length: the obvious way.

    The root of ``x^2 / |v|^2`` is found to many more bits than the type has; whether bits remain
    after them is kept as a last bit of its own, so that rounding sees every tie.
    """
    square = sum(x * x for x in vector)
    bits = 2 * (form.precision + 3) + 2 * max(-form.lowest, square.bit_length())
    bits += bits & 1
    units = []
    for x in vector:
        whole, rest = divmod(x * x << bits, square)
        root = math.isqrt(whole)
        sticky = rest != 0 or root * root != whole
        top = 2 * root + sticky
        units.append(rounded_ratio(top if x > 0 else -top, 1, -(bits // 2) - 1, form))
    return units
