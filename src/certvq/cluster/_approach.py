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
    prepared = [prepare(vector[None]) for vector in vectors]
    parts: list[list[Approach]] = [[] for _ in vectors]
    for part, host in source.host_blocks(_BLOCK):
        near = _maybe_nearer(host.astype(np.float64), sqdist[part], vectors)
        for place, one in enumerate(prepared):
            rows = np.flatnonzero(near[:, place])
            new = rounded_sqdist(host[rows], one, np.zeros(len(rows), dtype=np.int64))
            nearer = new < sqdist[part][rows]
            parts[place].append(Approach(part.start + rows[nearer], new[nearer]))
    return [
        Approach(np.concatenate([a.rows for a in own]), np.concatenate([a.sqdist for a in own]))
        for own in parts
    ]


def _maybe_nearer(rows: Float64Array, sqdist: Float64Array, vectors: Float64Array) -> BoolArray:
    """Exclude rows whose distance, less all that rounding can have added, is no smaller (N, T)."""
    with np.errstate(all="ignore"):
        own = np.einsum("nd,nd->n", rows, rows)[:, None]
        other = np.einsum("td,td->t", vectors, vectors)
        computed = own - 2.0 * (rows @ vectors.T) + other
        radius = bounds.expanded_sqdist_radius(own, other, rows.shape[1])
        return ~(computed - radius >= sqdist[:, None])
