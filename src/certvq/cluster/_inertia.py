"""The inertia of a codebook, exact, from the exact sums of its cells.

``sum_n w_n |x_n - c|^2 = sum_n w_n |x_n|^2 - 2 sum_k c_k . s_k + sum_k m_k |c_k|^2``, with the sums
s and the masses m of the cells: the first term is the same for every codebook, and the others need
no look at the rows. All three are integers on known grids, so nothing cancels.
"""

from collections.abc import Iterator
from operator import mul
from typing import Final

import numpy as np

from certvq import _native
from certvq._types import Float64Array, Int64Array
from certvq.cluster._grid import Extent, extent_of, slices
from certvq.cluster._rounding import FORMATS, rounded_ratio
from certvq.cluster._sums import DIGIT, CellSums

_SQUARE_WIDTH: Final = 21
"""Bits of slices whose products are summed over 2**20 columns within 62 bits."""

_MOST_SLICES: Final = 20
"""Beyond so many slices their products, whose number grows with the square, take longer than
Python's integers."""

_MOST_BITS: Final = 126
_VECTOR_BITS: Final = 60
_MOST_EXPONENT: Final = 1000
"""Of sums, vectors and exponents that the compiled kernel takes."""

_DOT_WIDTH: Final = 26
_DOT_CHUNK: Final = 1 << 20
"""26 bits of a code vector, 16 of a sum and 2**20 products: 62 bits."""


def row_squares(values: Float64Array, extent: Extent) -> Iterator[tuple[int, np.ndarray]]:
    """Yield parts of the squared length of each row.

    Args:
        values: (N, D), D at most 2**20.
        extent: their grid.

    Yields:
        Pairs ``(offset, part)``, part int64 or Python's integers (N,): ``|x_n|^2`` is the sum of
        ``part[n] * 2**offset`` units of ``4**lowest``.
    """
    if extent.bits > _MOST_SLICES * _SQUARE_WIDTH or values.shape[1] > 1 << 20:
        yield 0, _row_squares_of_integers(values, extent.lowest)
        return
    parts = list(slices(values, extent, _SQUARE_WIDTH))
    for place, (offset, part) in enumerate(parts):
        yield 2 * offset, np.einsum("nd,nd->n", part, part)
        for shift, other in parts[:place]:
            yield offset + shift + 1, np.einsum("nd,nd->n", part, other)


def _row_squares_of_integers(values: Float64Array, lowest: int) -> np.ndarray:
    squares = [sum(n * n for n in whole_numbers(row, lowest)) for row in values]
    return np.array(squares, dtype=object)


def whole_numbers(values: Float64Array, lowest: int) -> list[int]:
    """Return exact numbers (N,) as Python's integers in units of ``2**lowest``."""
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    if lowest >= 0:
        return [top >> lowest for top, _ in ratios]
    return [(top << -lowest) // bottom for top, bottom in ratios]


def square_total(values: Float64Array, extent: Extent, weights: list[int] | None) -> int:
    """Sum the squared lengths of rows, times whole weights, in units of ``4**lowest``."""
    total = 0
    for offset, part in row_squares(values, extent):
        if weights is None:
            total += int(part.sum()) << offset
        else:
            total += sum(map(mul, part.tolist(), weights)) << offset
    return total


def rounded_inertia(sums: CellSums, codebook: np.ndarray, squares: int) -> float:
    """Return the inertia, rounded once, to nearest even; infinite where float64 ends.

    Args:
        sums: exact sums over all rows.
        codebook: (K, D) to which the cells belong.
        squares: total of the squared lengths of the rows, times weights, from `square_total`.

    Cost: O(K D).
    """
    vectors = codebook.astype(np.float64)
    extent = extent_of(vectors, np.finfo(codebook.dtype).nmant + 1)
    unit = min(sums.grids.rows.lowest, extent.lowest)
    fine, coarse = sums.grids.rows.lowest - unit, extent.lowest - unit
    dot, own = (_moments if _fit(vectors, extent, sums) else _sliced_moments)(vectors, extent, sums)
    total = squares << (2 * fine)
    total -= dot << (1 + fine + coarse)
    total += own << (2 * coarse)
    exponent = 2 * unit + (0 if sums.grids.weights is None else sums.grids.weights.lowest)
    with np.errstate(over="ignore"):
        return rounded_ratio(total, 1, exponent, FORMATS["float64"])


def _fit(vectors: Float64Array, extent: Extent, sums: CellSums) -> bool:
    """Say whether the compiled kernel multiplies these vectors and sums."""
    numbers = vectors.size.bit_length()
    held = max(extent.bits + DIGIT, 2 * extent.bits) + numbers <= _MOST_BITS
    near = abs(extent.lowest) <= _MOST_EXPONENT and extent.bits <= _VECTOR_BITS
    return _native.AVAILABLE and held and near and len(sums.digits) <= _native.MOST_PLACES


def _moments(vectors: Float64Array, extent: Extent, sums: CellSums) -> tuple[int, int]:
    dots, squares = _native.moments(sums.digits, vectors, extent.lowest, extent.bits)
    total = sum(dot << (DIGIT * place) for place, dot in enumerate(dots))
    return total, sum(map(mul, squares, sums.masses()))


def _sliced_moments(vectors: Float64Array, extent: Extent, sums: CellSums) -> tuple[int, int]:
    """Return the dot product of vectors and sums, and the squares of vectors times weights."""
    dot = exact_dot(vectors, extent, sums.digits)
    return dot, square_total(vectors, extent, sums.masses())


def exact_dot(vectors: Float64Array, extent: Extent, digits: Int64Array) -> int:
    """Return the dot product of code vectors and exact sums, all places together.

    Args:
        vectors: (K, D).
        extent: their grid.
        digits: int64 (P, K, D), as in `CellSums`.
    """
    halves = list(_halves(digits))
    total = 0
    for offset, part in slices(vectors, extent, _DOT_WIDTH):
        flat = part.ravel()
        for shift, half in halves:
            for start in range(0, flat.size, _DOT_CHUNK):
                chunk = slice(start, start + _DOT_CHUNK)
                total += int(np.dot(flat[chunk], half[chunk])) << (offset + shift)
    return total


def _halves(digits: Int64Array) -> Iterator[tuple[int, Int64Array]]:
    """Cut digits into 16 bits each; leave out what is 0 everywhere."""
    for place, digit in enumerate(digits):
        low, high = digit & 0xFFFF, digit >> (DIGIT // 2)
        for shift, half in ((0, low), (DIGIT // 2, high)):
            if half.any():
                yield DIGIT * place + shift, half.ravel()
