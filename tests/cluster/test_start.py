"""Keys and draws: functions of the rows' numbers and the seed."""

import math
from fractions import Fraction

import numpy as np
import pytest

from certvq import _native
from certvq._native import Nearest
from certvq.cluster import _keys, _masses
from certvq.cluster._approach import approaches
from certvq.cluster._keys import Draws, keys_of, priorities, row_keys
from certvq.cluster._oversample import oversampled
from certvq.cluster._source import ArraySource
from certvq.cluster._start import Pool, plus_plus, random_rows

RNG = np.random.default_rng(3)
ROWS = np.concatenate([RNG.standard_normal((200, 4)), np.zeros((100, 4))]).astype(np.float32)
PINNED_DRAWS = [832535, 85695, 713801, 984600]
PINNED_PRIORITIES = [9572072872526285133, 17255891393652213849]
PINNED_KEY = [6726767881974690872]
DRAWN = (plus_plus, random_rows, oversampled)


def pool_of(rows, weights=None):
    source = ArraySource(rows)
    return Pool(source, keys_of(source, len(rows)), weights)


@pytest.mark.rows(("draw", "seed"), [(draw, seed) for draw in DRAWN for seed in range(2)])
def test_rows_drawn_are_different_and_repeat(draw, seed):
    for count in (1, 2, 20, 201):
        rows = draw(pool_of(ROWS), count, seed)
        assert len(np.unique(ROWS[rows], axis=0)) == count == len(rows)
        assert np.array_equal(rows, draw(pool_of(ROWS), count, seed))


@pytest.mark.rows("draw", DRAWN)
def test_rows_of_weight_zero_are_never_drawn(draw):
    weights = (np.arange(300) % 3 == 0).astype(float)
    for seed in range(5):
        assert weights[draw(pool_of(ROWS, weights), 30, seed)].all()


def test_keys_follow_the_numbers():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [0.0, 1.0 + 2**-52]])
    keys = row_keys(rows, 0)
    assert keys[0] == keys[1]
    assert len(set(keys.tolist())) == 3
    assert row_keys(ROWS, 0).tolist() == row_keys(ROWS.astype(np.float64), 0).tolist()
    assert not np.isin(row_keys(ROWS, 1), row_keys(ROWS, 0)).any()


def test_colliding_keys_are_made_anew(monkeypatch):
    """The first two salts are given hashes that collide."""

    def weak(rows, salt):
        keys = row_keys(rows, salt)
        return keys % np.uint64(7) if salt < 2 else keys

    monkeypatch.setattr(_keys, "row_keys", weak)
    keys = keys_of(ArraySource(ROWS), len(ROWS))
    assert keys.tolist() == row_keys(ROWS, 2).tolist()


def test_draws_are_pinned():
    """The stream is part of the contract: another NumPy must give the same integers."""
    assert Draws(7, 1).below(10**6, 4).tolist() == PINNED_DRAWS
    assert priorities(np.arange(2, dtype=np.uint64), 7, 1).tolist() == PINNED_PRIORITIES
    assert row_keys(np.array([[1.0, 2.0]]), 0).tolist() == PINNED_KEY
    levels = Draws(1, 0).below(10, 5000)
    assert np.bincount(levels, minlength=10).min() > 400
    assert Draws(0, 0).below(1 << 62, 50).max() > 1 << 60


def test_the_first_row_is_drawn_by_weight():
    """One row has half of the weight, and is drawn about as often."""
    weights = np.where(np.arange(300) == 5, 199.0, 1.0) * (np.arange(300) < 200)
    hits = sum(int(plus_plus(pool_of(ROWS, weights), 1, seed)[0] == 5) for seed in range(200))
    assert 70 < hits < 130


def test_distant_rows_are_drawn_first():
    far = np.array([[0.0], [1e-3], [2e-3], [100.0], [100.001], [-50.0]])
    for draw in (plus_plus, oversampled):
        for seed in range(10):
            chosen = far[draw(pool_of(far), 3, seed)].ravel()
            assert sorted(np.round(chosen, 1).tolist()) == [-50.0, 0.0, 100.0]


def test_rows_too_near_for_float64_are_still_different():
    rows = np.array([[0.0], [1e-200], [2e-200], [1.0], [1e-320]])
    for draw in DRAWN:
        assert sorted(draw(pool_of(rows), 5, 0).tolist()) == [0, 1, 2, 3, 4]


def drawn_slowly(rows, weights, count, seed):
    """k-means++ as documented, with all masses cut anew before each draw."""
    order, draws = np.argsort(row_keys(rows, 0), kind="stable"), Draws(seed, 1)

    def cut(masses, greatest):
        return [int(Fraction(m) * Fraction(2) ** (31 - math.frexp(greatest)[1])) for m in masses]

    chosen, near, masses = [], np.full(len(rows), np.inf), weights
    while len(chosen) < count:
        greatest = masses.max()
        running = np.cumsum(np.array(cut(masses, greatest))[order])
        levels = draws.below(int(running[-1]), 2 + 7 * count.bit_length() // 10 if chosen else 1)
        candidates = order[np.searchsorted(running, levels, side="right")]
        left = [weights * np.minimum(near, sqdists(rows, rows[place])) for place in candidates]
        best = int(np.argmin([sum(cut(each, greatest)) for each in left]))
        chosen.append(candidates[best])
        near = np.minimum(near, sqdists(rows, rows[chosen[-1]]))
        masses = weights * near
    return chosen


@pytest.mark.rows(("weighted", "seed"), [(w, seed) for w in (False, True) for seed in range(3)])
def test_plus_plus_draws_what_its_definition_draws(weighted, seed):
    """The last seed's rows are more than those whose masses `Masses` sums up in one part."""
    size = 70 if seed < 2 else 2 * _masses._PART + 70
    rows = RNG.standard_normal((size, 3)) * RNG.lognormal(0, 2, (size, 1))
    weights = RNG.integers(0, 9, size) / 7.0 if weighted else np.ones(size)
    found = plus_plus(pool_of(rows, weights if weighted else None), 14, seed)
    assert found.tolist() == drawn_slowly(rows, weights, 14, seed)


def sqdists(rows, vector):
    """Squared distances over the real numbers, rounded once."""
    exact = [
        [(Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, vector, strict=True)] for x in rows
    ]
    return np.array([float(sum(squares)) for squares in exact])


@pytest.mark.parametrize("isa", [*_native.isas(), "none"])
def test_approaches_are_all_rows_that_come_nearer(isa, monkeypatch):
    """The last two vectors are hardly nearer to a row than what it has, and exactly as near."""
    if isa == "none":
        monkeypatch.setattr(_native, "AVAILABLE", False)
    monkeypatch.setenv("CERTVQ_ISA", isa)
    for scale, dim, threads in (
        (1.0, 3, "1"),
        (1e-160, 17, "2"),
        (1e150, 8, "3"),
        (1e-315, 2, "4"),
    ):
        monkeypatch.setenv("CERTVQ_NUM_THREADS", threads)
        rows = scale * (20.0 + RNG.standard_normal((150, dim)))
        hardly = rows[5] + (rows[5] - rows[7]) * (1 - 2.0**-44)
        vectors = np.stack([rows[0], rows[1], hardly, rows[7]])
        found = all_approaches(rows, rows[7:8], vectors)
        assert len(found[0].rows) > 2 or scale < 1e-300
        assert not len(found[-1].rows)


def all_approaches(rows, owners, vectors):
    """Require what Fractions find, whatever is known of the owners."""
    numbers = rows.astype(np.float64)
    exact = np.stack([sqdists(numbers, owner) for owner in owners])
    first, owner = exact.min(axis=0), exact.argmin(axis=0).astype(np.int32)
    found = []
    for known in (owner, np.full_like(owner, -1)):
        found = approaches(ArraySource(rows), Nearest(first, known, owners), vectors)
        for vector, own in zip(vectors, found, strict=True):
            after = sqdists(numbers, vector)
            assert own.rows.tolist() == np.flatnonzero(after < first).tolist()
            assert own.sqdist.tolist() == after[after < first].tolist()
    return found


@pytest.mark.parametrize("isa", [*_native.isas(), "none"])
def test_rows_at_the_middle_come_nearer_if_they_are_beyond_it(isa, monkeypatch):
    """Whole numbers, so that the middle is exact; of all types of numbers, strided too."""
    if isa == "none":
        monkeypatch.setattr(_native, "AVAILABLE", False)
    monkeypatch.setenv("CERTVQ_ISA", isa)
    for dim, dtype, last in ((1, "f8", -52), (9, "f8", -51), (6, "f4", -22), (16, "f2", -9)):
        vector = RNG.integers(1, 4, (1, dim)).astype(float)
        shares = 0.5 + np.array([0.0, 2.0**last, -(2.0**last), 0.25, -0.25, 0.5, -0.5])
        rows = np.asfortranarray((np.tile(shares, 20)[:, None] * vector).astype(dtype))
        for given in (rows, np.ascontiguousarray(rows)):
            (found,) = all_approaches(given, np.zeros((1, dim)), vector)
            assert found.rows[:4].tolist() == [1, 3, 5, 8]
