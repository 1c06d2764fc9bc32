"""k-means||: few passes that draw many candidates, then k-means++ among them.

In: a pool of rows. Out: K different rows. What is drawn depends on the numbers of the rows, never
on where they stand.
"""

from typing import Final

import numpy as np

from certvq._types import Float64Array, Int64Array
from certvq.assign import assign, prepare
from certvq.assign._arrays import to_host
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._grid import Extent, extent_of, tight_extent_of
from certvq.cluster._keys import priorities
from certvq.cluster._masses import products
from certvq.cluster._rounding import FORMATS, rounded_ratio
from certvq.cluster._source import ArraySource, Source
from certvq.cluster._start import Pool, plus_plus, random_rows
from certvq.cluster._sums import CellSummer, Grids, to_integers

_ROUNDS: Final = 5
_FACTOR: Final = 2
"""Passes, and expected candidates of each as a multiple of K: the paper's choice."""


def oversampled(pool: Pool, count: int, seed: int) -> Int64Array:
    """Draw rows by k-means||.

    Beginning with one row, each of five rounds takes every row with probability
    ``min(1, 2 K w d / total(w d))``, d the squared distance to the nearest candidate so far. Each
    candidate then gets the weight of the rows nearest to it, and k-means++ draws K of them.

    Args:
        pool: with at least so many different rows of positive weight.
        count: K.
        seed: of the draws.

    Returns:
        int64 (K,), row numbers of different rows.

    Cost: 7 passes over the data, the last of which searches about 10 K candidates.

    References:
        Bahmani et al., "Scalable K-Means++", 2012.
    """
    taken = random_rows(pool, 1, seed)
    sqdist = np.full(len(pool.keys), np.inf)
    fresh = taken
    for stream in range(1, _ROUNDS + 1):
        _approach(pool.source, sqdist, pool.source.rows(fresh))
        fresh = _sampled(pool, sqdist, _FACTOR * count, (seed, stream))
        taken = np.concatenate([taken, fresh])
    if len(taken) <= count:
        rest = random_rows(pool, count - len(taken), seed, without=pool.keys[taken])
        return np.concatenate([taken, rest])
    candidates = pool.source.rows(taken)
    mass = _masses(pool, candidates)
    return taken[plus_plus(Pool(ArraySource(candidates), pool.keys[taken], mass), count, seed)]


def _approach(source: Source, sqdist: Float64Array, vectors: Float64Array) -> None:
    """Lower the squared distances of rows that are nearer to new vectors, in place."""
    if not len(vectors):
        return
    prepared = prepare(vectors)
    for first, block in source.blocks():
        codes = to_host(assign(block, prepared).codes)
        part = sqdist[first : first + len(block)]
        np.minimum(part, rounded_sqdist(block, prepared, codes), out=part)


def _sampled(pool: Pool, sqdist: Float64Array, expected: int, draw: tuple[int, int]) -> Int64Array:
    """Take each row with its probability; of equal rows, which share their draw, the first."""
    mass = products(sqdist, pool.weights)
    extent = extent_of(mass)
    total = _exact_total(mass, extent)
    if total == 0:
        return np.zeros(0, dtype=np.int64)
    # the quotient rounds, but alike everywhere: it is one division of correctly rounded numbers
    share = rounded_ratio(total, expected, extent.lowest, FORMATS["float64"])
    level = (priorities(pool.keys, *draw) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    with np.errstate(over="ignore"):
        rows = np.flatnonzero(level < mass / share)
    _, first = np.unique(pool.keys[rows], return_index=True)
    return rows[first]


def _masses(pool: Pool, candidates: Float64Array) -> Float64Array:
    """Weigh the rows nearest to each candidate, rounded once."""
    prepared = prepare(candidates)
    codes = np.empty(len(pool.keys), dtype=np.int64)
    for first, block in pool.source.blocks():
        codes[first : first + len(block)] = to_host(assign(block, prepared).codes)
    if pool.weights is None:
        return np.bincount(codes, minlength=len(candidates)).astype(np.float64)
    extent = tight_extent_of(pool.weights)
    totals = _cell_totals(pool.weights, codes, extent, len(candidates))
    form = FORMATS["float64"]
    return np.array([rounded_ratio(total, 1, extent.lowest, form) for total in totals])


def _exact_total(values: Float64Array, extent: Extent) -> int:
    return _cell_totals(values, np.zeros(len(values), dtype=np.int64), extent, 1)[0]


def _cell_totals(values: Float64Array, codes: Int64Array, extent: Extent, size: int) -> list[int]:
    summer = CellSummer(Grids(extent), size, 1)
    summer.add(values[:, None], codes, None)
    return to_integers(summer.result().digits)[:, 0].tolist()
