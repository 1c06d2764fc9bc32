"""Where the code of an empty cell goes.

In: the cells of a pass. Out: code vectors. The rule, ``"split"``: the cells that cost most are
split, one for each empty cell; the code of the first empty cell becomes the farthest row of the
costliest cell, that of the second the farthest row of the second costliest, and so on.
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
        How many codes were moved: all, unless fewer cells have a row that is not its code vector.

    Ties: of cells of the same cost the lowest is split first; of rows at the same distance the one
        that is least in lexicographic order.
    """
    order = sorted(range(len(costs.costs)), key=lambda cell: (-costs.costs[cell], cell))
    splittable = [cell for cell in order if costs.sqdist[cell] > 0 and costs.costs[cell] > 0]
    moved = min(len(empty), len(splittable))
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
