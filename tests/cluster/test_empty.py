"""Where the codes of empty cells go: by definition, and compared with scikit-learn's rule."""

from fractions import Fraction

import numpy as np
import pytest

import certvq
from certvq import spec
from certvq.cluster._costs import cell_costs
from certvq.cluster._empty import split_cells
from certvq.cluster._grid import extent_of, tight_extent_of
from certvq.cluster._pass import LocalPass
from certvq.cluster._source import ArraySource
from certvq.cluster._sums import Grids

from ._exactly import fractions

RNG = np.random.default_rng(12)


def test_costs_are_exact_sums_and_ties_go_by_the_numbers():
    rows = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [10.0, 10.0], [0.1, 0.0]])
    codes = np.array([0, 0, 0, 1, 0])
    prepared = certvq.prepare(np.array([[0.0, 0.0], [10.0, 10.5]]))
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        found = cell_costs(rows[order], prepared, codes[order], None)
        exact = 27 + Fraction(0.1 * 0.1)
        assert [c * Fraction(2) ** found.lowest for c in found.costs] == [exact, Fraction(1, 4)]
        assert found.farthest.tolist() == [[-3.0, 0.0], [10.0, 10.0]]
        assert found.sqdist.tolist() == [9.0, 0.25]
    heavy = cell_costs(rows, prepared, codes, np.array([0.0, 0, 0, 4, 1]))
    assert heavy.farthest.tolist() == [[0.1, 0.0], [10.0, 10.0]]
    assert heavy.costs[1] * Fraction(2) ** heavy.lowest == 1


def sqdist(point, other):
    return Fraction(float(spec.squared_l2(point, other)))


def filled(rows, weights, codebook, empty):
    """Return the vectors that empty cells get, and those that stay empty, by definition."""
    points, vectors, waiting = fractions(rows), list(fractions(codebook)), list(empty)
    while waiting:
        codes = [spec.nearest_code(spec.Codebook(tuple(vectors)), point) for point in points]
        costs, farthest = {}, {}
        for point, code, weight in zip(points, codes, weights, strict=True):
            apart = sqdist(point, vectors[code])
            costs[code] = costs.get(code, 0) + Fraction(float(weight * apart))
            if weight > 0:
                farthest[code] = min(farthest.get(code, (1, ())), (-apart, point))
        ranks = {
            code: -apart * max(costs.values()) - costs[code] * min(farthest.values())[0]
            for code, (apart, _) in farthest.items()
            if costs[code] > 0
        }
        taken = []
        for code in sorted(ranks, key=lambda code: (-ranks[code], code)):
            apart, point = farthest[code]
            free = all(sqdist(point, other) >= -apart for other in taken)
            if 2 * ranks[code] >= max(ranks.values()) and free and len(taken) < len(waiting):
                taken.append(point)
        if not taken:
            break
        for point in taken:
            vectors[waiting.pop(0)] = point
    return tuple(vectors), waiting


FILLED = {
    "noise": RNG.standard_normal((30, 2)),
    "integers": RNG.integers(0, 3, (40, 3)).astype(float),
    "heavy": RNG.standard_normal((30, 2)) * RNG.lognormal(0, 2, (30, 1)),
    "few": RNG.integers(0, 2, (20, 2)).astype(float),
    "offset": 1e8 + RNG.standard_normal((20, 2)),
}


@pytest.mark.rows(("kind", "weighted"), [(kind, w) for kind in FILLED for w in (False, True)])
def test_empty_cells_are_filled_by_the_definition(kind, weighted):
    rows = FILLED[kind]
    codebook = np.concatenate([rows[3:4], np.full((9, rows.shape[1]), -1e9), rows[7:9]])
    empty = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    weights = RNG.integers(0, 4, len(rows)).astype(float) if weighted else np.ones(len(rows))
    wanted, left = filled(rows, weights, codebook, empty)
    for order in (np.arange(len(rows)), RNG.permutation(len(rows))):
        own = weights[order] if weighted else None
        grids = Grids(extent_of(rows), tight_extent_of(weights) if weighted else None)
        look, means = LocalPass(ArraySource(rows[order]), grids, own, len(rows)), codebook.copy()
        look.tally(codebook, squares=False)
        moved = split_cells(look, codebook, means, np.array(empty))
        assert fractions(means) == wanted
        assert moved == len(empty) - len(left)


def test_a_round_takes_half_of_the_greatest_rank_and_rows_that_are_just_as_far():
    """Left to another round, both cells would wait for a second row of the first cell."""
    half = np.array([[1.0, 1.0], [-1, -1], [9, 1], [9, -1]])  # ranks 1 + 1 and 1/2 + 1/2
    apart = np.array([[2.0, 0.0], [-1.9, 0], [-1.9, 0], [4, 0]])  # 2 from 0, from 4, and 4 from 6
    for rows, second, wanted in ((half, 9.0, [[-1, -1], [9, -1]]), (apart, 6.0, [[2, 0], [4, 0]])):
        codebook = np.array([[0.0, 0.0], [second, 0], [99, 0], [99, 0]])
        look, means = LocalPass(ArraySource(rows), Grids(extent_of(rows)), None, 4), codebook.copy()
        look.tally(codebook, squares=False)
        assert split_cells(look, codebook, means, np.array([2, 3])) == 2
        assert means[2:].tolist() == wanted


def test_heavy_tails_are_split_many_times_in_one_iteration():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2000, 4)) * rng.lognormal(0, 1.5, (2000, 1))
    start = rows[rng.integers(0, 40, 64)]
    found = certvq.kmeans(rows, 64, start=start)
    assert found.splits[0] == 64 - len(np.unique(start, axis=0))
    assert found.inertia < 0.5 * certvq.kmeans(rows, 64, start=start, empty="keep").inertia


def test_empty_cells_are_split_counted_and_listed():
    rows = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]])
    start = [[0.0], [500.0], [600.0], [700.0]]
    found = certvq.kmeans(rows, 4, start=start)
    assert found.splits.tolist() == [3, 0]
    assert found.empty.size == 0
    assert sorted(found.codebook.ravel().tolist()) == [0.5, 10.0, 11.0, 30.0]
    kept = certvq.kmeans(rows, 4, start=start, empty="keep")
    assert kept.empty.tolist() == [1, 2, 3]
    assert kept.codebook.ravel().tolist() == [10.4, 500.0, 600.0, 700.0]
    same = certvq.kmeans(np.ones((6, 2)), 3, start=np.ones((3, 2)))
    assert (same.empty.tolist(), same.inertia, str(same.stopped)) == ([1, 2], 0.0, "converged")


def kinds(rng):
    """Rows and starts of which half are duplicates, or far away."""
    scales = rng.lognormal(0, 1.5, (3000, 1))
    mixture = rng.standard_normal((64, 8))[rng.integers(0, 64, 3000)]
    mixture += 0.2 * rng.standard_normal((3000, 8))
    each = {
        "12-level integers in 4 columns": rng.integers(0, 12, (3000, 4)),
        "12-level integers in 2 columns": rng.integers(0, 12, (3000, 2)),
        "4-level integers in 6 columns": rng.integers(0, 4, (3000, 6)),
        "mixture": mixture,
        "mixture begun far away": mixture,
        "noise": rng.standard_normal((3000, 8)),
        "heavy tails": rng.standard_normal((3000, 8)) * scales,
    }
    for name, drawn in each.items():
        rows = drawn.astype(np.float32)
        start = rows[rng.choice(3000, 64, replace=False)]
        start[32:] = start[:32]
        if "far" in name:
            start = 10 + rng.standard_normal((64, 8), np.float32)
        yield name, rows, start


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_empty_cells_cost_no_more_inertia_than_by_the_rule_of_scikit_learn():
    """Where both end is partly chance, so each kind of data is clustered from ten starts."""
    peer = pytest.importorskip("sklearn.cluster")
    ratios = {}
    for seed in range(10):
        for name, rows, start in kinds(np.random.default_rng(seed)):
            found = certvq.kmeans(rows, 64, start=start)
            theirs = peer.KMeans(64, init=start, n_init=1, max_iter=25, tol=0).fit(rows)
            centres = theirs.cluster_centers_.astype(np.float32)
            inertia = certvq.assign(rows, centres).sqdist.sum()
            ratios.setdefault(name, []).append(found.inertia / inertia)
    means = {name: float(np.mean(each)) for name, each in ratios.items()}
    assert all(mean <= 1.002 for mean in means.values()), means
