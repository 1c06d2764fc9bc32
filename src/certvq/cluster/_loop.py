"""The iterations of Lloyd: certified codes, then correctly rounded means.

In: a `Pass` over the data and a codebook to start from. Out: the last codebook with the sums of its
own cells. Knows neither where the rows are nor how they are read.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

import numpy as np

from certvq.cluster._empty import require_full, split_cells
from certvq.cluster._inertia import rounded_inertia
from certvq.cluster._pass import Pass, Tally
from certvq.cluster._result import Stopped
from certvq.cluster._rounding import FloatFormat
from certvq.cluster._sums import CellSums

Empty: TypeAlias = Literal["split", "keep", "raise"]
Means: TypeAlias = Callable[[CellSums, np.ndarray, FloatFormat], np.ndarray]
"""Code vectors of the cells from their sums; empty cells keep the given vectors."""


@dataclass(frozen=True)
class Rule:
    """What the iterations obey.

    Attributes:
        form: type of number of the codebook.
        means: how a cell gives a code vector.
        iterations: at most so many.
        tolerance: stop when the inertia falls by no more than this share of it; 0 for never.
        empty: what becomes of empty cells.
    """

    form: FloatFormat
    means: Means
    iterations: int
    tolerance: float
    empty: Empty


@dataclass(frozen=True)
class State:
    """Where the iterations are: all that they need to go on.

    Attributes:
        codebook: (K, D) of the host type.
        history: inertia of each codebook before this one.
        splits: codes moved by each iteration so far.
        squares: `Tally.squares` of the data, None before the first pass.
    """

    codebook: np.ndarray
    history: tuple[float, ...] = ()
    splits: tuple[int, ...] = ()
    squares: int | None = None


def iterate(
    look: Pass, state: State, rule: Rule, saved: Callable[[State], None]
) -> tuple[State, Tally, Stopped]:
    """Iterate until nothing changes, too little does, or the iterations are used up.

    Args:
        look: the way to look at all rows.
        state: the start, or where an earlier run was.
        rule: what to obey.
        saved: called with each new state.

    Returns:
        The last state, whose history now ends with its own inertia, the tally of its own cells, and
        the reason.

    Raises:
        EmptyCellError: a cell is empty and the rule forbids it.
    """
    while True:
        tally = look.tally(state.codebook, squares=state.squares is None)
        known = tally.squares if state.squares is None else state.squares
        assert known is not None
        inertia = rounded_inertia(tally.sums, state.codebook, known)
        state = replace(state, history=(*state.history, inertia), squares=known)
        if rule.empty == "raise":
            require_full(tally.sums.empty(), len(state.splits))
        if _fell_too_little(state.history, rule.tolerance):
            return state, tally, Stopped.TOLERANCE
        if len(state.splits) >= rule.iterations:
            return state, tally, Stopped.ITERATIONS
        after, moved = _next_codebook(look, state.codebook, tally.sums, rule)
        if np.array_equal(after, state.codebook):
            return state, tally, Stopped.CONVERGED
        state = replace(state, codebook=after, splits=(*state.splits, moved))
        saved(state)


def _next_codebook(
    look: Pass, codebook: np.ndarray, sums: CellSums, rule: Rule
) -> tuple[np.ndarray, int]:
    means = rule.means(sums, codebook, rule.form)
    empty = sums.empty()
    if rule.empty != "split" or not empty.size:
        return means, 0
    return means, split_cells(look, codebook, means, empty)


def _fell_too_little(history: tuple[float, ...], tolerance: float) -> bool:
    if tolerance == 0.0 or len(history) < 2 or not np.isfinite(history[-2:]).all():
        return False
    before, after = (Fraction(value) for value in history[-2:])
    return before - after <= Fraction(tolerance) * before
