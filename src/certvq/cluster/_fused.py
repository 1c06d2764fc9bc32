"""Codes and sums in one pass of the compiled kernel, which looks only at rows that are in doubt.

In: blocks of rows and one codebook after another. Out: for each codebook what `LocalPass` finds
without this, to the bit. Sums are exact, so they change by the rows that change their cell. Every
row has a lead: how much nearer its code is than any other; every code has a drift: how far it and
the code that moved most moved together, summed over the passes. While a row's lead is not used up
its code is the lowest nearest one (theorem ``single_bound_skip_sound``), and the row is not read.
With weights the kernel finds codes, and NumPy moves the rows that changed theirs.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np

from certvq import _native
from certvq._types import Array, Float64Array, Int64Array
from certvq.assign._arrays import is_torch
from certvq.assign._packing import to_bits
from certvq.assign._prepare import prepare
from certvq.assign._watch import WATCHERS
from certvq.cluster._drift import SAMPLE, Drift
from certvq.cluster._grid import OffGrid
from certvq.cluster._moves import WeightedSums
from certvq.cluster._sums import CellSums, Grids, digit_count

_MOST_EXPONENT: Final = 1000
_MOST_BITS: Final = 88
"""Of grids that the kernel takes; on others the sums are NumPy's."""

_SQUARE_BITS: Final = 56
_TOTAL_BITS: Final = 127
"""Of grids, and of the sum of all squares."""


class Fused:
    """What passes of the kernel over the same rows keep, besides codes.

    Args:
        grids: of the rows and weights.
        codes: int64 (N,), overwritten by each pass.
        weights: float64 (N,), None without weights.
    """

    def __init__(
        self, grids: Grids, codes: Int64Array, weights: Float64Array | None = None
    ) -> None:
        self._grids, self._codes, self._weights = grids, codes, weights
        self._leads = self._lowers = np.empty(0, np.float32)
        self._before: np.ndarray | None = None
        self._weighted: WeightedSums | None = None

    @staticmethod
    def fits(grids: Grids) -> bool:
        """Say whether the kernel was built and takes sums on these grids."""
        extent = grids.rows
        exponent = max(abs(extent.lowest), abs(extent.top))
        return _native.AVAILABLE and exponent <= _MOST_EXPONENT and extent.bits <= _MOST_BITS

    def tally(
        self, blocks: Iterable[tuple[int, Array]], codebook: np.ndarray, *, squares: bool
    ) -> tuple[CellSums, int | None] | None:
        """Find the codes, and the sums of the cells.

        Args:
            blocks: the rows, each with the number of its first row, as in every other pass.
            codebook: (K, D) exact numbers.
            squares: whether to sum the squares, in units of ``4**grids.rows.lowest``; all rows are
                read then.

        Returns:
            Sums, which the next pass changes, and squares unless they are weighted or too long for
            the kernel; or None where the kernel refuses: then this is of no more use.

        Raises:
            OffGrid: a number does not lie on the grid.
        """
        packed = prepare(codebook).packed()
        if WATCHERS.get() or not packed.usable:
            return None
        movers = self._begin(codebook, anew=squares)
        extent = self._grids.rows
        length = 2 * extent.bits + (len(self._codes) * codebook.shape[1]).bit_length()
        squares = (
            squares
            and self._weights is None
            and extent.bits <= _SQUARE_BITS
            and length <= _TOTAL_BITS
        )
        total = 0
        for first, rows in blocks:
            block = rows[: max(0, len(self._codes) - first)]  # the source says if there are more
            if is_torch(block) and block.device.type != "cpu":
                return None
            part = slice(first, first + len(block))
            before = None if self._weighted is None else self._codes[part].copy()
            rows_kept = self._codes[part], self._leads[part], self._lowers[part]
            kept = _native.Kept(*rows_kept, self._digits, self._counts)
            moved = _native.Moved(self._drift.both, self._drift.others, movers)
            grid = (extent.lowest, extent.bits, squares)
            looked, found = _native.look(packed, to_bits(block), kept, moved, grid)
            if looked == "refused":
                return None
            if looked != "done":
                raise OffGrid(_OFF[looked])
            total += found
            if self._weighted is not None and before is not None:
                self._weighted.move(first, block, before, self._codes[part])
        if self._weighted is not None:
            return self._weighted.sums, None
        sums = CellSums(self._grids, self._digits, self._counts, None)
        return sums, total if squares else None

    def _begin(self, codebook: np.ndarray, *, anew: bool) -> _native.Movers | None:
        """Let what was kept drift, or begin where nothing was or all rows must be read."""
        movers = None
        if self._before is None or anew or self._before.shape != codebook.shape:
            places = digit_count(self._grids.rows.bits)
            self._digits = np.zeros((places, *codebook.shape), dtype=np.int64)
            self._counts = np.zeros(len(codebook), dtype=np.int64)
            if self._weights is not None:
                self._weighted = WeightedSums(self._grids, self._weights, *codebook.shape)
            self._drift = Drift.none(len(codebook))
            self._leads = np.full(len(self._codes), -np.inf, np.float32)
            self._lowers = np.empty_like(self._leads)  # written with the code, if at all
            self._codes[:] = -1
        else:
            before, self._drift = self._drift, self._drift.after(self._before, codebook)
            some = slice(None, None, max(1, len(self._codes) // SAMPLE))
            movers = self._drift.movers(before, codebook, self._codes[some], self._leads[some])
        self._before = codebook.copy()
        return movers


_OFF: Final = {
    "too great": "there is a number greater than any",
    "too fine": "there is a number of finer steps than any",
}
