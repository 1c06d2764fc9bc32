"""What tells rows with the same codes apart.

In: rows and their codes at every level. Out: a number for each row, which makes identifiers unique.
"""

import numpy as np

from certvq._types import Int64Array
from certvq.cluster._source import Source


def suffixes(source: Source, codes: Int64Array) -> tuple[Int64Array, int]:
    """Number the rows that have the same codes.

    Args:
        source: N rows.
        codes: int64 (N, L).

    Returns:
        int64 (N,): from 0 on, in lexicographic order of the rows' numbers, equal rows in their
        order in the data; and how many rows share their codes with another one.

    Cost: O(N log N), and a look at the rows that collide.
    """
    _, group, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    suffix = np.zeros(len(codes), dtype=np.int64)
    shared = np.flatnonzero(counts[group] > 1)
    if not shared.size:
        return suffix, 0
    order = np.lexsort((*source.rows(shared).T[::-1], group[shared]))
    ordered = group[shared[order]]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(begins, append=len(ordered))
    suffix[shared[order]] = np.arange(len(ordered)) - np.repeat(begins, sizes)
    return suffix, len(shared)
