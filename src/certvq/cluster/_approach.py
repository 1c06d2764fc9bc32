"""Which rows come nearer to a code when a vector is added, and how near.

In: rows, their nearest vectors so far, new vectors. Out: for each of these the rows that are nearer
to it, with correctly rounded squared distances. Sums with a proved error exclude most rows; the
rest are measured exactly: by the compiled kernel, or by NumPy where it was not built.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from certvq import _native, bounds
from certvq._native import Nearest, thread_count
from certvq._types import Array, Float64Array, Int64Array
from certvq.assign import prepare
from certvq.assign._arrays import to_host
from certvq.assign._packing import to_bits
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._source import Source

_BLOCK: Final = 1 << 17
"""Numbers at a time: 1 MiB of float64, which stays in the cache."""

_WIDEST: Final = 1 << 12
"""Columns that the compiled kernel takes: it holds 64 rows twice, 4 MiB a thread."""

_Near: TypeAlias = tuple[Int64Array, Float64Array]
"""Rows and their squared distances."""


@dataclass(frozen=True)
class Approach:
    """Rows that come nearer.

    Attributes:
        rows: int64 (M,), ascending.
        sqdist: float64 (M,), their squared distances to the new vector, rounded once.
    """

    rows: Int64Array
    sqdist: Float64Array


def approaches(source: Source, nearest: Nearest, vectors: Float64Array) -> list[Approach]:
    """Find the rows that are nearer to a new vector than to their own.

    Args:
        source: N rows.
        nearest: what is known of them so far.
        vectors: float64 (T, D).

    Returns:
        One `Approach` for each vector.

    Cost: a pass of 2 N T D operations, and a nanosecond for each number of a row that is nearer.
        The kernel leaves out rows whose own vector is at least twice as far from the new ones.
    """
    found: list[list[_Near]] = [[] for _ in vectors]
    native = _native.AVAILABLE and source.dim <= _WIDEST
    for first, block in source.blocks():
        part = slice(first, first + len(block))
        if native:
            own = Nearest(nearest.sqdist[part], nearest.owner[part], nearest.owners)
            near = _native.approaches(to_bits(block), own, vectors, thread_count())
        else:
            near = _by_numpy(block, nearest.sqdist[part], vectors)
        for own, (rows, new) in zip(found, near, strict=True):
            own.append((first + rows if first else rows, new))
    return [Approach(*_joined(own)) for own in found]


def _joined(parts: list[_Near]) -> _Near:
    """Join what was found in each block; most data are one."""
    if len(parts) == 1:
        return parts[0]
    rows, sqdist = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(sqdist)


def _by_numpy(block: Array, sqdist: Float64Array, vectors: Float64Array) -> Iterable[_Near]:
    """Exclude rows whose squared distance surely exceeds the one so far, and measure the others."""
    host, dim = to_host(block), vectors.shape[1]
    step = max(1, _BLOCK // dim)
    with np.errstate(over="ignore"):
        limit = sqdist * bounds.farther_factor(dim) + bounds.farther_slack(dim)
    for vector in vectors:
        computed = np.empty(len(host))
        for start in range(0, len(host), step):
            part = slice(start, start + step)
            with np.errstate(over="ignore", under="ignore"):
                difference = host[part].astype(np.float64) - vector
                computed[part] = np.einsum("nd,nd->n", difference, difference)
        rows = np.flatnonzero(~(computed > limit))
        new = rounded_sqdist(host[rows], prepare(vector[None]), np.zeros(len(rows), dtype=np.int64))
        nearer = new < sqdist[rows]
        yield rows[nearer], new[nearer]
