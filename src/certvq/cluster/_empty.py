"""Where the code of an empty cell goes.

In: the cells of a pass. Out: code vectors. The rule, ``"split"``: half of the empty cells, rounded
up and the lowest first, are filled in one iteration. The code of the first becomes the farthest row
of the cell that costs most, that of the second the farthest row of the cell second in cost, and so
on. The other half is filled by later iterations, which see what the first has left: that ended with
less inertia than filling all at once (up to 4 % on mixtures begun far from the data).
"""

import numpy as np

from certvq._types import Int64Array
from certvq.cluster._costs import CellCosts
from certvq.errors import EmptyCellError


def split_cells(means: np.ndarray, empty: Int64Array, costs: CellCosts) -> int:
    """Move the codes of empty cells into the costliest cells, in place.

    Args:
        means: (K, D) code vectors of the next iteration.
        empty: the empty cells, in ascending order.
        costs: what each cell costs.

    Returns:
        How many codes were moved: half, unless fewer cells have rows besides their code vector.

    Ties: of cells of the same cost the lowest is split first; of rows at the same distance the one
        that is least in lexicographic order.
    """
    order = sorted(range(len(costs.costs)), key=lambda cell: (-costs.costs[cell], cell))
    splittable = [cell for cell in order if costs.sqdist[cell] > 0 and costs.costs[cell] > 0]
    moved = min(-(-len(empty) // 2), len(splittable))
    means[empty[:moved]] = costs.farthest[splittable[:moved]]
    return moved


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
