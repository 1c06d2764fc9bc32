"""One pass over the data: the certified code of every row, and the exact sums of every cell.

This is the seam between the iterations, which are the same everywhere, and how rows are read: here
in this process, block by block. Shards in other processes, or a fused kernel, are other passes.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from certvq._types import Float64Array, Int64Array
from certvq.assign import assign, prepare
from certvq.assign._arrays import to_host
from certvq.cluster._costs import CellCosts, cell_costs, no_costs
from certvq.cluster._fused import Fused
from certvq.cluster._grid import OffGrid
from certvq.cluster._inertia import square_total, whole_numbers
from certvq.cluster._source import Source
from certvq.cluster._sums import BLOCK, CellSummer, CellSums, Grids
from certvq.errors import DataError


@dataclass(frozen=True)
class Tally:
    """What one pass found.

    Attributes:
        sums: exact sums and counts of each cell.
        squares: exact total of the squared lengths of the rows, times weights, in units of
            ``4**grids.rows.lowest * 2**grids.weights.lowest``; None where it was not asked for.
    """

    sums: CellSums
    squares: int | None

    def merge(self, other: "Tally") -> "Tally":
        """Add what was found on other rows."""
        known = (
            None if self.squares is None or other.squares is None else self.squares + other.squares
        )
        return Tally(self.sums.merge(other.sums), known)


class Pass(ABC):
    """A way to look at all rows once."""

    @abstractmethod
    def tally(self, codebook: np.ndarray, *, squares: bool) -> Tally:
        """Find the lowest nearest code of every row, keep the codes, and sum the rows of each cell.

        Args:
            codebook: (K, D) exact numbers.
            squares: whether to find `Tally.squares`.

        Returns:
            A tally that holds until the next one: its arrays may be used again.
        """

    @abstractmethod
    def costs(self, codebook: np.ndarray) -> CellCosts:
        """Find what each cell of the last tally costs, and its farthest row.

        Args:
            codebook: that of the last tally.
        """


class LocalPass(Pass):
    """A pass in this process, over blocks of a source.

    Args:
        source: the rows.
        grids: their grids.
        weights: float64 (N,), None without weights.
        count: N.

    Attributes:
        codes: int64 (N,), those of the last tally.
    """

    def __init__(
        self, source: Source, grids: Grids, weights: Float64Array | None, count: int
    ) -> None:
        self._source, self._grids, self._weights = source, grids, weights
        self.codes: Int64Array = np.zeros(count, dtype=np.int64)
        self._fused = Fused(grids, self.codes, weights) if Fused.fits(grids) else None

    def tally(self, codebook: np.ndarray, *, squares: bool) -> Tally:
        """Assign and sum, block by block.

        Raises:
            DataError: the data are not those that were measured.
        """
        try:
            if self._fused is not None:
                found = self._fused.tally(self._source.blocks(), codebook, squares=squares)
                if found is not None:
                    sums, known = found
                    return Tally(sums, self._all_squares() if squares and known is None else known)
                self._fused = None
            return self._tally(codebook, squares=squares)
        except OffGrid as error:
            text = (
                f"data must not change while they are clustered, but {error} that was measured in "
                "the first pass; copy them, or wait until they are written"
            )
            raise DataError(text) from error

    def _tally(self, codebook: np.ndarray, *, squares: bool) -> Tally:
        """Look at every row: what `Fused` must equal."""
        prepared = prepare(codebook)
        summer = CellSummer(self._grids, *codebook.shape)
        total = 0
        for first, block in self._source.blocks():
            whole = slice(first, first + len(block))
            self.codes[whole] = to_host(assign(block, prepared).codes)
            step = max(1, BLOCK // self._source.dim)
            for start in range(0, len(block), step):
                host = to_host(block[start : start + step]).astype(np.float64)
                part = slice(first + start, first + start + len(host))
                summer.add(host, self.codes[part], self._weights_of(part))
                total += self._squares(host, part) if squares else 0
        return Tally(summer.result(), total if squares else None)

    def costs(self, codebook: np.ndarray) -> CellCosts:
        """Measure the distance of every row to its code, block by block."""
        prepared = prepare(codebook)
        found = no_costs(*codebook.shape)
        for first, block in self._source.blocks():
            part = slice(first, first + len(block))
            codes = self.codes[part]
            found = found.merge(cell_costs(block, prepared, codes, self._weights_of(part)))
        return found

    def _weights_of(self, part: slice) -> Float64Array | None:
        return None if self._weights is None else self._weights[part]

    def _all_squares(self) -> int:
        parts = self._source.host_blocks(BLOCK)
        return sum(self._squares(rows.astype(np.float64), part) for part, rows in parts)

    def _squares(self, rows: Float64Array, part: slice) -> int:
        weights = self._weights_of(part)
        if weights is None or self._grids.weights is None:
            return square_total(rows, self._grids.rows, None)
        whole = whole_numbers(weights, self._grids.weights.lowest)
        return square_total(rows, self._grids.rows, whole)
