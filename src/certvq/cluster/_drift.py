"""How far codes moved since passes of k-means began, and which of them moved far.

In: one codebook after another. Out: bounds that only grow, and the few codes that a second look has
to measure. Must not know of rows, but for a sample of their leads.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from certvq import _native
from certvq._types import Float64Array, Int64Array
from certvq.assign._prepare import prepare
from certvq.bounds import norm_upper

SAMPLE: Final = 4096
"""Leads of which is guessed how many rows are in doubt."""

_BLOCK: Final = 1 << 15
"""Numbers of a codebook at a time: few, to save memory."""

_DIRECT_ENTRIES: Final = 1 << 13
"""Numbers of a codebook up to which the kernel has no second look."""

_ROW_PRODUCTS: Final = 1 << 13
"""Products that take as long as what a second look does for a row besides its products; measured
in docs/engineering.md."""


@dataclass(frozen=True)
class Drift:
    """Sums over all passes so far, rounded up; infinite where float64 ends.

    Attributes:
        both: float64 (K,), at least how far each code and any other one moved together.
        others: float64 (K,), at least how far any other code moved.
        moves: float64 (K,), at least how far each code moved in the last pass.
    """

    both: Float64Array
    others: Float64Array
    moves: Float64Array

    @staticmethod
    def none(codebook_size: int) -> "Drift":
        """Return that of codes that have not moved."""
        return Drift(*np.zeros((3, codebook_size)))

    def after(self, old: np.ndarray, new: np.ndarray) -> "Drift":
        """Add the way from one codebook to the next.

        Args:
            old: (K, D).
            new: (K, D).

        Example:
            >>> import numpy as np
            >>> Drift.none(2).after(np.zeros((2, 1)), np.array([[1.0], [4.0]])).both >= 5.0
            array([ True,  True])
        """
        with np.errstate(over="ignore", invalid="ignore"):
            moves = norm_upper(_squares(old, new), new.shape[1])
            farthest = int(moves.argmax())
            most = np.full(len(moves), moves[farthest])
            most[farthest] = np.delete(moves, farthest).max(initial=0.0)
            return Drift(_sum(self.both, _sum(moves, most)), _sum(self.others, most), moves)

    def movers(
        self, before: "Drift", codebook: np.ndarray, codes: Int64Array, leads: np.ndarray
    ) -> _native.Movers | None:
        """Choose codes that moved far, so that rows are soonest done.

        Rows that are in doubt only because of these are compared with these alone.

        Args:
            before: the drift before the last pass.
            codebook: (K, D) exact numbers, after it.
            codes: int64 (S,), of a sample of rows.
            leads: float32 (S,), of these rows.

        Returns:
            None where it is faster to compare rows in doubt with all codes, or where nothing is
            known.
        """
        size, dim = codebook.shape
        if size * dim <= _DIRECT_ENTRIES or not np.isfinite(self.moves).all():
            return None
        sizes = [size >> shift for shift in range(7, 0, -1)] + [int(np.count_nonzero(self.moves))]
        left = np.sort(leads - before.both[codes])
        falling = np.sort(self.moves)[::-1]
        bounds = np.append(falling, 0.0)[[0, *sizes]]
        open_rows = np.searchsorted(left, bounds, side="right")
        times = open_rows * (size * dim + _ROW_PRODUCTS)
        times += (open_rows[0] - open_rows) * (np.array([0, *sizes]) * dim + _ROW_PRODUCTS)
        bound = bounds[int(times.argmin())]
        places = np.flatnonzero(self.moves > bound)
        if not 0 < len(places) < size:
            return None
        packed = prepare(codebook[places]).packed()
        rest = _sum(before.others, np.full(size, bound))
        return _native.Movers(packed, places, rest) if packed.usable else None


def _squares(old: np.ndarray, new: np.ndarray) -> Float64Array:
    """Square the way from each row of one to that of the other, some rows at a time."""
    squares = np.empty(len(new))
    step = max(1, _BLOCK // new.shape[1])
    for first in range(0, len(new), step):
        part = slice(first, first + step)
        way = new[part].astype(np.float64) - old[part].astype(np.float64)
        squares[part] = np.einsum("kd,kd->k", way, way)
    return squares


def _sum(a: Float64Array, b: Float64Array) -> Float64Array:
    return np.nextafter(a + b, math.inf)
