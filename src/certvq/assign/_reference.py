"""The slow, obvious reference: every distance of every pair, in exact integers.

In: latents and a codebook. Out: the lowest nearest code of each row. It shares nothing with the
fast paths but the reading of arrays, and every one of them is compared with it by ``==``.
"""

import numpy as np

from certvq._types import Int64Array
from certvq.spec import Codebook, nearest_code


def reference_codes(latents: np.ndarray, codebook: np.ndarray) -> Int64Array:
    """Find the lowest nearest code of each row by the specification, in exact integers.

    Args:
        latents: (N, D) finite floats on the host.
        codebook: (K, D) finite floats on the host.

    Returns:
        int64 (N,).

    Cost: O(N K D) operations on Python integers, some tenths of a microsecond each.
    """
    ratios = [
        [[value.as_integer_ratio() for value in row] for row in array.astype(np.float64).tolist()]
        for array in (latents, codebook)
    ]
    denominator = max(bottom for array in ratios for row in array for _, bottom in row)
    points, vectors = (
        [tuple(top * (denominator // bottom) for top, bottom in row) for row in array]
        for array in ratios
    )
    book = Codebook(tuple(vectors))
    return np.array([nearest_code(book, point) for point in points], dtype=np.int64)
