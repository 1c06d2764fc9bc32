"""Time and wrong codes of the contenders on the same numbers, in one process.

In: contenders and numbers. Out: `Measured` for each. They take turns: each round measures all of
them, beginning with another one each time, and a figure is the median of the rounds.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from certvq._types import Array, Int64Array
from certvq.bench._contender import Contender, Prepare, Search, ready
from certvq.bench._data import Numbers
from certvq.bench._environment import environment_of
from certvq.bench._process import Elsewhere
from certvq.errors import ShapeError

PAUSE = 0.05
"""Seconds before a measurement: idle threads of an OpenMP or BLAS pool spin for about so long."""

SHORTEST = 0.02
"""Seconds that one measurement lasts at least: of a shorter search, the median of many counts."""

SIMILAR = 0.01
"""Share of the rows by which wrong codes of two ways may differ: each rounds in its own order."""


@dataclass(frozen=True)
class Measured:
    """What was found out about one contender.

    Attributes:
        seconds: of a search, the median of the rounds; NaN where it failed.
        fastest: of a search, the least of the rounds; NaN likewise.
        prepare_seconds: of reading the codebook, once; NaN likewise.
        wrong_codes: the most of any call.
        wrong_rows: where the first call that had wrong codes had them.
        failure: what it raised; else empty.
        way: the name of the way, where there are several.
    """

    seconds: float
    fastest: float
    prepare_seconds: float
    wrong_codes: int
    wrong_rows: Int64Array
    failure: str = ""
    way: str = ""


class _Runner:
    """One way of a contender in a run: prepared, its times so far, its wrong codes."""

    def __init__(self, contender: Contender, way: str, numbers: Numbers, right: Int64Array) -> None:
        self._environment, self._way = contender.environment, way
        self._latents, self._right = numbers.latents, right
        self._times: list[float] = []
        self._wrong: Int64Array = np.empty(0, np.int64)
        self._prepare_seconds = math.nan
        self._failure = ""
        self._search: Search | None = None
        prepare = contender.ways.get(way, contender.prepare)
        self._attempt(lambda: self._prepare(prepare, numbers))

    def round(self) -> None:
        """Measure once, after an untimed call: what the others left in caches counts for none."""
        if not self._failure:
            self._attempt(self._measure)

    def result(self) -> Measured:
        times = [math.nan] if self._failure else self._times
        return Measured(
            seconds=statistics.median(times),
            fastest=min(times),
            prepare_seconds=self._prepare_seconds,
            wrong_codes=len(self._wrong),
            wrong_rows=self._wrong,
            failure=self._failure,
            way=self._way,
        )

    def _prepare(self, prepare: Prepare, numbers: Numbers) -> None:
        start = time.perf_counter()
        self._search = prepare(numbers.codebook)
        self._prepare_seconds = time.perf_counter() - start

    def _measure(self) -> None:
        assert self._search is not None
        time.sleep(PAUSE)
        repeats = max(1, math.ceil(SHORTEST / max(self._timed(), 1e-6)))
        self._times.append(statistics.median(self._timed() for _ in range(repeats)))

    def _timed(self) -> float:
        assert self._search is not None
        search = ready(self._search)
        if isinstance(search, Elsewhere):
            seconds, codes = search.timed(self._latents)
        else:
            start = time.perf_counter()
            codes = search(self._latents)
            seconds = time.perf_counter() - start
        self._compare(codes)
        return seconds

    def _compare(self, codes: Array) -> None:
        found = np.asarray(codes)
        if found.shape != self._right.shape:
            text = f"codes must have the shape {self._right.shape}, got {found.shape}"
            raise ShapeError(text)
        wrong = np.flatnonzero(found != self._right)
        if len(wrong) > len(self._wrong):
            self._wrong = wrong

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do `work`; a contender that fails, for want of memory for instance, ends only itself."""
        try:
            with environment_of(self._environment):
                work()
        except Exception as error:  # noqa: BLE001 (whatever another library raises is reported)
            self._failure = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def measure(
    contenders: Sequence[Contender], numbers: Numbers, right: Int64Array, *, rounds: int
) -> dict[str, Measured]:
    """Measure contenders in turn.

    Args:
        contenders: whose libraries are installed.
        numbers: what they are given.
        right: (N,) the exact answer.
        rounds: at least 1.

    Returns:
        By name, in the order given; of several ways the best one, see `best`.
    """
    runners = {
        one.name: [_Runner(one, way, numbers, right) for way in one.ways or ("",)]
        for one in contenders
    }
    order = [runner for ways in runners.values() for runner in ways]
    for turn in range(rounds):
        first = turn % len(order)
        for runner in order[first:] + order[:first]:
            runner.round()
    return {
        name: best([runner.result() for runner in ways], rows=len(right))
        for name, ways in runners.items()
    }


def best(ways: Sequence[Measured], *, rows: int) -> Measured:
    """Return the fastest way that did not fail, and has about as few wrong codes as any of them.

    A BLAS that is told of another processor may be fast and wrong.
    """
    done = [one for one in ways if not one.failure]
    if not done:
        return ways[0]
    most = min(one.wrong_codes for one in done) + SIMILAR * rows
    return min((one for one in done if one.wrong_codes <= most), key=lambda one: one.seconds)
