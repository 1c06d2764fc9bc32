"""Exact sums of the rows of each cell, as integers that merge in any order.

In: exact rows, their codes, their weights. Out: `CellSums`, digits of 32 bits over a grid that all
parts of the data share, in one canonical form: equal sums have equal arrays. NumPy only; nothing
here rounds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from certvq._types import Float64Array, Int64Array
from certvq.cluster._grid import Extent, slices
from certvq.errors import ShapeError

DIGIT: Final = 32
"""Bits of a digit: carries of 2**31 digits still fit into 64 bits."""

BLOCK: Final = 1 << 17
"""Numbers at a time: 1 MiB. At 2**18 and more each array is new memory from the system, and slicing
takes ten times as long."""

WIDTH: Final = 62 - 17
"""Bits of a slice of a row: as many as a block has add up to less than 2**62."""

WEIGHTED_WIDTH: Final = 22
"""Bits of a slice of a row, and of a weight: a block of products adds up to less than 2**61."""

_MASK: Final = (1 << DIGIT) - 1


@dataclass(frozen=True)
class Grids:
    """The grids that all parts of the data share.

    Attributes:
        rows: of the numbers of the rows.
        weights: of the weights; None without weights, where each row counts 1.
    """

    rows: Extent
    weights: Extent | None = None

    @property
    def products(self) -> Extent:
        """Grid of weight times number."""
        if self.weights is None:
            return self.rows
        lowest = self.rows.lowest + self.weights.lowest
        return Extent(lowest, lowest + self.rows.bits + self.weights.bits)


@dataclass(frozen=True)
class CellSums:
    """Exact sums of some rows, cell by cell.

    Two of the same grids and shape merge by `merge`, which is associative and commutative
    (theorem ``exact_sum_merge``), so shards of the data may be summed anywhere and merged in any
    order. All fields are plain arrays and numbers: they pickle, and `numpy.savez` takes them.

    Attributes:
        grids: what one unit of the digits is worth.
        digits: int64 (P, K, D): the sums are ``sum_p digits[p] 2**(32 p)`` units of
            ``2**grids.products.lowest``; digits but the last lie in ``range(2**32)``.
        counts: int64 (K,), rows of each cell.
        mass: int64 (Q, K), digits of the total weight of each cell in units of
            ``2**grids.weights.lowest``; None without weights.
    """

    grids: Grids
    digits: Int64Array
    counts: Int64Array
    mass: Int64Array | None

    def merge(self, other: "CellSums") -> "CellSums":
        """Add the sums of other rows.

        Raises:
            ShapeError: the two have different grids, cells or columns.
        """
        if self.grids != other.grids or self.digits.shape != other.digits.shape:
            text = (
                f"sums must have the same grids and shape to be merged, got {self.grids} with "
                f"{self.digits.shape} and {other.grids} with {other.digits.shape}; measure the "
                "grids over all parts of the data first"
            )
            raise ShapeError(text)
        mass = None if self.mass is None or other.mass is None else self.mass + other.mass
        return replace(
            self,
            digits=carried(self.digits + other.digits),
            counts=self.counts + other.counts,
            mass=None if mass is None else carried(mass),
        )

    def integers(self) -> list[list[int]]:
        """Return the sums as Python's integers, (K, D): the obvious form, for what is rare."""
        return to_integers(self.digits).tolist()

    def masses(self) -> list[int]:
        """Return the total weight of each cell as K of Python's integers: rows without weights."""
        return self.counts.tolist() if self.mass is None else to_integers(self.mass).tolist()

    def empty(self) -> Int64Array:
        """Return the cells without a row of positive weight, in ascending order."""
        full = self.counts if self.mass is None else self.mass.any(axis=0)
        return np.flatnonzero(full == 0)


class CellSummer:
    """Adds up blocks of rows.

    Args:
        grids: the grids of all the data.
        codebook_size: K.
        dim: D.
    """

    def __init__(self, grids: Grids, codebook_size: int, dim: int) -> None:
        self._grids = grids
        self._sums = _Digits(grids.products, (codebook_size, dim))
        self._mass = None if grids.weights is None else _Digits(grids.weights, (codebook_size,))
        self._counts = np.zeros(codebook_size, dtype=np.int64)

    def add(self, rows: Float64Array, codes: Int64Array, weights: Float64Array | None) -> None:
        """Add rows.

        Args:
            rows: (N, D) exact numbers.
            codes: int64 (N,).
            weights: float64 (N,), None without weights.

        Raises:
            OffGrid: a number does not lie on the grid.
        """
        step = max(1, BLOCK // rows.shape[1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            self._add(rows[part], codes[part], None if weights is None else weights[part])

    def _add(self, rows: Float64Array, codes: Int64Array, weights: Float64Array | None) -> None:
        if not len(rows):
            return
        size = len(self._counts)
        self._counts += np.bincount(codes, minlength=size)
        # NumPy sorts 16-bit numbers by their digits, in a tenth of the time
        order = np.argsort(codes.astype(np.uint16) if size <= 1 << 16 else codes, kind="stable")
        ordered = codes[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        cells = ordered[starts]
        for offset, part in self._parts(rows, weights):
            self._sums.add(cells, np.add.reduceat(part.take(order, axis=0), starts, axis=0), offset)
        if weights is not None and self._mass is not None and self._grids.weights is not None:
            for offset, part in slices(weights, self._grids.weights, WIDTH):
                self._mass.add(cells, np.add.reduceat(part.take(order), starts), offset)

    def _parts(
        self, rows: Float64Array, weights: Float64Array | None
    ) -> Iterator[tuple[int, Int64Array]]:
        if weights is None or self._grids.weights is None:
            yield from slices(rows, self._grids.rows, WIDTH)
            return
        factors = list(slices(weights, self._grids.weights, WEIGHTED_WIDTH))
        for offset, part in slices(rows, self._grids.rows, WEIGHTED_WIDTH):
            for shift, factor in factors:
                yield offset + shift, part * factor[:, None]

    def result(self) -> CellSums:
        """Return the sums of all rows added so far."""
        mass = None if self._mass is None else self._mass.result()
        return CellSums(self._grids, self._sums.result(), self._counts.copy(), mass)


class _Digits:
    """Numbers of unlimited size, one for each place of a shape."""

    def __init__(self, extent: Extent, shape: tuple[int, ...]) -> None:
        self._places = digit_count(extent.bits)
        self._digits = np.zeros((self._places + 2, *shape), dtype=np.int64)
        self._added = 0

    def add(self, cells: Int64Array, values: Int64Array, offset: int) -> None:
        """Add ``values * 2**offset``, each below 2**62, to some cells, none named twice."""
        place, shift = divmod(offset, DIGIT)
        low = (values & _MASK).astype(np.uint64) << np.uint64(shift)
        high = (values >> DIGIT) << shift
        self._digits[place, cells] += (low & np.uint64(_MASK)).astype(np.int64)
        self._digits[place + 1, cells] += (low >> np.uint64(DIGIT)).astype(np.int64) + (
            high & _MASK
        )
        self._digits[place + 2, cells] += high >> DIGIT
        self._added += 1
        if self._added >= 1 << 28:  # each adds less than 2**34 to a digit
            self._digits, self._added = carried(self._digits), 0

    def result(self) -> Int64Array:
        digits = carried(self._digits)
        digits[self._places - 1] += digits[-1] << DIGIT  # beyond there is the sign alone
        return digits[: self._places].copy()


def digit_count(bits: int) -> int:
    """Return how many digits hold sums of 2**60 numbers of so many bits, and their sign."""
    return -(-(bits + 61) // DIGIT)


def carried(digits: Int64Array) -> Int64Array:
    """Return the same numbers with all digits but the last in ``range(2**32)``: their one form.

    Args:
        digits: int64 (P, ...).
    """
    digits = digits.copy()
    for place in range(len(digits) - 1):
        digits[place + 1] += digits[place] >> DIGIT
        digits[place] &= _MASK
    return digits


def to_integers(digits: Int64Array) -> np.ndarray:
    """Return digits (P, ...) as an array of Python's integers (...)."""
    total = digits[-1].astype(object)
    for digit in digits[-2::-1]:
        total = total * (1 << DIGIT) + digit.astype(object)
    return total
