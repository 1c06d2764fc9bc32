"""What each cell costs, and its farthest row: what decides where an empty cell goes.

In: rows, their codes, the codebook. Out: `CellCosts`, which merge in any order. A tie is broken by
the numbers of the rows, not by where they stand, so the order of the rows has no say.
"""

from dataclasses import dataclass

import numpy as np

from certvq._types import Array, Float64Array, Int64Array
from certvq.assign import Prepared
from certvq.assign._arrays import to_host
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._grid import extent_of
from certvq.cluster._sums import CellSummer, Grids, to_integers

_LARGEST = np.finfo(np.float64).max


@dataclass(frozen=True)
class CellCosts:
    """Costs of cells, exact sums of correctly rounded squared distances times weights.

    Attributes:
        lowest: exponent of the unit of `costs`.
        costs: K integers.
        sqdist: float64 (K,), distance of the farthest row of positive weight, -1 without one.
        farthest: float64 (K, D), that row; of several the least in lexicographic order.
    """

    lowest: int
    costs: tuple[int, ...]
    sqdist: Float64Array
    farthest: Float64Array

    def merge(self, other: "CellCosts") -> "CellCosts":
        """Take in other rows; associative and commutative."""
        unit = min(self.lowest, other.lowest)
        left, right = self.lowest - unit, other.lowest - unit
        costs = tuple(
            (a << left) + (b << right) for a, b in zip(self.costs, other.costs, strict=True)
        )
        better = other.sqdist > self.sqdist
        for cell in np.flatnonzero((other.sqdist == self.sqdist) & (self.sqdist > 0)):
            better[cell] = other.farthest[cell].tolist() < self.farthest[cell].tolist()
        return CellCosts(
            unit,
            costs,
            np.where(better, other.sqdist, self.sqdist),
            np.where(better[:, None], other.farthest, self.farthest),
        )


def no_costs(codebook_size: int, dim: int) -> CellCosts:
    """Return the costs of no row."""
    nowhere = np.zeros((codebook_size, dim))
    return CellCosts(0, (0,) * codebook_size, np.full(codebook_size, -1.0), nowhere)


def cell_costs(
    rows: Array, prepared: Prepared, codes: Int64Array, weights: Float64Array | None
) -> CellCosts:
    """Measure rows.

    Args:
        rows: (N, D), of any library.
        prepared: the codebook.
        codes: int64 (N,).
        weights: float64 (N,), None without weights.
    """
    size, host = prepared.codebook_size, to_host(rows)
    sqdist = np.minimum(rounded_sqdist(rows, prepared, codes), _LARGEST)
    with np.errstate(over="ignore", under="ignore"):
        cost = sqdist if weights is None else np.minimum(weights * sqdist, _LARGEST)
    extent = extent_of(cost)
    summer = CellSummer(Grids(extent), size, 1)
    summer.add(cost[:, None], codes, None)
    costs = tuple(to_integers(summer.result().digits)[:, 0].tolist())
    if weights is not None:
        sqdist = np.where(weights > 0, sqdist, -1.0)
    return CellCosts(extent.lowest, costs, *_farthest(host, sqdist, codes, size))


def _farthest(
    rows: np.ndarray, sqdist: Float64Array, codes: Int64Array, size: int
) -> tuple[Float64Array, Float64Array]:
    greatest = np.full(size, -1.0)
    np.maximum.at(greatest, codes, sqdist)
    vectors = np.zeros((size, rows.shape[1]))
    at = np.flatnonzero((sqdist == greatest[codes]) & (sqdist > 0))
    chosen: dict[int, list[float]] = {}
    for cell, row in zip(codes[at].tolist(), rows[at].astype(np.float64).tolist(), strict=True):
        chosen[cell] = min(chosen.get(cell, row), row)
    for cell, row in chosen.items():
        vectors[cell] = row
    return greatest, vectors
