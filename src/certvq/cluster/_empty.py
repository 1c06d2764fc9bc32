"""Where the codes of empty cells go.

In: a pass over the data and the empty cells. Out: code vectors. The rule, ``"split"``: the code of
an empty cell becomes the farthest row of another cell. That row saves at least its own distance,
and at most what its cell costs, so the rank of a cell is the sum of two shares: that of its
farthest distance in the greatest one, and that of its cost in the greatest one. One round splits
the cells that have at least half of the greatest rank, the first first, but no cell whose farthest
row is nearer to a row that the round took before. Then all rows are assigned anew, and the next
round sees what is left, until no cell is empty.

To rank by cost alone left 5 % more inertia on heavy tails, to rank by distance alone 6 % more on
small integers; to take all cells at once 30 % more, and rows that are near to each other 20 % more
on mixtures. Splitting one cell in a round left the same inertia in ten times as many rounds.
"""

from fractions import Fraction

import numpy as np

from certvq._types import Int64Array
from certvq.assign import prepare
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._costs import CellCosts
from certvq.cluster._pass import Pass
from certvq.errors import EmptyCellError


def split_cells(look: Pass, codebook: np.ndarray, means: np.ndarray, empty: Int64Array) -> int:
    """Give the codes of empty cells to the farthest rows of other cells.

    Args:
        look: whose last tally is that of `codebook`.
        codebook: (K, D).
        means: (K, D) code vectors of the next iteration; those of empty cells are replaced.
        empty: the empty cells, in ascending order: the order in which they are filled.

    Returns:
        How many codes were moved: all, unless every row equals its code vector before.

    Ties: of cells of the same rank the lowest is split first; of rows at the same distance the one
        that is least in lexicographic order is taken.
    Cost: two passes for each round.
    """
    trial, waiting = codebook.copy(), empty.tolist()
    while True:
        costs = look.costs(trial)
        cells = _apart(costs, _ranked(costs), len(waiting))
        filled, waiting = waiting[: len(cells)], waiting[len(cells) :]
        trial[filled] = costs.farthest[cells]
        means[filled] = trial[filled]
        if not waiting or not cells:
            return len(empty) - len(waiting)
        look.tally(trial, squares=False)


def _ranked(costs: CellCosts) -> list[int]:
    """Return the cells of at least half of the greatest rank, that one first."""
    greatest, farthest = max(costs.costs), Fraction(costs.sqdist.max())
    ranks = {
        cell: cost * farthest + Fraction(costs.sqdist[cell]) * greatest
        for cell, cost in enumerate(costs.costs)
        if cost > 0
    }
    least = max(ranks.values(), default=Fraction(0)) / 2
    cells = [cell for cell, rank in ranks.items() if rank >= least]
    return sorted(cells, key=lambda cell: (-ranks[cell], cell))


def _apart(costs: CellCosts, cells: list[int], most: int) -> list[int]:
    """Keep cells whose farthest row is at least as far from those of the kept ones before."""
    rows, sqdist = costs.farthest[cells], costs.sqdist[cells]
    free, kept = np.ones(len(cells), dtype=bool), []
    while free.any() and len(kept) < most:
        place = int(free.argmax())
        kept.append(cells[place])
        taken = prepare(rows[place : place + 1])
        free &= rounded_sqdist(rows, taken, np.zeros(len(cells), dtype=np.int64)) >= sqdist
        free[place] = False
    return kept


def require_full(empty: Int64Array, iteration: int) -> None:
    """Require that no cell is empty.

    Raises:
        EmptyCellError: names the first of them.
    """
    if empty.size:
        text = (
            f"every cell must have a row of positive weight, after {iteration} iterations cell "
            f"{empty[0]} has none ({empty.size} empty cells in all); use fewer codes, another "
            'start, or empty="split"'
        )
        raise EmptyCellError(text)
