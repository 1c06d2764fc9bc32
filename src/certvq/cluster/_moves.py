"""Exact sums of weighted cells, changed by the rows that change their cell.

In: blocks of rows with their codes before and after a pass. Out: the sums that `CellSummer` finds
of all rows. Must not know how codes are found.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from certvq._types import Array, Float64Array, Int64Array
from certvq.assign._arrays import to_host
from certvq.cluster._sums import BLOCK, CellSummer, CellSums, Grids

_NONE: Final = -1
"""The code of a row that has none yet."""


class WeightedSums:
    """Sums of no row, to begin with.

    Args:
        grids: of rows and weights.
        weights: float64 (N,).
        codebook_size: K.
        dim: D.
    """

    def __init__(self, grids: Grids, weights: Float64Array, codebook_size: int, dim: int) -> None:
        self._weights, self._new = weights, lambda: CellSummer(grids, codebook_size, dim)
        self.sums = self._new().result()

    def move(self, first: int, block: Array, before: Int64Array, after: Int64Array) -> None:
        """Take rows out of the cells where they were, and add them to those where they are.

        Args:
            first: the number of the first row of the block.
            block: rows (n, D).
            before: int64 (n,), codes; -1 where there was none.
            after: int64 (n,).

        Raises:
            OffGrid: a number of a moved row does not lie on the grid.
        """
        gone, come = self._new(), self._new()
        step = max(1, BLOCK // self.sums.digits.shape[2])
        for start in range(0, len(after), step):
            part = slice(start, start + step)
            moved = np.flatnonzero(before[part] != after[part])
            rows = to_host(block[part])[moved].astype(np.float64)
            weights = self._weights[first + start + moved]
            come.add(rows, after[part][moved], weights)
            was = before[part][moved]
            known = was != _NONE
            gone.add(rows[known], was[known], weights[known])
        self.sums = self.sums.merge(come.result()).merge(_negative(gone.result()))


def _negative(sums: CellSums) -> CellSums:
    mass = None if sums.mass is None else -sums.mass
    return replace(sums, digits=-sums.digits, counts=-sums.counts, mass=mass)
