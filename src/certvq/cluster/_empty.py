"""Where the codes of empty cells go.

In: a pass over the data and the empty cells. Out: code vectors. The rule, ``"split"``: the code of
an empty cell becomes the farthest row of a costly cell. One round splits, the costliest first, the
cells that cost at least half of what the costliest does; then all rows are assigned anew, and the
next round sees what is left, until no cell is empty. So a cell that costs very much is split
several times, as heavy tails need it, and cells that cost little are left alone.

Splitting each cell once, or filling half of the empty cells in an iteration, left up to 60 % more
inertia on heavy tails; taking the farthest rows of all, as scikit-learn does, up to five times as
much on mixtures that were begun far away.
"""

import numpy as np

from certvq._types import Int64Array
from certvq.cluster._costs import CellCosts
from certvq.cluster._pass import Pass
from certvq.errors import EmptyCellError


def split_cells(look: Pass, codebook: np.ndarray, means: np.ndarray, empty: Int64Array) -> int:
    """Move the codes of empty cells into the costliest cells.

    Args:
        look: whose last tally is that of `codebook`.
        codebook: (K, D).
        means: (K, D) code vectors of the next iteration; those of empty cells are replaced.
        empty: the empty cells, in ascending order: the order in which they are filled.

    Returns:
        How many codes were moved: all, unless every row equals its code vector before.

    Ties: of cells of the same cost the lowest is split first; of rows at the same distance the one
        that is least in lexicographic order.
    """
    trial, waiting = codebook.copy(), empty.tolist()
    while True:
        costs = look.costs(trial)
        cells = _costly(costs)[: len(waiting)]
        filled, waiting = waiting[: len(cells)], waiting[len(cells) :]
        trial[filled] = costs.farthest[cells]
        means[filled] = trial[filled]
        if not waiting or not cells:
            return len(empty) - len(waiting)
        look.tally(trial, squares=False)


def _costly(costs: CellCosts) -> list[int]:
    """Return the cells that cost at least half of the costliest, that one first."""
    greatest = max(costs.costs)
    cells = [cell for cell, cost in enumerate(costs.costs) if cost > 0 and 2 * cost >= greatest]
    return sorted(cells, key=lambda cell: (-costs.costs[cell], cell))


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
