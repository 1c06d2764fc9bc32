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
    points, vectors = _on_one_grid(latents, codebook)
    book = Codebook(tuple(vectors))
    return np.array([nearest_code(book, point) for point in points], dtype=np.int64)


def reference_second(latents: np.ndarray, codebook: np.ndarray, codes: Int64Array) -> Int64Array:
    """Find the lowest nearest code of each row besides the given one, in exact integers.

    Args:
        latents: (N, D) finite floats on the host.
        codebook: (K, D) finite floats on the host.
        codes: int64 (N,).

    Returns:
        int64 (N,), -1 where K = 1.

    Cost: as `reference_codes`.
    """
    result = np.full(len(latents), -1, dtype=np.int64)
    if len(latents) == 0 or len(codebook) == 1:
        return result
    points, vectors = _on_one_grid(latents, codebook)
    for row, code in enumerate(codes.tolist()):
        others = Codebook(tuple(vectors[:code] + vectors[code + 1 :]))
        found = nearest_code(others, points[row])
        result[row] = found + (found >= code)
    return result


def _on_one_grid(*arrays: np.ndarray) -> list[list[tuple[int, ...]]]:
    """Scale all numbers to integers over their common denominator, a power of two."""
    ratios = [
        [[value.as_integer_ratio() for value in row] for row in array.astype(np.float64).tolist()]
        for array in arrays
    ]
    denominator = max(bottom for array in ratios for row in array for _, bottom in row)
    return [
        [tuple(top * (denominator // bottom) for top, bottom in row) for row in array]
        for array in ratios
    ]
