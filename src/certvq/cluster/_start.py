"""Where the iterations begin: rows drawn with a seed.

In: rows, their keys and weights. Out: K different rows. What is drawn is a function of the set of
rows, their weights and the seed; the order of the rows has no say, except between equal ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from certvq._types import Float64Array, Int64Array
from certvq.cluster._approach import Approach, approaches
from certvq.cluster._keys import Draws, Keys, priorities
from certvq.cluster._source import Source
from certvq.errors import OptionError

_STEPS: Final = 1 << 31
"""The greatest weight of a draw: weights are cut to multiples of its 2**-31, so that they add up
in 64 bits, in any order."""

_LARGEST: Final = np.finfo(np.float64).max


@dataclass(frozen=True)
class Pool:
    """What can be drawn from.

    Attributes:
        source: the rows.
        keys: uint64 (N,), `certvq.cluster._keys.keys_of` them.
        weights: float64 (N,), None where each row counts 1.
    """

    source: Source
    keys: Keys
    weights: Float64Array | None

    def allowed(self) -> Int64Array:
        """Return the rows of positive weight."""
        if self.weights is None:
            return np.arange(len(self.keys))
        return np.flatnonzero(self.weights > 0)


class TooFewRowsError(OptionError):
    """Fewer distinct rows than codes to draw, for those who know what to do then."""


def require_distinct(pool: Pool, codebook_size: int) -> None:
    """Require as many different rows of positive weight as codes.

    Raises:
        TooFewRowsError: names both numbers.
    """
    distinct = len(np.unique(pool.keys[pool.allowed()]))
    if distinct < codebook_size:
        text = (
            f"codebook_size must be at most the number of distinct rows of positive weight, got "
            f"{codebook_size} codes for {distinct} distinct rows; use fewer codes, or give a start "
            'of your own and empty="keep"'
        )
        raise TooFewRowsError(text)


def random_rows(pool: Pool, count: int, seed: int, *, without: Keys | None = None) -> Int64Array:
    """Draw different rows, each set of them equally likely; how often a row occurs has no say.

    Args:
        pool: with at least so many different rows of positive weight besides `without`.
        count: how many.
        seed: of the draw.
        without: keys of rows that are not to be drawn.

    Returns:
        int64 (count,), row numbers, in random order; of equal rows the first.
    """
    rows = pool.allowed()
    keys, first = np.unique(pool.keys[rows], return_index=True)
    rows = rows[first]
    if without is not None:
        free = ~np.isin(keys, without)
        keys, rows = keys[free], rows[free]
    return rows[np.argsort(priorities(keys, seed, 0), kind="stable")[:count]]


def plus_plus(pool: Pool, count: int, seed: int) -> Int64Array:
    """Draw rows by k-means++, greedily: of several candidates the one that leaves the least cost.

    The first is drawn by weight. Each later one is the best of ``2 + 7 b // 10`` candidates, b the
    bits of K (about 2 + ln K, as scikit-learn has them), each drawn with probability proportional
    to weight times squared distance to the nearest row drawn before. Squared distances are rounded
    correctly, and their products with weights, divided by the greatest of them and cut to 31 bits,
    are integers: which row a random integer means is exact.

    Args:
        pool: with at least so many different rows of positive weight.
        count: K.
        seed: of the draws.

    Returns:
        int64 (K,), row numbers of different rows.

    Cost: K passes over the data.

    References:
        Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", 2007.
    """
    order = np.argsort(pool.keys, kind="stable")
    draws = Draws(seed, 1)
    trials = 2 + 7 * count.bit_length() // 10
    mass = np.ones(len(order)) if pool.weights is None else pool.weights
    chosen = _drawn(_cut(mass[order], _scale(mass)), order, draws.below, 1)
    masses = _Masses(pool, order, chosen[0])
    while len(chosen) < count:
        if not masses.cut.any():  # float64 cannot tell the others from the chosen ones
            rest = random_rows(pool, count - len(chosen), seed, without=pool.keys[chosen])
            return np.array([*chosen, *rest], dtype=np.int64)
        chosen.append(masses.lower(_drawn(masses.cut, order, draws.below, trials)))
    return np.array(chosen, dtype=np.int64)


def _drawn(
    cut: Int64Array, order: Int64Array, below: Callable[[int, int], Int64Array], count: int
) -> list[int]:
    """Draw rows with probability proportional to their cut mass, both in the order of keys."""
    running = np.cumsum(cut)
    levels = below(int(running[-1]), count)
    return order[np.searchsorted(running, levels, side="right")].tolist()


def products(sqdist: Float64Array, weights: Float64Array | None) -> Float64Array:
    """Multiply squared distances with weights; the greatest float64 stands for all beyond."""
    sqdist = np.minimum(sqdist, _LARGEST)
    if weights is None:
        return sqdist
    with np.errstate(over="ignore", under="ignore"):
        return np.minimum(sqdist * weights, _LARGEST)


def _scale(values: Float64Array) -> int:
    """Return the exponent that brings the greatest value just below `_STEPS`."""
    return _STEPS.bit_length() - 1 - int(np.frexp(values.max(initial=0.0))[1])


def _cut(values: Float64Array, scale: int) -> Int64Array:
    return np.ldexp(values, scale).astype(np.int64)


class _Masses:
    """Weight times squared distance to the nearest row drawn so far, for each row.

    Args:
        pool: the rows.
        order: their numbers in the order of their keys.
        first: number of the first row drawn.

    Attributes:
        cut: int64 (N,), the masses divided by the greatest and cut, in the order of keys.
    """

    def __init__(self, pool: Pool, order: Int64Array, first: int) -> None:
        self._pool, self._order = pool, order
        self._place = np.empty_like(order)
        self._place[order] = np.arange(len(order))
        self._sqdist = np.full(len(order), np.inf)
        self._mass = products(self._sqdist, pool.weights)
        self._scale, self.cut = 0, np.zeros(len(order), dtype=np.int64)
        self._take(self._approaches([first])[0])

    def lower(self, candidates: list[int]) -> int:
        """Add the candidate that lowers the cut masses most; of several the one drawn first."""
        found = self._approaches(candidates)
        gains = [self._gain(approach) for approach in found]
        best = gains.index(max(gains))
        self._take(found[best])
        return candidates[best]

    def _approaches(self, candidates: list[int]) -> list[Approach]:
        source = self._pool.source
        return approaches(source, self._sqdist, source.rows(np.array(candidates)))

    def _gain(self, approach: Approach) -> int:
        before = self.cut[self._place[approach.rows]]
        return int((before - _cut(self._of(approach), self._scale)).sum())

    def _of(self, approach: Approach) -> Float64Array:
        weights = self._pool.weights
        return products(approach.sqdist, None if weights is None else weights[approach.rows])

    def _take(self, approach: Approach) -> None:
        rows, mass = approach.rows, self._of(approach)
        self._sqdist[rows], self._mass[rows] = approach.sqdist, mass
        scale, before = _scale(self._mass), self._scale
        self._scale = scale
        if scale == before:
            self.cut[self._place[rows]] = _cut(mass, scale)
        else:
            self.cut = _cut(self._mass[self._order], scale)
