"""Weight times squared distance to the nearest vector so far: what k-means++ draws by.

In: rows, and one vector after another. Out: rows drawn with probability proportional to their
masses, which are cut to integers, so that which row a random integer means is exact. Must not know
how many of them are tried.
"""

from typing import Final

import numpy as np

from certvq._native import Nearest
from certvq._types import Float64Array, Int64Array
from certvq.cluster._approach import Approach, approaches
from certvq.cluster._keys import Draws, Keys
from certvq.cluster._source import Source

_STEPS: Final = 1 << 31
"""The greatest mass of a draw: masses are cut to multiples of its 2**-31, so that they add up
in 64 bits, in any order."""

_LARGEST: Final = np.finfo(np.float64).max

_ZERO: Final = np.zeros(1, dtype=np.int64)

_PART: Final = 256
"""Cut masses that are summed up; a draw looks at these sums, and into few of them."""


def products(sqdist: Float64Array, weights: Float64Array | None) -> Float64Array:
    """Multiply squared distances with weights; the greatest float64 stands for all beyond."""
    sqdist = np.minimum(sqdist, _LARGEST)
    if weights is None:
        return sqdist
    with np.errstate(over="ignore", under="ignore"):
        return np.minimum(sqdist * weights, _LARGEST)


class Masses:
    """The mass of each row, which begins as its weight.

    Args:
        source: N rows.
        keys: uint64 (N,), whose order is that of the draws.
        weights: float64 (N,), None where each row counts 1.
        most: how many vectors can be added.
    """

    def __init__(self, source: Source, keys: Keys, weights: Float64Array | None, most: int) -> None:
        count = len(keys)
        self._source, self._weights = source, weights
        self._order = np.argsort(keys, kind="stable")
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(count)
        self._sqdist = np.full(count, np.inf)
        self._owner = np.full(count, -1, dtype=np.int32)
        self._owners, self._known = np.empty((most, source.dim)), 0
        self._cut = np.zeros((-(-count // _PART), _PART), dtype=np.int64)
        self._mass = np.ones(count) if weights is None else weights
        self._cut_all()

    @property
    def spent(self) -> bool:
        """Whether all cut masses are 0."""
        return not self._sums.any()

    def drawn(self, draws: Draws, count: int) -> list[int]:
        """Draw rows, which may be the same."""
        running = np.cumsum(self._sums)
        levels = draws.below(int(running[-1]), count)
        parts = np.searchsorted(running, levels, side="right")
        rest = levels - (running[parts] - self._sums[parts])
        inside = np.cumsum(self._cut[parts], axis=1) <= rest[:, None]
        return self._order[parts * _PART + np.count_nonzero(inside, axis=1)].tolist()

    def lower(self, candidates: list[int]) -> int:
        """Add the row that lowers the cut masses most; of several the one that comes first."""
        vectors = self._source.rows(np.array(candidates))
        nearest = Nearest(self._sqdist, self._owner, self._owners[: self._known])
        found = approaches(self._source, nearest, vectors)
        best = int(self._gains(found).argmax()) if len(candidates) > 1 else 0
        self._take(found[best], vectors[best])
        return candidates[best]

    def _gains(self, found: list[Approach]) -> Int64Array:
        """Return by how much each lowers the sum, which is below 2**63."""
        rows = np.concatenate([approach.rows for approach in found])
        sqdist = np.concatenate([approach.sqdist for approach in found])
        before = self._cut.ravel()[self._place[rows]]
        falls = before - self._cut_of(self._mass_of(rows, sqdist))
        running = np.concatenate((_ZERO, np.cumsum(falls)))  # modulo 2**64
        ends = running[np.cumsum([0, *(len(approach.rows) for approach in found)])]
        return ends[1:] - ends[:-1]

    def _take(self, approach: Approach, vector: Float64Array) -> None:
        first = self._known == 0
        if first:  # until now masses were weights
            self._mass = products(self._sqdist, self._weights)
        rows, mass = approach.rows, self._mass_of(approach.rows, approach.sqdist)
        self._sqdist[rows], self._owner[rows] = approach.sqdist, self._known
        self._mass[rows], self._owners[self._known] = mass, vector
        self._known += 1
        if first or self._mass[self._top] != self._greatest:
            self._cut_all()
        else:
            place, cut = self._place[rows], self._cut_of(mass)
            np.subtract.at(self._sums, place // _PART, self._cut.ravel()[place] - cut)
            self._cut.ravel()[place] = cut

    def _mass_of(self, rows: Int64Array, sqdist: Float64Array) -> Float64Array:
        return products(sqdist, None if self._weights is None else self._weights[rows])

    def _cut_of(self, mass: Float64Array) -> Int64Array:
        return np.ldexp(mass, self._scale).astype(np.int64)

    def _cut_all(self) -> None:
        """Cut all masses anew: by the scale that brings the greatest just below `_STEPS`."""
        self._top = int(self._mass.argmax())
        self._greatest = self._mass[self._top]
        self._scale = _STEPS.bit_length() - 1 - int(np.frexp(self._greatest)[1])
        self._cut.ravel()[: len(self._mass)] = self._cut_of(self._mass)[self._order]
        self._sums = self._cut.sum(axis=1)
