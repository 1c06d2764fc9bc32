"""Where the iterations begin: rows drawn with a seed.

In: rows, their keys and weights. Out: K different rows. What is drawn is a function of the set of
rows, their weights and the seed; the order of the rows has no say, except between equal ones.
"""

from dataclasses import dataclass

import numpy as np

from certvq._types import Float64Array, Int64Array
from certvq.cluster._keys import Draws, Keys, priorities
from certvq.cluster._masses import Masses
from certvq.cluster._source import Source
from certvq.errors import OptionError


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
    draws = Draws(seed, 1)
    trials = 2 + 7 * count.bit_length() // 10
    masses = Masses(pool.source, pool.keys, pool.weights, count)
    chosen = [masses.lower(masses.drawn(draws, 1))]
    while len(chosen) < count:
        if masses.spent:  # float64 cannot tell the others from the chosen ones
            rest = random_rows(pool, count - len(chosen), seed, without=pool.keys[chosen])
            return np.array([*chosen, *rest], dtype=np.int64)
        chosen.append(masses.lower(masses.drawn(draws, trials)))
    return np.array(chosen, dtype=np.int64)
