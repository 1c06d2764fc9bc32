"""k-means whose result is a function of the numbers: `certvq.kmeans`.

In: rows, how many codes, how to begin. Out: a `KMeansResult`. Everything is validated before
anything is computed.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from certvq._types import Array, Progress, no_progress
from certvq.assign._validate import require_ieee754
from certvq.cluster._checkpoint import fingerprint, load_state, save_state
from certvq.cluster._keys import keys_of
from certvq.cluster._loop import Empty, Rule, State, iterate
from certvq.cluster._options import (
    EMPTY,
    METRICS,
    STARTS,
    read_start,
    require_choice,
    require_count,
    require_tolerance,
)
from certvq.cluster._oversample import oversampled
from certvq.cluster._pass import LocalPass, Tally
from certvq.cluster._problem import Metric, Problem, measured
from certvq.cluster._result import KMeansResult, Stopped
from certvq.cluster._rounding import FORMATS, rounded_ratio
from certvq.cluster._source import Data, open_source, returned, weights_of
from certvq.cluster._start import Pool, plus_plus, random_rows, require_distinct
from certvq.cluster._unit import unit_means, unit_rows

Start: TypeAlias = Literal["k-means++", "random", "k-means||"] | Array

_DRAWN = {"k-means++": plus_plus, "random": random_rows, "k-means||": oversampled}


def kmeans(  # noqa: PLR0913 - each is an option of its own, and keyword-only
    data: Data,
    codebook_size: int,
    *,
    start: Start = "k-means++",
    iterations: int = 25,
    tolerance: float = 0.0,
    seed: int = 0,
    weights: Array | None = None,
    metric: Metric = "euclidean",
    empty: Empty = "split",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> KMeansResult:
    """Find a codebook by k-means, the same one everywhere.

    Mathematics: repeat ``codes = nearest(data, codebook)``,
    ``codebook[k] = round(sum of w_n x_n over cell k / sum of w_n over cell k)``.

    Args:
        data: (N, D) finite float64, float32, bfloat16 or float16, of NumPy, torch or another
            library, or a memory map; it is not copied. Or batches (n, D) that can be read again and
            again: a list of arrays, an object whose ``__iter__`` begins anew, or a function without
            arguments that returns an iterator.
        codebook_size: K, at least 1, at most N.
        start: how to choose the first codebook: by greedy ``"k-means++"`` (K passes over the data),
            by ``"k-means||"`` (7 passes), ``"random"`` different rows, or (K, D) numbers of your
            own, rounded to the type of the data.
        iterations: how often the code vectors are replaced by means, at most.
        tolerance: stop when the inertia falls by no more than this share of it; 0 goes on until the
            codebook repeats itself.
        seed: of the start, in ``range(2**128)``.
        weights: (N,) at least 0, floats or integers; None where each row counts 1.
        metric: ``"cosine"`` clusters directions: each row is divided by its length, rounded once to
            the type of the data, and a code vector is the sum of its rows, divided by its length
            and rounded once; codes are the nearest ones among these vectors.
        empty: what becomes of a cell without a row of positive weight. ``"split"``: its code moves
            to the farthest row of a costly cell (docs/kmeans.md has the rule in full);
            ``"keep"``: its code stays; ``"raise"``: an error.
        checkpoint: file that holds the state after each iteration. If it exists already the run
            goes on from there, to the same bits.
        progress: called as ``progress("start", done, 1)`` and
            ``progress("iterations", done, iterations)``.

    Returns:
        A `KMeansResult`. Its codes belong to its codebook.

    Raises:
        ShapeError: `data`, `weights` or `start` of a wrong shape, or fewer rows than codes.
        DTypeError: numbers that are not floats.
        NonFiniteError: NaN or infinity in data, weights or start; names row and column.
        DataError: weights that are negative, or all 0; data that cannot be read twice, or that
            change between passes.
        OptionError: an option out of range, fewer distinct rows than codes to draw, or a checkpoint
            of other data or options.
        EmptyCellError: an empty cell, with ``empty="raise"``.
        FileFormatError: a damaged checkpoint.
        FloatEnvironmentError: subnormal numbers are flushed in this thread, or the rounding mode
            was changed.

    Guarantee: every code is the lowest nearest one (`certvq.assign`), every code vector the mean of
        its cell over the reals, rounded once to nearest even, `inertia` likewise (theorems
        ``exact_sum_merge``, ``rounded_mean_unique``). The result is therefore a function of the
        numbers, weights and options alone: of no thread, instruction set, device, memory layout,
        batch, or order of rows (codes follow their rows).
    Ties: the lowest code.
    Cost: O(N K D) time for the first iteration, less for later ones, in which rows whose code
        cannot have changed are not read; memory besides the data 16 bytes a row, more while a start
        is drawn, and O(K D) for each thread.

    Example:
        >>> import numpy as np, certvq
        >>> rows = np.array([[0.0], [1.0], [10.0], [11.0], [12.0]])
        >>> found = certvq.kmeans(rows, 2, start=np.array([[0.0], [1.0]]))
        >>> found.codebook.ravel(), found.codes, found.inertia
        (array([ 0.5, 11. ]), array([0, 0, 1, 1, 1]), 2.5)
        >>> found.iterations, str(found.stopped)
        (2, 'converged')

    References:
        Lloyd, "Least Squares Quantization in PCM", 1982.
    """
    size = require_count("codebook_size", codebook_size, 1)
    most = require_count("iterations", iterations, 0)
    drawn = require_count("seed", seed, 0, 1 << 128)
    share = require_tolerance(tolerance)
    require_choice("metric", metric, METRICS)
    require_choice("empty", empty, EMPTY)
    if isinstance(start, str):
        require_choice("start", start, STARTS)
    require_ieee754()
    report = progress or no_progress
    source = open_source(data)
    problem = measured(source, weights_of(source, weights), metric, size)
    given = None if isinstance(start, str) else _given(problem, start, size)
    name = start if given is None else f"{hashlib.sha256(given.tobytes()).hexdigest()}"
    options = f"{size};{metric};{empty};{name};{drawn}"
    save, state = _checkpointed(problem, checkpoint, options)
    if state is None:
        report("start", 0, 1)
        state = State(_drawn(problem, name, size, drawn) if given is None else given)
        report("start", 1, 1)

    def saved(new: State) -> None:
        save(new)
        report("iterations", len(new.splits), most)

    rule = Rule(problem.form, problem.means, most, share, empty)
    make = problem.source.look() or LocalPass
    look = make(problem.source, problem.grids, problem.weights, problem.count)
    return _result(problem, look, *iterate(look, state, rule, saved))


def _given(problem: Problem, start: Array, size: int) -> np.ndarray:
    vectors = read_start(start, size, problem.source.dim, problem.form)
    if problem.means is not unit_means:
        return vectors
    return unit_rows(vectors.astype(np.float64), problem.form)


def _drawn(problem: Problem, start: str, size: int, seed: int) -> np.ndarray:
    """Draw the first codebook from the rows."""
    keys = keys_of(problem.source, problem.count)
    pool = Pool(problem.source, keys, problem.weights)
    require_distinct(pool, size)
    rows = _DRAWN[start](pool, size, seed)
    return (problem.source.rows(rows) + 0.0).astype(problem.form.host)


def _checkpointed(
    problem: Problem, checkpoint: str | os.PathLike[str] | None, options: str
) -> tuple[Callable[[State], None], State | None]:
    """Return what saves a state, and the state that was saved before."""
    if checkpoint is None:
        return lambda _: None, None
    path = Path(checkpoint)
    mark = fingerprint(problem.source, problem.weights, options)
    return lambda state: save_state(path, state, mark), load_state(path, mark)


def _result(
    problem: Problem, look: LocalPass, state: State, tally: Tally, stopped: Stopped
) -> KMeansResult:
    like, sums = problem.source.like(), tally.sums
    unit = 0 if problem.grids.weights is None else problem.grids.weights.lowest
    masses = [rounded_ratio(mass, 1, unit, FORMATS["float64"]) for mass in sums.masses()]
    return KMeansResult(
        codebook=returned(state.codebook, problem.source.number, like),
        codes=returned(look.codes, "int64", like),
        inertia=state.history[-1],
        counts=sums.counts,
        mass=np.array(masses),
        history=state.history,
        iterations=len(state.splits),
        stopped=stopped,
        empty=sums.empty(),
        splits=np.array(state.splits, dtype=np.int64),
    )
