"""Codes of which none has more than its share of the rows, and codebooks for them.

In: rows and a codebook. Out: codes, and the codebook that they were found with. The rule of codes:
pairs of row and code are taken in the order of their squared distance, and a pair counts if the row
has no code yet and the code has room. Rows and codes prefer each other by one and the same number,
so this is the only stable matching, and proposals find it without all pairs in memory.

References:
    Gale and Shapley, "College Admissions and the Stability of Marriage", 1962.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from certvq._types import BoolArray, Float64Array, Int64Array
from certvq.assign import Prepared, prepare
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._costs import cell_costs, no_costs
from certvq.cluster._problem import Problem
from certvq.cluster._rounding import FORMATS, rounded_ratio
from certvq.cluster._source import Source
from certvq.cluster._sums import CellSummer, CellSums

_BLOCK: Final = 1 << 17
_LARGEST: Final = np.finfo(np.float64).max


@dataclass(frozen=True)
class Balanced:
    """Balanced cells.

    Attributes:
        codebook: (K, D).
        codes: int64 (N,), those of `balanced_codes`.
        inertia: squared distances of the rows to their codes, each times its weight rounded once,
            summed exactly.
    """

    codebook: np.ndarray
    codes: Int64Array
    inertia: float


def balanced(problem: Problem, codebook: np.ndarray, rounds: int) -> Balanced:
    """Balance cells: codes by the rule, then means of the cells, as long as the inertia falls.

    Args:
        problem: the rows.
        codebook: (K, D) to begin with.
        rounds: of means, at most.

    Returns:
        The round of least inertia. Its codes need not be the nearest ones, nor its code vectors
        the means of their cells.
    """
    best = _settled(problem, codebook)
    for _ in range(rounds):
        means = problem.means(_sums(problem, best), best.codebook, problem.form)
        after = _settled(problem, means)
        if not after.inertia < best.inertia:
            break
        best = after
    return best


def _settled(problem: Problem, codebook: np.ndarray) -> Balanced:
    codes = balanced_codes(problem.source, problem.count, codebook)
    prepared, found = prepare(codebook), no_costs(*codebook.shape)
    for first, block in problem.source.blocks():
        part = slice(first, first + len(block))
        found = found.merge(cell_costs(block, prepared, codes[part], _weights(problem, part)))
    with np.errstate(over="ignore"):
        total = rounded_ratio(sum(found.costs), 1, found.lowest, FORMATS["float64"])
    return Balanced(codebook, codes, total)


def _sums(problem: Problem, cells: Balanced) -> CellSums:
    summer = CellSummer(problem.grids, *cells.codebook.shape)
    for part, rows in problem.source.host_blocks(_BLOCK):
        summer.add(rows.astype(np.float64), cells.codes[part], _weights(problem, part))
    return summer.result()


def _weights(problem: Problem, part: slice) -> Float64Array | None:
    return None if problem.weights is None else problem.weights[part]


def balanced_codes(source: Source, count: int, codebook: np.ndarray) -> Int64Array:
    """Give each row a code, none to more than ``ceil(N / K)`` rows.

    Args:
        source: the rows.
        count: N.
        codebook: (K, D).

    Returns:
        int64 (N,).

    Ties: of pairs at the same rounded squared distance the one of the lower code, then that of the
        row that is less in lexicographic order, then that of the row that comes first.
    Cost: a pass for each round of proposals; memory O(N), beside blocks of distances.
    """
    matching = _Matching(source, count, -(-count // len(codebook)), len(codebook))
    prepared = prepare(codebook)
    while (matching.codes < 0).any():
        for part, rows in source.host_blocks(_BLOCK):
            free = part.start + np.flatnonzero(matching.codes[part] < 0)
            if free.size:
                matching.propose(free, _sqdist(rows[free - part.start], prepared))
        for code in range(len(codebook)):
            matching.choose(code)
    return matching.codes


def _sqdist(rows: np.ndarray, prepared: Prepared) -> Float64Array:
    """Measure rows and all codes, (N, K), each squared distance rounded once."""
    every = (np.full(len(rows), code) for code in range(prepared.codebook_size))
    columns = [rounded_sqdist(rows, prepared, codes) for codes in every]
    return np.minimum(np.stack(columns, axis=1), _LARGEST)


class _Matching:
    """Who holds whom.

    Attributes:
        codes: int64 (N,), -1 for a row that no code holds.
    """

    def __init__(self, source: Source, count: int, room: int, size: int) -> None:
        self._source, self._room = source, room
        self.codes: Int64Array = np.full(count, -1, dtype=np.int64)
        self._sqdist = np.zeros(count)
        self._refused = np.full(count, -1.0), np.full(count, -1)
        self._worst = np.full(size, np.inf)

    def propose(self, rows: Int64Array, sqdist: Float64Array) -> None:
        """Let rows ask the nearest code that has not refused them and may have room."""
        before, by = (each[rows, None] for each in self._refused)
        asked = (sqdist < before) | ((sqdist == before) & (np.arange(sqdist.shape[1]) <= by))
        open_ = np.where(asked | (sqdist > self._worst), np.inf, sqdist)
        self.codes[rows] = open_.argmin(axis=1)
        self._sqdist[rows] = open_.min(axis=1)

    def choose(self, code: int) -> None:
        """Let a code keep the nearest rows that it has room for, and refuse the others."""
        rows = np.flatnonzero(self.codes == code)
        if len(rows) < self._room:
            return
        own = self._sqdist[rows]
        worst = float(np.partition(own, self._room - 1)[self._room - 1])
        self._worst[code] = worst
        out: BoolArray = own > worst
        ties = rows[own == worst]
        spare = self._room - int((own < worst).sum())
        if len(ties) > spare:
            order = np.lexsort(self._source.rows(ties).T[::-1])
            out |= np.isin(rows, ties[order[spare:]])
        lost = rows[out]
        self._refused[0][lost], self._refused[1][lost] = own[out], code
        self.codes[lost] = -1
