"""The last word: exact integer arithmetic on the few rows that nothing faster could decide.

In: exact latents, code vectors, and for each open row its candidates. Out: for each row the lowest
candidate at the least distance. Floats are dyadic rationals, so after a common scaling everything
is an integer: 64-bit ones where they provably suffice, Python's own otherwise. Must not import
filters.
"""

import math
from dataclasses import dataclass

import numpy as np

from certvq._types import Float64, Float64Array, Int64, Int64Array

_CHUNK = 1 << 17
"""Differences at a time: 1 MiB. Of 2**15 .. 2**20 the fastest at 8, 32 and 256 dims; 2**20 takes
1.2 to 2.4 times as long."""

_SURE_BITS = 62
"""A sum of D squares of differences below ``2**(b + 1)`` has at most so many bits in an int64; one
more is left free beside the sign."""


@dataclass(frozen=True)
class Pairs:
    """Candidates of open rows: pair p says that code `codes[p]` may be nearest to row `rows[p]`.

    Attributes:
        rows: int64 (P,), not decreasing, indices into the open latents; every open row occurs.
        codes: int64 (P,), increasing within a row.
    """

    rows: Int64[Int64Array, " P"]
    codes: Int64[Int64Array, " P"]

    def starts(self) -> Int64Array:
        """Return where each row begins, int64 (M,)."""
        changed = np.flatnonzero(self.rows[1:] != self.rows[:-1]) + 1
        return np.concatenate([np.zeros(1, dtype=np.int64), changed])

    def keep(self, mask: np.ndarray) -> "Pairs":
        """Return the pairs where `mask` holds."""
        return Pairs(self.rows[mask], self.codes[mask])

    def chunks(self, dim: int) -> list[slice]:
        """Cut the pairs into slices of bounded memory."""
        step = max(1, _CHUNK // dim)
        return [slice(i, i + step) for i in range(0, len(self.rows), step)]


def decide_exactly(
    latents: Float64[Float64Array, "M D"], codebook: Float64[Float64Array, "U D"], pairs: Pairs
) -> Int64[Int64Array, " M"]:
    """Return for each row the lowest candidate at the least distance over the rationals.

    Args:
        latents: (M, D) exact numbers of the open rows.
        codebook: (U, D) exact numbers.
        pairs: the candidates; at least one for each row.

    Returns:
        int64 (M,).

    Cost: 64-bit integers at NumPy's speed where numbers have few bits between the highest and the
    lowest; else about half a microsecond for each coordinate of each pair.
    """
    used, places = np.unique(pairs.codes, return_inverse=True)
    vectors = codebook[used]
    exponent, bits = _common_grid(latents, vectors)
    local = Pairs(pairs.rows, places.astype(np.int64))
    if 2 * (bits + 1) + max(1, latents.shape[1]).bit_length() <= _SURE_BITS:
        chosen = _decide_int64(
            np.ldexp(latents, -exponent).astype(np.int64),
            np.ldexp(vectors, -exponent).astype(np.int64),
            local,
        )
    else:
        chosen = _decide_big(latents, vectors, local)
    return used[chosen]


def integer_sqdist(
    latents: Float64Array, codebook: Float64Array, pairs: Pairs
) -> Int64Array | list[int]:
    """Return squared distances in a unit that all pairs share, as exact integers.

    Args:
        latents: (M, D) exact numbers.
        codebook: (U, D) exact numbers.
        pairs: which distances are wanted; a pair may stand anywhere.

    Returns:
        One integer for each pair: int64 where 64 bits provably suffice, Python's own otherwise.
    """
    used, places = np.unique(pairs.codes, return_inverse=True)
    vectors = codebook[used]
    exponent, bits = _common_grid(latents, vectors)
    if 2 * (bits + 1) + max(1, latents.shape[1]).bit_length() <= _SURE_BITS:
        local = Pairs(pairs.rows, places.astype(np.int64))
        points = np.ldexp(latents, -exponent).astype(np.int64)
        return _sqdist_int64(points, np.ldexp(vectors, -exponent).astype(np.int64), local)
    rows, dim = latents.shape
    numbers, _ = _integers([*latents.ravel().tolist(), *vectors.ravel().tolist()])
    points = [numbers[i * dim : (i + 1) * dim] for i in range(rows + len(vectors))]
    return [
        sum((a - b) ** 2 for a, b in zip(points[row], points[rows + place], strict=True))
        for row, place in zip(pairs.rows.tolist(), places.tolist(), strict=True)
    ]


def exact_sqdist(latent: Float64Array, vector: Float64Array) -> float:
    """Return the squared distance of two exact vectors, rounded once, to nearest even."""
    numbers, denominator = _integers([*latent.tolist(), *vector.tolist()])
    half = len(numbers) // 2
    total = sum((a - b) ** 2 for a, b in zip(numbers[:half], numbers[half:], strict=True))
    try:
        return total / (denominator * denominator)
    except OverflowError:
        return math.inf


def same_sqdist(latent: Float64Array, first: Float64Array, second: Float64Array) -> bool:
    """Say whether two vectors are at the same distance from a latent, over the rationals."""
    numbers, _ = _integers([*latent.tolist(), *first.tolist(), *second.tolist()])
    dim = len(latent)
    rows = zip(numbers[:dim], numbers[dim : 2 * dim], numbers[2 * dim :], strict=True)
    return sum((z - a) ** 2 - (z - b) ** 2 for z, a, b in rows) == 0


def _common_grid(*arrays: Float64Array) -> tuple[int, int]:
    """Return e and b such that all numbers are integers below 2**b, times 2**e."""
    values = np.concatenate([a.ravel() for a in arrays])
    values = values[values != 0.0]
    if not values.size:
        return 0, 1
    mantissas, exponents = np.frexp(values)
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    lowest_bits = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    lowest = int((exponents - 53 + lowest_bits).min())
    return lowest, int(exponents.max()) - lowest


def _sqdist_int64(latents: Int64Array, vectors: Int64Array, pairs: Pairs) -> Int64Array:
    distances = np.empty(len(pairs.rows), dtype=np.int64)
    for part in pairs.chunks(latents.shape[1]):
        difference = latents[pairs.rows[part]] - vectors[pairs.codes[part]]
        distances[part] = np.einsum("pd,pd->p", difference, difference)
    return distances


def _decide_int64(latents: Int64Array, vectors: Int64Array, pairs: Pairs) -> Int64Array:
    distances = _sqdist_int64(latents, vectors, pairs)
    starts = pairs.starts()
    least = np.minimum.reduceat(distances, starts)
    lengths = np.diff(np.append(starts, len(distances)))
    losing = distances != np.repeat(least, lengths)
    return np.minimum.reduceat(np.where(losing, len(vectors), pairs.codes), starts)


def _decide_big(latents: Float64Array, vectors: Float64Array, pairs: Pairs) -> Int64Array:
    rows, dim = latents.shape
    numbers, _ = _integers([*latents.ravel().tolist(), *vectors.ravel().tolist()])
    points = [numbers[i * dim : (i + 1) * dim] for i in range(rows + len(vectors))]
    chosen = np.full(rows, -1, dtype=np.int64)
    least: list[int | None] = [None] * rows
    for row, code in zip(pairs.rows.tolist(), pairs.codes.tolist(), strict=True):
        distance = sum((a - b) ** 2 for a, b in zip(points[row], points[rows + code], strict=True))
        best = least[row]
        if best is None or distance < best:
            least[row], chosen[row] = distance, code
    return chosen


def _integers(values: list[float]) -> tuple[list[int], int]:
    """Scale dyadic rationals to integers over their common denominator, a power of two."""
    ratios = [value.as_integer_ratio() for value in values]
    denominator = max(bottom for _, bottom in ratios)
    return [top * (denominator // bottom) for top, bottom in ratios], denominator
