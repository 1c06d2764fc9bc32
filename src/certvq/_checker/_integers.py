"""Squared distances compared in 64-bit integers, for all rows at once.

In: float64 rows. Out: which rows were compared exactly, and the differences. Must not import
anything of certvq.
"""

import numpy as np
from numpy.typing import NDArray


def compare_in_int64(
    points: NDArray[np.float64], given: NDArray[np.float64], rivals: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Compare squared distances from points to two vectors each.

    The numbers of a row, times a power of two, are below ``2**bits``. If all are integers then,
    their differences are below ``2**(bits + 1)`` and D squares of these add up to less than
    ``2**62``.

    Args:
        points: (P, D), finite.
        given: (P, D), finite.
        rivals: (P, D), finite.

    Returns:
        bool (P,): whether the numbers are such integers; int64 (P,): where they are, a positive
        multiple of ``|point - given|**2 - |point - rival|**2``.

    Guarantee: exact, where the first says so.
    """
    bits = (62 - points.shape[1].bit_length()) // 2 - 1
    numbers = np.stack([points, given, rivals])
    _, exponents = np.frexp(np.abs(numbers).max(axis=(0, 2)))
    shifts = (bits - exponents)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(numbers, shifts)
        same = (np.rint(scaled) == scaled) & (np.ldexp(scaled, -shifts) == numbers)
    known = same.all(axis=(0, 2))
    point, own, rival = np.where(known[:, None], scaled, 0.0).astype(np.int64)
    return known, ((point - own) ** 2).sum(axis=1) - ((point - rival) ** 2).sum(axis=1)
