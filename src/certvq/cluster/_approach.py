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


def approaches(source: Source, sqdist: Float64Array, vectors: Float64Array) -> list[Approach]:
    """Find the rows that are nearer to a new vector than `sqdist` says.

    Args:
        source: N rows.
        sqdist: float64 (N,), their squared distances so far.
        vectors: float64 (T, D).

    Returns:
        One `Approach` for each vector.

    Cost: a pass of 2 N T D operations, and a nanosecond for each number of a row that is nearer.
    """
    gathered = [_Gathered(sqdist, vector) for vector in vectors]
    for part, host in source.host_blocks(_BLOCK):
        near = _maybe_nearer(host.astype(np.float64), sqdist[part], vectors)
        for place, own in enumerate(gathered):
            rows = np.flatnonzero(near[place])
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


def _maybe_nearer(rows: Float64Array, sqdist: Float64Array, vectors: Float64Array) -> BoolArray:
    """Exclude rows whose distance, less all that rounding can have added, is no smaller (T, N)."""
    with np.errstate(all="ignore"):
        own = np.einsum("nd,nd->n", rows, rows)
        other = np.einsum("td,td->t", vectors, vectors)[:, None]
        computed = own - 2.0 * (vectors @ rows.T) + other
        radius = bounds.expanded_sqdist_radius(own, other, rows.shape[1])
        return ~(computed - radius >= sqdist)
