"""Which rows come nearer to a code when a vector is added, and how near.

In: rows, their squared distances so far, new vectors. Out: for each vector the rows that are nearer
to it, with correctly rounded squared distances. Products of float64 with a proved error exclude
most rows; the rest are measured exactly.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from certvq import bounds
from certvq._types import BoolArray, Float64Array, Int64Array
from certvq.assign import prepare
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._source import Source

_BLOCK: Final = 1 << 17
"""Numbers at a time: 1 MiB of float64, which stays in the cache."""

_ONE_THREAD: Final = 1 << 18
"""Multiplications of a product that OpenBLAS computes in its caller's thread. A thousand steps wait
for 25 products each; where other programs use the cores, two threads that wait for each other took
100 times as long."""

_GATHERED: Final = 1 << 18
"""Numbers of gathered rows that are measured at once."""


@dataclass(frozen=True)
class Approach:
    """Rows that come nearer.

    Attributes:
        rows: int64 (M,), ascending.
        sqdist: float64 (M,), their squared distances to the new vector, rounded once.
    """

    rows: Int64Array
    sqdist: Float64Array


def approaches(
    source: Source, squares: Float64Array, sqdist: Float64Array, vectors: Float64Array
) -> list[Approach]:
    """Find the rows that are nearer to a new vector than `sqdist` says.

    Args:
        source: N rows.
        squares: float64 (N,), their `squared_lengths`.
        sqdist: float64 (N,), their squared distances so far.
        vectors: float64 (T, D).

    Returns:
        One `Approach` for each vector.

    Cost: a pass of 2 N T D operations, and a nanosecond for each number of a row that is nearer.
    """
    gathered = [_Gathered(sqdist, vector) for vector in vectors]
    for part, host in source.host_blocks(_BLOCK):
        near = _maybe_nearer(host.astype(np.float64), squares[part], sqdist[part], vectors)
        hits = np.flatnonzero(near)
        ends = np.searchsorted(hits, len(host) * np.arange(len(vectors) + 1))
        for place, own in enumerate(gathered):
            rows = hits[ends[place] : ends[place + 1]] - place * len(host)
            if rows.size:
                own.add(part.start + rows, host[rows])
    return [own.result() for own in gathered]


class _Gathered:
    """Rows that may be nearer to a vector, measured many at a time: a call starts threads."""

    def __init__(self, sqdist: Float64Array, vector: Float64Array) -> None:
        self._sqdist, self._prepared = sqdist, prepare(vector[None])
        self._open: list[tuple[Int64Array, np.ndarray]] = []
        self._numbers = 0
        self._found = [(np.zeros(0, dtype=np.int64), np.zeros(0))]

    def add(self, rows: Int64Array, host: np.ndarray) -> None:
        self._open.append((rows, host))
        self._numbers += host.size
        if self._numbers > _GATHERED:
            self._measure()

    def _measure(self) -> None:
        rows = np.concatenate([rows for rows, _ in self._open])
        host = np.concatenate([host for _, host in self._open])
        self._open, self._numbers = [], 0
        new = rounded_sqdist(host, self._prepared, np.zeros(len(rows), dtype=np.int64))
        nearer = new < self._sqdist[rows]
        self._found.append((rows[nearer], new[nearer]))

    def result(self) -> Approach:
        if self._open:
            self._measure()
        rows, sqdist = (np.concatenate(parts) for parts in zip(*self._found, strict=True))
        return Approach(rows, sqdist)


def squared_lengths(source: Source) -> Float64Array:
    """Return the squared lengths of all rows as float64 computes them (N,).

    Cost: a pass.
    """
    lengths = [np.zeros(0)]
    with np.errstate(all="ignore"):
        for _, host in source.host_blocks(_BLOCK):
            rows = host.astype(np.float64)
            lengths.append(np.einsum("nd,nd->n", rows, rows))
    return np.concatenate(lengths)


def _maybe_nearer(
    rows: Float64Array, squares: Float64Array, sqdist: Float64Array, vectors: Float64Array
) -> BoolArray:
    """Exclude rows whose distance, less all that rounding can have added, is no smaller (T, N).

    All vectors share the radius of the longest, which is no smaller than their own.
    """
    with np.errstate(all="ignore"):
        other = np.einsum("td,td->t", vectors, vectors)
        radius = bounds.expanded_sqdist_radius(squares, other.max(), rows.shape[1])
        limit = sqdist + radius
        computed = _products(-2.0 * vectors, rows)
        computed += squares
        computed += other[:, None]
        return ~(computed > limit)


def _products(vectors: Float64Array, rows: Float64Array) -> Float64Array:
    """Multiply (T, D) by (N, D) to (T, N), by products too small for BLAS to start threads."""
    product = np.empty((len(vectors), len(rows)))
    step = max(1, _ONE_THREAD // vectors.size)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        np.matmul(vectors, rows[part].T, out=product[:, part])
    return product
