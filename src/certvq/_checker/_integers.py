"""Differences of squared distances as exact integers of several digits, for many rows at once.

In: float64 rows. Out: which differences are exact, and their digits. Must not import anything of
certvq.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

LIMBS = 4
"""Parts that a number is split into."""

DIGITS = 2 * LIMBS - 1


@dataclass(frozen=True, eq=False)
class Differences:
    """``|point - given|**2 - |point - rival|**2``, row by row.

    Attributes:
        known: bool (P,): whether the numbers fit; what follows is exact there, and of no use
            elsewhere.
        digits: int64 (P, DIGITS), the most significant first: all but the first are in
            ``[0, 2**bits)``, so that differences of one exponent compare as their digits do.
        exponent: int64 (P,): of the unit of the last digit, a power of two.
        bits: of a digit.
    """

    known: NDArray[np.bool_]
    digits: NDArray[np.int64]
    exponent: NDArray[np.int64]
    bits: int


def magnitudes(*arrays: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row of several (P, D) the least e with all numbers below ``2**e``, (P,)."""
    most = np.max([np.abs(array).max(axis=1, initial=0.0) for array in arrays], axis=0)
    return np.frexp(most)[1].astype(np.int64)


def digit_bits(dim: int) -> int:
    """Return how many bits a part may have: sums of D products of two parts stay below 2**62."""
    return (59 - (LIMBS * dim).bit_length()) // 2


def differences(
    points: NDArray[np.float64],
    given: NDArray[np.float64],
    rivals: NDArray[np.float64],
    magnitude: NDArray[np.int64],
) -> Differences:
    """Subtract squared distances from points to two vectors each.

    Numbers are cut into `LIMBS` parts of b bits. Parts of differences are below ``2**(b + 1)``; a
    digit of the result is a sum of 2 LIMBS D products of these at most, which is below ``2**62``.

    Args:
        points: (P, D), finite.
        given: (P, D), finite.
        rivals: (P, D), finite.
        magnitude: (P,), at least `magnitudes` of the three.

    Returns:
        The `Differences`: known where no number has a bit below ``2**(magnitude - LIMBS b)``.

    Guarantee: exact, where it says so.
    """
    bits = digit_bits(points.shape[1])
    shift = (bits - magnitude)[:, None]
    known = np.ones(len(points), dtype=np.bool_)
    parts: list[list[NDArray[np.int64]]] = []
    for array in (points, given, rivals):
        cut, whole = _split(array, shift, bits)
        parts.append(cut)
        known &= whole
    point, own, rival = parts
    digits = np.zeros((len(points), DIGITS), dtype=np.int64)
    for sign, other in ((1, own), (-1, rival)):
        gaps = [z - c for z, c in zip(point, other, strict=False)]  # missing parts are 0
        gaps += point[len(other) :] + [-c for c in other[len(point) :]]
        for i, j in combinations_with_replacement(range(len(gaps)), 2):
            factor = sign if i == j else 2 * sign
            digits[:, i + j] += factor * np.einsum("pd,pd->p", gaps[i], gaps[j])
    for place in range(DIGITS - 1, 0, -1):
        carried = digits[:, place] >> bits
        digits[:, place] -= carried << bits
        digits[:, place - 1] += carried
    exponent = 2 * (magnitude - bits) - bits * (DIGITS - 1)
    return Differences(known, digits, exponent, bits)


def _split(
    array: NDArray[np.float64], shift: NDArray[np.int64], bits: int
) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_]]:
    """Cut numbers times ``2**shift`` into integers, the most significant first, while any is left.

    Returns:
        Parts (P, D), and of each row whether the parts are the whole of it, (P,).
    """
    with np.errstate(over="ignore", under="ignore"):
        rest = np.ldexp(array, shift)
        whole = (np.ldexp(rest, -shift) == array).all(axis=1)
        parts: list[NDArray[np.int64]] = []
        while len(parts) < LIMBS and rest.any():
            top = np.trunc(rest)
            parts.append(top.astype(np.int64))
            rest = np.ldexp(rest - top, bits)
    return parts, whole & ~rest.any(axis=1)
