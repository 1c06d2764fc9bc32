"""The iterations, on any pass: here one that is made of shards."""

import numpy as np

import certvq
from certvq.cluster import _costs, _means
from certvq.cluster._grid import extent_of
from certvq.cluster._loop import Rule, State, iterate
from certvq.cluster._pass import LocalPass, Pass
from certvq.cluster._result import Stopped
from certvq.cluster._rounding import FORMATS
from certvq.cluster._source import ArraySource
from certvq.cluster._sums import Grids

ROWS = np.random.default_rng(4).standard_normal((300, 4))


class Shards(Pass):
    """Rows in several places, asked one after another, the last first."""

    def __init__(self, rows, count):
        grids = Grids(extent_of(rows))
        self.parts = [
            LocalPass(ArraySource(part), grids, None, len(part))
            for part in np.array_split(rows, count)
        ]

    def tally(self, codebook, *, squares):
        first, *rest = [part.tally(codebook, squares=squares) for part in reversed(self.parts)]
        for each in rest:
            first = first.merge(each)
        return first

    def costs(self, codebook):
        found = _costs.no_costs(*codebook.shape)
        for part in self.parts:
            found = found.merge(part.costs(codebook))
        return found


def test_shards_give_the_bits_of_one_array():
    start = np.concatenate([ROWS[:4], ROWS[:4]])
    rule = Rule(FORMATS["float64"], _means.rounded_means, 12, 0.0, "split")
    for count in (1, 2, 5):
        look, saved = Shards(ROWS, count), []
        state, tally, stopped = iterate(look, State(start), rule, saved.append)
        whole = certvq.kmeans(ROWS, 8, start=start, iterations=12)
        assert np.array_equal(state.codebook, whole.codebook)
        assert (state.history, stopped) == (whole.history, whole.stopped)
        assert state.splits == tuple(whole.splits)
        assert sum(state.splits) > 0
        assert tally.sums.counts.tolist() == whole.counts.tolist()
        codes = np.concatenate([part.codes for part in look.parts])
        assert np.array_equal(codes, whole.codes)
        again, _, _ = iterate(look, saved[5], rule, saved.append)
        assert again.history == whole.history


def test_reasons_are_words():
    assert [str(reason) for reason in Stopped] == ["converged", "tolerance", "iterations"]
    assert Stopped.CONVERGED == "converged"


def test_tolerance_stops_when_the_inertia_falls_by_less():
    free = certvq.kmeans(ROWS, 12, iterations=30)
    found = certvq.kmeans(ROWS, 12, iterations=30, tolerance=0.01)
    falls = [(a - b) / a for a, b in zip(free.history, free.history[1:], strict=False)]
    expected = next(i for i, fall in enumerate(falls) if fall <= 0.01) + 1
    assert (found.iterations, str(found.stopped)) == (expected, "tolerance")
    assert found.history == free.history[: expected + 1]
